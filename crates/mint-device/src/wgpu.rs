//! A GPU of any maker, through its graphics driver: Vulkan, Metal or Direct3D 12.
//!
//! Burn's backend takes the first of these that has a GPU, and numbers its devices by kind. So that
//! users see names, and the list when a number is wrong, the same list is made here first.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use mint_clip::Lanes;
use mint_clip::burn::tensor::{Device, DeviceKind};
use wgpu::{AdapterInfo, Backends, DeviceType, Instance, InstanceDescriptor};

use crate::compute::Compute;
use crate::explained::Explained;
use crate::{cache, probe};

/// What kernels are written in.
#[cfg(not(feature = "wgpu-spirv"))]
const LANGUAGE: &str = "WGSL";
#[cfg(feature = "wgpu-spirv")]
const LANGUAGE: &str = "SPIR-V";

/// Names the version of macOS, whose drivers have none of their own.
const MACOS: &str = "/System/Library/CoreServices/SystemVersion.plist";

/// The device with this number; without one, the first GPU, or what computes in a GPU's place.
pub fn open(gpu: Option<u16>) -> Result<Compute, Explained> {
    let adapters = adapters();
    let position = match gpu {
        Some(gpu) => usize::from(gpu),
        None => adapters.iter().position(is_gpu).unwrap_or(0),
    };
    open_at(&adapters, position)
}

/// The same, and never what computes in a GPU's place.
pub fn open_gpu(gpu: Option<u16>) -> Result<Compute, Explained> {
    let adapters = adapters();
    let position = gpu.map(usize::from).or_else(|| adapters.iter().position(is_gpu));
    match position.filter(|position| adapters.get(*position).is_none_or(is_gpu)) {
        Some(position) => open_at(&adapters, position),
        None => Err(Explained {
            problem: "the graphics driver has no GPU".to_owned(),
            detail: "a processor in the place of one is taken with `--backend wgpu` only"
                .to_owned(),
            hint: "run with `--backend cpu`, which is faster".to_owned(),
        }),
    }
}

fn open_at(adapters: &[AdapterInfo], position: usize) -> Result<Compute, Explained> {
    let Some(adapter) = adapters.get(position) else {
        return Err(missing(position, adapters));
    };
    let kind = kind(adapters, position)?;
    let system = std::fs::read_to_string(MACOS).map_or(0, |text| cache::hash(&text));
    let driver = format!("{} {} {system} {LANGUAGE}", adapter.driver, adapter.driver_info);
    let named = format!("{} {:?} {driver}", adapter.name, adapter.backend);
    let kept = cache::keep_kernels(&named, !is_gpu(adapter));
    let device = open_kind(kind);
    probe::run(&device).map_err(|failure| Explained {
        problem: format!("the device {position} (`{}`) cannot be used", adapter.name),
        detail: format!("a first small product failed: {failure}"),
        hint:
            "update the driver, choose another device with `--gpu N`, or run with `--backend cpu`"
                .to_owned(),
    })?;
    let mut notes = Vec::new();
    if !is_gpu(adapter) {
        notes.push(format!(
            "note: `{}` is a processor in the place of a GPU, and slower than `--backend cpu`",
            adapter.name
        ));
    }
    Ok(Compute {
        device,
        lanes: Lanes::inline(),
        name: format!("wgpu:{position} ({}, {:?})", adapter.name, adapter.backend),
        driver,
        kept,
        has_tensor_cores: false,
        notes,
    })
}

#[cfg(not(feature = "wgpu-spirv"))]
fn open_kind(kind: DeviceKind) -> Device {
    Device::wgpu(kind)
}

#[cfg(feature = "wgpu-spirv")]
fn open_kind(kind: DeviceKind) -> Device {
    Device::vulkan(kind)
}

/// The devices of the first interface that has a GPU, or else of the first that has any.
fn adapters() -> Vec<AdapterInfo> {
    let of = |backends: Backends| -> Vec<AdapterInfo> {
        let mut descriptor = InstanceDescriptor::new_without_display_handle();
        descriptor.backends = backends;
        let found = at_once(Instance::new(descriptor).enumerate_adapters(backends));
        found.iter().map(wgpu::Adapter::get_info).collect()
    };
    let interfaces: &[Backends] = if cfg!(target_os = "macos") {
        &[Backends::METAL]
    } else {
        &[Backends::VULKAN, Backends::DX12, Backends::GL]
    };
    let mut first = Vec::new();
    for &interface in interfaces {
        let found = of(interface);
        if found.iter().any(is_gpu) {
            return found;
        }
        if first.is_empty() {
            first = found;
        }
    }
    first
}

/// The output of work that only a browser does later.
fn at_once<T>(work: impl Future<Output = Vec<T>>) -> Vec<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) => found,
        Poll::Pending => Vec::new(),
    }
}

fn is_gpu(adapter: &AdapterInfo) -> bool {
    adapter.device_type != DeviceType::Cpu
}

/// How Burn calls a device of the list: by kind, and counted among those of its kind. Some it cannot
/// call, and would open another one.
fn kind(adapters: &[AdapterInfo], position: usize) -> Result<DeviceKind, Explained> {
    let of_kind = adapters[position].device_type;
    let before = adapters[..position].iter().filter(|other| other.device_type == of_kind).count();
    match of_kind {
        DeviceType::DiscreteGpu => Ok(DeviceKind::DiscreteGpu(before)),
        DeviceType::IntegratedGpu => Ok(DeviceKind::IntegratedGpu(before)),
        DeviceType::VirtualGpu => Ok(DeviceKind::VirtualGpu(before)),
        DeviceType::Cpu if before == 0 => Ok(DeviceKind::Cpu),
        DeviceType::Other if adapters.len() == 1 => Ok(DeviceKind::DefaultDevice),
        DeviceType::Cpu | DeviceType::Other => Err(Explained {
            problem: format!(
                "the device {position} (`{}`) cannot be chosen",
                adapters[position].name
            ),
            detail: "Burn opens the first of several processors in the place of a GPU, \
                     and a device of no known kind only if there is no other"
                .to_owned(),
            hint: "make it the only one that Vulkan finds, with `VK_ICD_FILENAMES`".to_owned(),
        }),
    }
}

fn missing(position: usize, adapters: &[AdapterInfo]) -> Explained {
    if adapters.is_empty() {
        return Explained {
            problem: "no graphics device was found".to_owned(),
            detail: "looked for one with a driver for Vulkan, Metal or Direct3D 12".to_owned(),
            hint: "install the GPU's driver (`vulkaninfo --summary` lists what Vulkan finds), or run with `--backend cpu`".to_owned(),
        };
    }
    let list = adapters.iter().enumerate();
    let list: Vec<String> =
        list.map(|(number, adapter)| format!("{number} (`{}`)", adapter.name)).collect();
    Explained {
        problem: format!("there is no GPU {position}"),
        detail: format!("the graphics driver reports {}", list.join(", ")),
        hint: "name one of these with `--gpu N`".to_owned(),
    }
}
