//! What a device's runtime only writes to its log: that work on it failed.
//!
//! Burn's runtimes queue work on a thread of their own. A task that panics there is caught, its
//! message is logged, and a later read may get memory that nothing was written to. So the first such
//! message is kept, and whoever reads results asks for it before believing them.

use std::fmt::{Debug, Write};
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

static FIRST: OnceLock<String> = OnceLock::new();

/// Modules that log a failure which nobody else hears of: the queue of a device's tasks, and the
/// watch over lost devices.
const MODULES: [&str; 2] = ["cubecl_common::device", "cubecl_wgpu::compute::device_poison"];

/// What failed first on a device of this process, in the runtime's words.
pub fn failure() -> Option<String> {
    FIRST.get().cloned()
}

/// Listens to what runtimes log as warnings and errors. A program adds it to its subscriber.
#[derive(Debug, Default)]
pub struct FailureWatch;

impl<S: Subscriber> Layer<S> for FailureWatch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let told = event.normalized_metadata();
        let target = told.as_ref().map_or(event.metadata().target(), |told| told.target());
        let level = told.as_ref().map_or(event.metadata().level(), |told| told.level());
        if *level <= Level::WARN && MODULES.iter().any(|module| target.starts_with(module)) {
            let mut message = Message(String::new());
            event.record(&mut message);
            let _ = FIRST.set(message.0);
        }
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
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    use super::*;

    #[test]
    fn the_first_failed_task_is_kept_and_other_warnings_are_not() {
        tracing_subscriber::registry().with(FailureWatch).init();
        log::warn!(target: "cubecl_environment::persistence", "no cache");
        log::info!(target: "cubecl_common::device::handle::channel", "a runner starts");
        assert_eq!(failure(), None);
        log::warn!(target: "cubecl_common::device::handle::channel", "Task failed: one");
        log::warn!(target: "cubecl_common::device::handle::channel", "Task failed: two");
        assert_eq!(failure().as_deref(), Some("Task failed: one"));
    }
}
