//! What a device's runtime only writes to its log: that work on it failed.
//!
//! Burn's runtimes queue work on a thread of their own. A task that panics there is caught, its
//! message is logged, and a later read may get memory that nothing was written to. So such a message
//! is reported to [`mint_clip`], which then delivers no results any more.

use std::fmt::{Debug, Write};
use std::thread;
use std::time::Duration;

use mint_clip::report_device_failure;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Logs that a task in a device's queue failed, which nobody else hears of.
const TASKS: &str = "cubecl_common::device";
/// Logs that a device was lost.
const LOST: &str = "cubecl_wgpu::compute::device_poison";
/// How long a program may go on after that.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens to what runtimes log as warnings and errors. A program adds it to its subscriber.
#[derive(Debug)]
pub struct FailureWatch {
    after_loss: fn(&str),
    patience: Duration,
}

impl FailureWatch {
    /// `after_loss` is called half a minute after a device was lost, if the program still runs then,
    /// and should end it: whoever reads from the device may wait forever.
    pub fn new(after_loss: fn(&str)) -> Self {
        Self { after_loss, patience: PATIENCE }
    }
}

impl<S: Subscriber> Layer<S> for FailureWatch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let told = event.normalized_metadata();
        let target = told.as_ref().map_or(event.metadata().target(), |told| told.target());
        let level = told.as_ref().map_or(event.metadata().level(), |told| told.level());
        let is_lost = target.starts_with(LOST);
        if *level > Level::WARN || !(is_lost || target.starts_with(TASKS)) {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        if is_lost {
            let (message, patience, after_loss) =
                (message.0.clone(), self.patience, self.after_loss);
            thread::spawn(move || {
                thread::sleep(patience);
                after_loss(&message);
            });
        }
        report_device_failure(message.0);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use mint_clip::burn::tensor::{Device, Tensor};
    use mint_clip::{device_failure, read};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    use super::*;

    #[test]
    fn after_a_failure_nothing_is_read_and_other_warnings_do_not_matter() {
        static AFTER_LOSS: OnceLock<String> = OnceLock::new();
        let after_loss = |message: &str| AFTER_LOSS.set(message.to_owned()).expect("once");
        let watch = FailureWatch { after_loss, patience: Duration::ZERO };
        tracing_subscriber::registry().with(watch).init();
        log::warn!(target: "cubecl_environment::persistence", "no cache");
        log::info!(target: "cubecl_common::device::handle::channel", "a runner starts");
        let ones = || read::<f32, _, _>(Tensor::<1>::ones([2], &Device::flex()));
        assert_eq!(ones().expect("nothing failed"), [1.0, 1.0]);
        log::warn!(target: "cubecl_common::device::handle::channel", "Task failed: one");
        log::warn!(target: "cubecl_common::device::handle::channel", "Task failed: two");
        assert_eq!(device_failure(), Some("Task failed: one"));
        assert_eq!(ones().expect_err("a task failed").to_string(), "Task failed: one");
        assert_eq!(AFTER_LOSS.get(), None, "the device is still there");
        log::error!(target: "cubecl_wgpu::compute::device_poison", "Device lost");
        assert_eq!(AFTER_LOSS.wait(), "Device lost");
        assert_eq!(device_failure(), Some("Task failed: one"), "the first one counts");
    }
}
