//! Class prompts as tokens: what all classes share, and what is each class's own.

use std::collections::BTreeMap;

use crate::tokenizer::{Tokenizer, TokenizerError};

/// One place of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A token of the vocabulary.
    Token(u32),
    /// A learned context vector, by its index.
    Context(usize),
}

impl Item {
    /// The token's id; 0 where a context vector goes.
    pub(crate) fn id(self) -> u32 {
        match self {
            Item::Token(id) => id,
            Item::Context(_) => 0,
        }
    }

    fn context(self) -> Option<usize> {
        match self {
            Item::Token(_) => None,
            Item::Context(index) => Some(index),
        }
    }
}

/// Where learned context vectors stand around the class name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextPlaces {
    /// Vectors before the name.
    pub before: usize,
    /// Vectors after the name.
    pub after: usize,
}

impl ContextPlaces {
    /// All vectors before the name.
    pub fn leading(vectors: usize) -> Self {
        Self { before: vectors, after: 0 }
    }
}

/// The prompts of all classes, divided into a shared prefix and suffixes grouped by length.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptSet {
    prefix: Vec<Item>,
    groups: Vec<PromptGroup>,
    merged: Option<PromptGroup>,
    n_classes: usize,
    n_context: usize,
}

/// Classes whose suffixes are equally long and have context vectors at the same places.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptGroup {
    /// Indices of the classes.
    pub classes: Vec<usize>,
    /// Their suffixes.
    pub suffixes: Vec<Vec<Item>>,
    /// Place of each suffix's end-of-text token; what follows it fills the suffix up.
    pub ends: Vec<usize>,
}

impl PromptGroup {
    /// Whether all texts end with the last item.
    pub fn is_even(&self) -> bool {
        self.ends.iter().all(|end| end + 1 == self.suffixes[0].len())
    }
}

impl PromptSet {
    /// Prompts `"{prefix} {name}."` whose prefix is learned; see [`class_text`] for the name.
    ///
    /// The context vectors replace placeholder words, as in the published prompt learners.
    ///
    /// # Errors
    ///
    /// If a prompt is too long for the model.
    pub fn with_context(
        tokenizer: &Tokenizer,
        names: &[String],
        places: ContextPlaces,
    ) -> Result<Self, TokenizerError> {
        let n_context = places.before + places.after;
        let placeholders = vec!["X"; n_context].join(" ");
        let prompt = |name: &String| {
            let name = class_text(name);
            let ids = tokenizer.tokens(&format!("{placeholders} {name}."))?;
            let own = &ids[1 + n_context..];
            let (own, rest) = own.split_at(tokenizer.encode(&name).len());
            let context = |index| Item::Context(index);
            let mut items = vec![Item::Token(ids[0])];
            items.extend((0..places.before).map(context));
            items.extend(own.iter().copied().map(Item::Token));
            items.extend((places.before..n_context).map(context));
            items.extend(rest.iter().copied().map(Item::Token));
            Ok(items)
        };
        let prompts = names.iter().map(prompt).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(prompts))
    }

    /// Prompts of `n_context` learned vectors and a template, such as MaPLe's two vectors before
    /// `of a {}.`.
    ///
    /// # Errors
    ///
    /// If a prompt is too long for the model.
    pub fn with_leading_context(
        tokenizer: &Tokenizer,
        names: &[String],
        n_context: usize,
        template: &str,
    ) -> Result<Self, TokenizerError> {
        let placeholders = vec!["X"; n_context].join(" ");
        let prompt = |name: &String| {
            let text = template.replace("{}", &class_text(name));
            let ids = tokenizer.tokens(&format!("{placeholders} {text}"))?;
            let items = ids.into_iter().enumerate().map(|(place, id)| match place {
                0 => Item::Token(id),
                _ if place <= n_context => Item::Context(place - 1),
                _ => Item::Token(id),
            });
            Ok(items.collect())
        };
        let prompts = names.iter().map(prompt).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(prompts))
    }

    /// Prompts made of a template such as `"a photo of a {}."`.
    ///
    /// # Errors
    ///
    /// If a prompt is too long for the model.
    pub fn from_template(
        tokenizer: &Tokenizer,
        names: &[String],
        template: &str,
    ) -> Result<Self, TokenizerError> {
        let prompt = |name: &String| {
            let ids = tokenizer.tokens(&template.replace("{}", &class_text(name)))?;
            Ok(ids.into_iter().map(Item::Token).collect())
        };
        let prompts = names.iter().map(prompt).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(prompts))
    }

    /// Divides token sequences, one a class; each starts and ends with the marker tokens.
    pub fn new(prompts: Vec<Vec<Item>>) -> Self {
        let shared = shared_length(&prompts);
        let prefix = prompts.first().map_or(Vec::new(), |prompt| prompt[..shared].to_vec());
        let n_context = prompts.iter().flatten().filter_map(|item| item.context()).max();
        let n_classes = prompts.len();

        let mut groups: BTreeMap<Vec<Option<usize>>, PromptGroup> = BTreeMap::new();
        for (class, prompt) in prompts.into_iter().enumerate() {
            let suffix = prompt[shared..].to_vec();
            let places = suffix.iter().map(|item| item.context()).collect();
            let empty =
                || PromptGroup { classes: Vec::new(), suffixes: Vec::new(), ends: Vec::new() };
            let group = groups.entry(places).or_insert_with(empty);
            group.classes.push(class);
            group.ends.push(suffix.len() - 1);
            group.suffixes.push(suffix);
        }
        let groups: Vec<PromptGroup> = groups.into_values().collect();
        Self {
            prefix,
            merged: merged(&groups),
            groups,
            n_classes,
            n_context: n_context.map_or(0, |last| last + 1),
        }
    }

    /// The items that all prompts start with.
    pub fn prefix(&self) -> &[Item] {
        &self.prefix
    }

    /// The suffixes.
    pub fn groups(&self) -> &[PromptGroup] {
        &self.groups
    }

    /// All suffixes as one group, filled up after their ends to the longest; `None` if context
    /// vectors stand in them. Attention is causal, so that changes no result.
    pub fn merged(&self) -> Option<&PromptGroup> {
        self.merged.as_ref()
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Number of context vectors.
    pub fn n_context(&self) -> usize {
        self.n_context
    }

    /// The items of one class's whole prompt.
    pub fn prompt(&self, class: usize) -> Option<Vec<Item>> {
        self.groups.iter().find_map(|group| {
            let member = group.classes.iter().position(|&other| other == class)?;
            Some([self.prefix.as_slice(), &group.suffixes[member]].concat())
        })
    }
}

/// What fills suffixes up; no text's result depends on it.
const FILLING: Item = Item::Token(0);

fn merged(groups: &[PromptGroup]) -> Option<PromptGroup> {
    let has_context =
        |group: &PromptGroup| group.suffixes[0].iter().any(|item| item.context().is_some());
    let longest = groups.iter().map(|group| group.suffixes[0].len()).max()?;
    if groups.iter().any(has_context) {
        return None;
    }
    let mut merged = PromptGroup { classes: Vec::new(), suffixes: Vec::new(), ends: Vec::new() };
    for group in groups {
        merged.classes.extend(&group.classes);
        merged.ends.extend(&group.ends);
        merged.suffixes.extend(group.suffixes.iter().map(|suffix| {
            let mut suffix = suffix.clone();
            suffix.resize(longest, FILLING);
            suffix
        }));
    }
    Some(merged)
}

/// A class name as it is written in prompts: underscores are spaces.
pub fn class_text(name: &str) -> String {
    name.replace('_', " ")
}

/// Number of leading items that all prompts share; at least the last item stays outside.
fn shared_length(prompts: &[Vec<Item>]) -> usize {
    let Some(first) = prompts.first() else { return 0 };
    let shortest = prompts.iter().map(Vec::len).min().unwrap_or(0);
    (0..shortest.saturating_sub(1))
        .take_while(|&place| prompts.iter().all(|prompt| prompt[place] == first[place]))
        .count()
}
