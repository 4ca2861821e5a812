//! Errors that say what to do.

/// An error with a second line that says more, and a third that says what to do.
#[derive(Debug)]
pub struct Explained {
    /// What is wrong.
    pub problem: String,
    /// What was seen or looked for.
    pub detail: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\n  {}\nhint: {}", self.problem, self.detail, self.hint)
    }
}

impl std::error::Error for Explained {}
