//! An NVIDIA GPU, or what is missing for it, looked for in the order in which it is needed.
//!
//! The libraries are opened at run time, and Burn panics where one is missing; so each is looked
//! for here first.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, DriverError, result};
use mint_clip::Lanes;
use mint_clip::burn::tensor::Device;

use crate::compute::Compute;
use crate::explained::Explained;
use crate::toolkit::Places;
use crate::{cache, probe, toolkit};

/// Free memory below which nothing is started: the model of the demo needs less, one of
/// ViT-B/16's size with the views of an image needs more.
const LEAST_MEMORY: usize = 1 << 30;

/// Python packages that have what a toolkit has. The first three belong to one version of CUDA, the
/// last serves all of them (and lacks headers before 12.3).
const PACKAGES: [&str; 4] = [
    "nvidia-cuda-nvrtc-cu12",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-nvcc-cu12",
    "nvidia-cuda-cccl-cu12",
];

/// The GPU with this number, once it has computed something.
pub fn open(gpu: u16) -> Result<Compute, Explained> {
    require_driver()?;
    let places = Places::of(|name| std::env::var_os(name));
    let headers = find_headers(&places);
    if let Ok(cuda_path) = &headers {
        // SAFETY: devices are opened once, on the main thread, before the model is loaded, and before
        // the driver or Burn start threads of their own that might read variables.
        unsafe { std::env::set_var("CUDA_PATH", cuda_path) };
    }
    let name = find_gpu(gpu)?;
    require_compiler(&places)?;
    headers?;
    let ((major, minor), (nvrtc_major, nvrtc_minor)) = versions();
    let driver =
        format!("{} CUDA {major}.{minor} NVRTC {nvrtc_major}.{nvrtc_minor}", driver_version());
    // Kept until the device has a hold on the same context, which is then set up once only.
    let context = require_memory(gpu, &name)?;
    // Last, since another device that is opened instead has a folder of its own.
    #[cfg(feature = "cuda")]
    let kept = cache::keep_kernels(&format!("{name} {driver}"), false);
    #[cfg(not(feature = "cuda"))]
    let kept = None;
    let device = Device::cuda(usize::from(gpu));
    probe::run(&device).map_err(|failure| Explained {
        problem: format!("the GPU {gpu} (`{name}`) cannot be used"),
        detail: format!("a first small product failed: {failure}"),
        hint: "docs/gpu.md says what the driver, the compiler and the headers have to be"
            .to_owned(),
    })?;
    drop(context);
    let name = format!("cuda:{gpu} ({name})");
    Ok(Compute {
        device,
        lanes: Lanes::inline(),
        name,
        driver,
        kept,
        has_tensor_cores: true,
        notes: Vec::new(),
    })
}

fn require_driver() -> Result<(), Explained> {
    // SAFETY: the library of the driver is opened and closed; its initialisers ask for nothing.
    if unsafe { cudarc::driver::sys::is_culib_present() } {
        return Ok(());
    }
    Err(Explained {
        problem: "NVIDIA's driver was not found".to_owned(),
        detail: format!("looked for `libcuda.so` and `libcuda.so.1`{}", library_folders()),
        hint: "install the driver of the GPU (`nvidia-smi` works where it is; a container has to be started with `--gpus all`), or run with `--backend cpu`".to_owned(),
    })
}

/// The name of a GPU.
fn find_gpu(gpu: u16) -> Result<String, Explained> {
    match result::init() {
        Ok(()) => {}
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => return Err(no_gpu()),
        Err(error) => {
            return Err(Explained {
                problem: "NVIDIA's driver does not start".to_owned(),
                detail: format!("it reports {}", driver_message(error)),
                hint: "`nvidia-smi` shows whether it works; after an update the machine may have to be started again".to_owned(),
            });
        }
    }
    let count = result::device::get_count().unwrap_or(0);
    let names: Vec<String> = (0..count).map(name_of).collect();
    if names.is_empty() {
        return Err(no_gpu());
    }
    names.get(usize::from(gpu)).cloned().ok_or_else(|| {
        let list = names.iter().enumerate().map(|(gpu, name)| format!("{gpu} (`{name}`)"));
        let list: Vec<String> = list.collect();
        Explained {
            problem: format!("there is no GPU {gpu}"),
            detail: format!("the driver reports {}{}", list.join(", "), visible_devices()),
            hint: "name one of these with `--gpu N`".to_owned(),
        }
    })
}

fn no_gpu() -> Explained {
    Explained {
        problem: "no GPU was found".to_owned(),
        detail: format!("NVIDIA's driver was found and reports none{}", visible_devices()),
        hint: "`nvidia-smi` lists what the machine has; run with `--backend cpu` without a GPU"
            .to_owned(),
    }
}

/// What hides GPUs, for a message.
fn visible_devices() -> String {
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(devices) => format!("; `CUDA_VISIBLE_DEVICES` is `{devices}`"),
        Err(_) => String::new(),
    }
}

fn name_of(gpu: i32) -> String {
    let name = result::device::get(gpu).and_then(result::device::get_name);
    name.unwrap_or_else(driver_message)
}

/// Makes sure that kernels can be compiled, and the result be read by the driver.
fn require_compiler(places: &Places) -> Result<(), Explained> {
    let names = cudarc::get_lib_name_candidates("nvrtc");
    let file = toolkit::library(&places.folders, &names);
    if let Some(file) = &file {
        // SAFETY: NVRTC's initialisers ask for nothing. It stays open: whoever asks for its name
        // later gets this one, wherever the system would look.
        match unsafe { libloading::Library::new(file) } {
            Ok(library) => std::mem::forget(library),
            Err(error) => tracing::warn!(file = %file.display(), %error, "cannot be opened"),
        }
    }
    // SAFETY: as above.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err(no_compiler(places, file.as_deref()));
    }
    let (driver, compiler) = versions();
    if compiler > driver {
        let [versioned @ .., last] = PACKAGES;
        let pinned = versioned.map(|name| format!("\"{name}<{}.{}\"", driver.0, driver.1 + 1));
        return Err(Explained {
            problem: format!(
                "NVRTC {}.{} is too new for the driver, which knows CUDA {}.{}",
                compiler.0, compiler.1, driver.0, driver.1
            ),
            detail: "a driver refuses what a newer compiler wrote".to_owned(),
            hint: format!("update the driver, or `pip install {} {last}`", pinned.join(" ")),
        });
    }
    Ok(())
}

/// NVRTC is nowhere, or in a file whose name of its own is not asked for.
fn no_compiler(places: &Places, file: Option<&Path>) -> Explained {
    let looked = "looked for `libnvrtc.so` and `libnvrtc.so.12`";
    let problem = "NVRTC, which compiles for the GPU, was not found".to_owned();
    match file.and_then(|file| Some((file, file.parent()?))) {
        Some((file, folder)) => Explained {
            problem,
            detail: format!(
                "{looked}{}; `{}` is there, but has another name for the system",
                library_folders(),
                file.display()
            ),
            hint: format!("start the program with `LD_LIBRARY_PATH={}`", folder.display()),
        },
        None => Explained {
            problem,
            detail: format!("{looked} in {}, and{}", places.description, library_folders()),
            hint: install_hint(),
        },
    }
}

/// The version of the driver itself, on Linux; empty elsewhere.
fn driver_version() -> String {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let is_version =
        |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.split_whitespace().find(is_version).unwrap_or_default().to_owned()
}

/// The newest CUDA that the driver knows, and the CUDA that NVRTC belongs to.
fn versions() -> ((i32, i32), (i32, i32)) {
    let (mut driver, mut major, mut minor) = (0, 0, 0);
    // SAFETY: both libraries are there, and write numbers to places that outlive the calls.
    unsafe {
        cudarc::driver::sys::cuDriverGetVersion(&mut driver);
        cudarc::nvrtc::sys::nvrtcVersion(&mut major, &mut minor);
    }
    ((driver / 1000, driver % 1000 / 10), (major, minor))
}

/// What `CUDA_PATH` has to be for kernels to find the headers that they include.
fn find_headers(places: &Places) -> Result<PathBuf, Explained> {
    let folders: Vec<Vec<PathBuf>> =
        places.folders.iter().map(|place| toolkit::header_folders(place)).collect();
    let missing = |folders: &Vec<PathBuf>| toolkit::missing_headers(folders);
    let Some(best) = folders.iter().min_by_key(|folders| missing(folders).len()) else {
        return Err(no_headers(&toolkit::HEADERS, places));
    };
    if !missing(best).is_empty() {
        return Err(no_headers(&missing(best), places));
    }
    let cache = cache::folder(|name| std::env::var_os(name));
    toolkit::cuda_path(best, &cache).map_err(|error| Explained {
        problem: "the folder of links to CUDA's headers cannot be made".to_owned(),
        detail: format!("`{}`: {error}", cache.display()),
        hint: "set `CUDA_PATH` to a CUDA toolkit, or `XDG_CACHE_HOME` to a folder for it"
            .to_owned(),
    })
}

fn no_headers(missing: &[&str], places: &Places) -> Explained {
    let missing: Vec<String> = missing.iter().map(|header| format!("`{header}`")).collect();
    Explained {
        problem: "CUDA's headers, which kernels include, were not found".to_owned(),
        detail: format!("looked for {} in {}", missing.join(", "), places.description),
        hint: install_hint(),
    }
}

/// Makes sure that something is free; the context in which that was asked.
fn require_memory(gpu: u16, name: &str) -> Result<Arc<CudaContext>, Explained> {
    let asked = CudaContext::new(usize::from(gpu))
        .and_then(|context| Ok((context.mem_get_info()?, context)));
    let ((free, total), context) = asked.map_err(|error| Explained {
        problem: format!("the GPU {gpu} (`{name}`) cannot be opened"),
        detail: format!("the driver reports {}", driver_message(error)),
        hint: "`nvidia-smi` shows who uses it; another can be chosen with `--gpu N`".to_owned(),
    })?;
    if free >= LEAST_MEMORY {
        return Ok(context);
    }
    let mebibytes = |bytes: usize| bytes >> 20;
    Err(Explained {
        problem: format!("the GPU {gpu} (`{name}`) has too little free memory"),
        detail: format!(
            "{} of {} MiB are free, {} are needed at least",
            mebibytes(free),
            mebibytes(total),
            mebibytes(LEAST_MEMORY)
        ),
        hint: "`nvidia-smi` shows who uses it; another can be chosen with `--gpu N`".to_owned(),
    })
}

fn install_hint() -> String {
    format!(
        "install a CUDA toolkit, or `pip install {}`, and set `CUDA_PATH` to it (of the packages, to the folder around `nvidia`)",
        PACKAGES.join(" ")
    )
}

/// Where the system looks for libraries, for a message.
fn library_folders() -> String {
    match std::env::var("LD_LIBRARY_PATH") {
        Ok(path) if !path.is_empty() => {
            format!(" where the system has libraries and in `LD_LIBRARY_PATH` (`{path}`)")
        }
        _ => " where the system has libraries (`LD_LIBRARY_PATH` is not set)".to_owned(),
    }
}

/// An error of the driver in its own words.
fn driver_message(error: DriverError) -> String {
    let text = |text: Result<&CStr, DriverError>| {
        text.ok().map(|text| text.to_string_lossy().into_owned())
    };
    let name = text(error.error_name()).unwrap_or_else(|| format!("error {}", error.0 as u32));
    match text(error.error_string()) {
        Some(words) => format!("`{name}` ({words})"),
        None => format!("`{name}`"),
    }
}
