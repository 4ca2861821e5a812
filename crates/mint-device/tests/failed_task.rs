//! Work that fails on a real device is heard of: `cargo xtask check-devices` runs this on one.

use std::panic::{self, AssertUnwindSafe};

use mint_clip::burn::tensor::Tensor;
use mint_clip::{Precision, device_failure, read};
use mint_device::{Backend, Chosen, FailureWatch};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[test]
fn work_that_fails_is_heard_of() {
    tracing_subscriber::registry().with(FailureWatch::new(|_| {})).init();
    let chosen = Chosen { backend: Backend::Wgpu, gpu: None, threads: None };
    let device = chosen.open(Precision::F32).expect("a device of the graphics driver").device;
    assert_eq!(device_failure(), None, "the device works");

    // 4 TiB, which no device has.
    let work = || read::<f32, _, _>(Tensor::<2>::ones([1 << 20, 1 << 20], &device).sum());
    let found = panic::catch_unwind(AssertUnwindSafe(work));
    println!("heard of: {:?}; read: {found:?}", device_failure());
    assert!(!matches!(found, Ok(Ok(_))), "a sum was read, and nothing said");
}
