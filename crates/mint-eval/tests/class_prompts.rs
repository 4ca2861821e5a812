//! The tokens of all class prompts against the official tokenizer's.

use std::collections::BTreeSet;

use mint_clip::Tokenizer;
use mint_clip::prompt::class_text;
use mint_datasets::{FineGrained, TestSet};
use mint_golden::json;

/// Compares the prompts of a set with what was recorded of the official code's.
fn check(set: TestSet, recorded: &str) {
    let recorded = &json("classnames_check.json")[recorded];
    let tokenizer = Tokenizer::clip(77);
    let names = set.class_names();
    let prompts: Vec<Vec<u32>> = names
        .iter()
        .map(|name| format!("X X X X {}.", class_text(name)))
        .map(|prompt| tokenizer.tokens(&prompt).expect("every class prompt fits"))
        .collect();
    let longest = prompts.iter().map(Vec::len).max().expect("there are classes");
    // The recorded sum leaves out the markers of start and end.
    let own = prompts.iter().flat_map(|prompt| &prompt[1..prompt.len() - 1]);
    let sum: u64 = own.map(|&id| u64::from(id)).sum();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(recorded["n"], names.len(), "{set}");
    assert_eq!(recorded["max_tokens_with_prefix"], longest, "{set}");
    assert_eq!(recorded["sum_ids"], sum, "{set}");
    assert_eq!(recorded["unique_names"], unique.len(), "{set}");
}

#[test]
fn the_prompts_of_all_lists_have_the_official_ids() {
    check(TestSet::ImageNet, "imagenet");
    for set in FineGrained::ALL {
        check(TestSet::FineGrained(set), &set.facts().id);
    }
}
