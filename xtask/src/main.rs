//! Chores of this repository: `cargo xtask <TASK>`.

mod bench_all;
mod bench_peer;
mod check_cuda;
mod check_devices;
mod circles;
mod cost_curves;
mod demo_table;
mod fetch;
mod gpu_check;
mod process;
mod test_processors;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Chores of this repository")]
enum Task {
    /// Run the whole benchmark: every method on every test set
    BenchAll(bench_all::BenchAllArgs),
    /// Measure this project and PyTorch on the same inputs, and compare the predictions
    BenchPeer(bench_peer::BenchPeerArgs),
    /// Compile the build for GPUs, which neither takes a GPU nor runs anything
    CheckCuda,
    /// Run everything on the devices that Vulkan drivers in software have, and compare it with the CPU
    CheckDevices(check_devices::CheckDevicesArgs),
    /// Measure what MINT costs against its settings, and draw it
    CostCurves(cost_curves::CostCurvesArgs),
    /// Run every method on every image of the demo, and rewrite the table of docs/demo.md
    DemoTable(demo_table::DemoTableArgs),
    /// Fetch published weights and trained prompts
    Fetch(fetch::FetchArgs),
    /// Build the program that proves and measures a GPU, and run it
    GpuCheck(gpu_check::GpuCheckArgs),
    /// Run the tests on this processor, and on emulated ones without AVX-512 and without AVX
    TestProcessors(test_processors::TestProcessorsArgs),
    /// Check the rules that docs/architecture.md states
    Tidy,
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::BenchAll(args) => bench_all::run(&args),
        Task::BenchPeer(args) => bench_peer::run(&args),
        Task::CheckCuda => check_cuda::run(),
        Task::CheckDevices(args) => check_devices::run(&args),
        Task::CostCurves(args) => cost_curves::run(&args),
        Task::DemoTable(args) => demo_table::run(&args),
        Task::Fetch(args) => fetch::run(&args),
        Task::GpuCheck(args) => gpu_check::run(&args),
        Task::TestProcessors(args) => test_processors::run(&args),
        Task::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
