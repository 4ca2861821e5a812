//! A tower that is read from its file when it is first needed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::weights::error::WeightsError;

/// A tower, or the way to get it. Clones share it.
pub(crate) struct Deferred<T>(Arc<State<T>>);

struct State<T> {
    tower: OnceLock<T>,
    /// `None` if it was there from the start.
    read: Option<Read<T>>,
}

/// What reads a tower.
type Read<T> = Box<dyn Fn() -> Result<T, WeightsError> + Send + Sync>;

impl<T> Deferred<T> {
    /// A tower that is there.
    pub fn ready(tower: T) -> Self {
        Self(Arc::new(State { tower: OnceLock::from(tower), read: None }))
    }

    /// A tower that `read` gets.
    pub fn later(read: impl Fn() -> Result<T, WeightsError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(State { tower: OnceLock::new(), read: Some(Box::new(read)) }))
    }

    /// Makes sure that the tower is there.
    pub fn ensure(&self) -> Result<(), WeightsError> {
        if let (None, Some(read)) = (self.0.tower.get(), &self.0.read) {
            // Somebody else may have been faster, with the same numbers.
            let _ = self.0.tower.set(read()?);
        }
        Ok(())
    }

    /// The tower.
    ///
    /// # Panics
    ///
    /// If it was not yet read, and cannot be.
    pub fn get(&self) -> &T {
        if let Err(error) = self.ensure() {
            panic!("{error}; `ensure` says so before");
        }
        self.0.tower.get().expect("it was ensured")
    }
}

impl<T> Clone for Deferred<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Deferred<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.tower.fmt(formatter)
    }
}
