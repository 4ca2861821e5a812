//! Stands in for `cubecl-llvm`, so that CUDA can be built where LLVM cannot be downloaded.
//!
//! `cubecl-cuda` has two ways from a kernel to the GPU: it writes CUDA C++ and lets NVRTC compile
//! that at run time (its feature `cpp`, which this workspace turns on), or it compiles with LLVM.
//! It always depends on both, and the build script of the real `cubecl-llvm` downloads LLVM. This
//! crate has the names that `cubecl-cuda` uses and compiles nothing: with `cpp` the functions here
//! are never called, apart from [`PtxVersion::for_driver`](nvptx::ptx_version::PtxVersion), whose
//! answer only the other way reads.
//!
//! To compile with upstream's LLVM instead, remove the section `[patch.crates-io]` from the
//! workspace's `Cargo.toml` and `cpp` from the features of `cubecl-cuda` there, then this folder.
//!
//! The version must be the one of `cubecl-cuda`; with another, cargo says that the patch is not
//! used.

use std::ffi::c_char;
use std::fmt;

use cubecl_core::environment::backtrace::BackTrace;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_core::{CompilationError, Compiler};
use cubecl_runtime::kernel::BufferIOAttr;

/// What the compiler would write for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// Processors.
    #[default]
    Cpu,
    /// GPUs of NVIDIA.
    Nvptx,
}

/// The compiler that is not there.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What it would write for.
    pub target: LlvmTarget,
}

/// Options of the compiler.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Alignment of buffers on a processor.
    pub cpu_buffer_alignment: Option<u32>,
    /// Architecture of another maker's GPU.
    pub arch: Option<()>,
    /// Architecture of NVIDIA's GPU.
    pub sm_arch: Option<SmArch>,
    /// Version of the assembly language.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether launch parameters are constants.
    pub grid_constants: bool,
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// Its assembly.
    pub ptx: Vec<c_char>,
    /// Its name.
    pub entrypoint: String,
    /// What it was compiled from.
    pub ir: String,
    /// Shared memory of a launch, in bytes.
    pub shared_memory_size: usize,
    /// What it does with its buffers.
    pub io: Vec<BufferIOAttr>,
}

/// What the compiler would give.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// A kernel for NVIDIA's GPUs.
    NvptxCode(NvptxModule),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::NvptxCode(module) = self;
        formatter.write_str(&module.ir)
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _: KernelDefinition,
        _: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason:
                "this program was built without LLVM; turn on the feature `cpp` of `cubecl-cuda`"
                    .to_owned(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// What belongs to NVIDIA's GPUs.
pub mod nvptx {
    /// Versions of the assembly language.
    pub mod ptx_version {
        use std::fmt;

        /// A version of the assembly language PTX.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(u32);

        impl PtxVersion {
            /// The newest version that a driver reads; not known here.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "ptx{}", self.0)
            }
        }
    }
}

/// What all targets share.
pub mod shared {
    /// What of a device the compiler can use.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// A kind of GPU.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// GPUs of NVIDIA.
            Nvptx,
        }

        /// Takes away what the compiler cannot use; never called without it.
        pub fn restrict_features(_: &mut DeviceProperties, _: GpuTarget) {}
    }
}
