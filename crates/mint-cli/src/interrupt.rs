//! Ctrl-C and SIGTERM end a run after the image at hand; a second signal ends it at once.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Listens for signals.
#[derive(Debug, Clone)]
pub struct Interrupt {
    /// The first signal's number; 0 before.
    signal: Arc<AtomicI32>,
}

impl Interrupt {
    /// From here on signals no longer end the program at once.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};

        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
        let interrupt = Self { signal: Arc::default() };
        let first = interrupt.signal.clone();
        let wait = move || {
            for signal in signals.forever() {
                if first.swap(signal, Ordering::Relaxed) != 0 {
                    std::process::exit(exit_code(signal).into());
                }
                crate::output::note("stopping after this image; once more stops at once");
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(interrupt)
    }

    /// Signals keep their meaning.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self { signal: Arc::default() })
    }

    /// The signal that came, if one did.
    pub fn signal(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal),
        }
    }
}

/// A run that a signal ended. What it did is recorded.
#[derive(Debug)]
pub struct Stopped {
    /// The signal's number.
    pub signal: i32,
    /// How far it came.
    pub what: String,
    /// How it goes on.
    pub hint: Option<String>,
}

impl Stopped {
    /// As a shell reports a signal.
    pub fn exit_code(&self) -> u8 {
        exit_code(self.signal)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, hint, .. } = self;
        match hint {
            None => formatter.write_str(what),
            Some(hint) => write!(formatter, "{what}\nhint: {hint}"),
        }
    }
}

impl std::error::Error for Stopped {}

/// What a shell reports of a program that a signal ended.
fn exit_code(signal: i32) -> u8 {
    128u8.saturating_add(signal.clamp(0, 127) as u8)
}
