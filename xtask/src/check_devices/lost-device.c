// A Vulkan driver that hands everything on to another one, until a file exists: from then on the
// device is lost. Programs that run on it show what they do then.
//
// In the environment: DRIVER is the other driver's library, LOST the file.

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void (*function)(void);
typedef function (*function_by_name)(void *owner, const char *name);
typedef int32_t (*submit_function)(void *queue, uint32_t count, const void *batches, uint64_t fence);

static const int32_t ERROR_DEVICE_LOST = -4;
static function_by_name instance_functions, device_functions;
static submit_function submit;

static int32_t submit_unless_lost(void *queue, uint32_t count, const void *batches, uint64_t fence) {
    return access(getenv("LOST"), F_OK) == 0 ? ERROR_DEVICE_LOST : submit(queue, count, batches, fence);
}

static function device_function(void *device, const char *name);

static function in_place_of(const char *name, function found) {
    if (found && !strcmp(name, "vkQueueSubmit")) {
        submit = (submit_function)found;
        return (function)submit_unless_lost;
    }
    if (found && !strcmp(name, "vkGetDeviceProcAddr")) {
        device_functions = (function_by_name)found;
        return (function)device_function;
    }
    return found;
}

static function device_function(void *device, const char *name) {
    return in_place_of(name, device_functions(device, name));
}

static void *exported(const char *name) {
    return dlsym(dlopen(getenv("DRIVER"), RTLD_NOW | RTLD_LOCAL), name);
}

function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    if (!instance_functions)
        instance_functions = (function_by_name)exported("vk_icdGetInstanceProcAddr");
    return in_place_of(name, instance_functions(instance, name));
}

function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
    return ((function_by_name)exported("vk_icdGetPhysicalDeviceProcAddr"))(instance, name);
}

int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
    return ((int32_t (*)(uint32_t *))exported("vk_icdNegotiateLoaderICDInterfaceVersion"))(version);
}
