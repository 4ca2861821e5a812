//! What a pickle builds.

use std::rc::Rc;

use crate::weights::stored_tensor::NumberType;

/// Place of a value in [`Pickle`].
pub type Id = usize;

/// A value of a pickle. Containers name their members by place, so that no depth of nesting and
/// no cycle can do harm.
#[derive(Debug, Clone)]
pub enum Value {
    /// `None`.
    Nothing,
    /// A truth value.
    Truth(bool),
    /// An integer that fits.
    Integer(i64),
    /// A number, or an integer that does not fit; what it is does not matter.
    Number,
    /// A text.
    Text(Rc<str>),
    /// Bytes; which ones does not matter.
    Bytes,
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list or a set.
    List(Vec<Id>),
    /// A dictionary.
    Dictionary(Vec<(Id, Id)>),
    /// A class or a function, by its full name.
    Global(Rc<str>),
    /// A block of numbers.
    Storage(Storage),
    /// A view of a block of numbers.
    Tensor(TensorView),
    /// An object of a class that is not known, with the state that was set.
    Object {
        /// Full name of its class.
        class: Rc<str>,
        /// What its `__dict__` was set to.
        state: Option<Id>,
    },
}

/// A block of numbers that lies outside the pickle.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// How the file calls it.
    pub key: Rc<str>,
    /// How its numbers are stored.
    pub number: NumberType,
    /// How many there should be.
    pub elements: u64,
}

/// A view of a [`Storage`].
#[derive(Debug, Clone)]
pub struct TensorView {
    /// The block.
    pub storage: Storage,
    /// Its element that comes first.
    pub first: u64,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Distance between neighbours on each axis, in elements.
    pub strides: Vec<usize>,
}

/// All values of a pickle.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
}

/// Most values that one pickle may have. A full CLIP checkpoint with its optimizer has a hundredth.
pub(super) const MOST_VALUES: usize = 1 << 17;
/// Most operations of one pickle, members of copied containers included.
pub(super) const MOST_WORK: usize = 1 << 20;
/// Most axes of a tensor.
pub(super) const MOST_AXES: usize = 8;
/// Longest name of a class or a tensor.
pub(super) const LONGEST_NAME: usize = 512;

impl Pickle {
    pub(super) fn new(values: Vec<Value>, root: Id) -> Self {
        Self { values, root }
    }

    /// The value that was built last.
    pub fn root(&self) -> Id {
        self.root
    }

    /// The value at a place.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// All values, in the order in which they were built.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The member of a dictionary that has this key.
    pub fn member(&self, dictionary: Id, key: &str) -> Option<Id> {
        let Value::Dictionary(entries) = self.get(dictionary) else { return None };
        let is_key = |id: Id| matches!(self.get(id), Value::Text(text) if **text == *key);
        entries.iter().rev().find(|(name, _)| is_key(*name)).map(|&(_, value)| value)
    }

    /// Every tensor below `from`, named by the keys and attributes on the way to it.
    /// `Err` if there are more than any model has, or their names are too long together.
    pub fn tensors(&self, from: Id) -> Result<Vec<(String, &TensorView)>, String> {
        /// Deepest module of a CLIP model is at 8.
        const DEEPEST: usize = 24;
        const MOST_NAMES_BYTES: usize = 8 << 20;
        let mut names = 0;
        let mut found = Vec::new();
        let mut open = vec![(String::new(), from, 0)];
        let mut budget = MOST_VALUES;
        while let Some((path, id, depth)) = open.pop() {
            let container = match self.get(id) {
                Value::Tensor(tensor) => {
                    found.push((path, tensor));
                    continue;
                }
                Value::Object { state: Some(state), .. } => *state,
                _ => id,
            };
            let Value::Dictionary(entries) = self.get(container) else { continue };
            if depth == DEEPEST {
                continue;
            }
            for &(key, value) in entries {
                // A container that stands at many places is walked at each of them, up to a limit.
                let rest = budget.checked_sub(1);
                budget = rest.ok_or("it has more entries than any model")?;
                let Value::Text(key) = self.get(key) else { continue };
                if path.len() + key.len() > LONGEST_NAME {
                    continue;
                }
                names += path.len() + key.len() + 1;
                if names > MOST_NAMES_BYTES {
                    return Err(
                        "the names of its tensors are longer than those of any model".to_owned()
                    );
                }
                let name = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                open.push((name, value, depth + 1));
            }
        }
        Ok(found)
    }
}
