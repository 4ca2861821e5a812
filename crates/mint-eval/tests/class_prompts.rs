//! The tokens of all ImageNet class prompts against the official tokenizer's.

use std::collections::BTreeSet;

use mint_clip::Tokenizer;
use mint_clip::prompt::class_text;
use mint_datasets::TestSet;
use mint_golden::json;

#[test]
fn imagenet_prompts_have_the_official_ids() {
    let recorded = &json("classnames_check.json")["imagenet"];
    let tokenizer = Tokenizer::clip(77);
    let classes = TestSet::ImageNet.classes();
    let prompts: Vec<Vec<u32>> = classes
        .iter()
        .map(|class| format!("X X X X {}.", class_text(&class.name)))
        .map(|prompt| tokenizer.tokens(&prompt).expect("every class prompt fits"))
        .collect();
    let longest = prompts.iter().map(Vec::len).max().expect("there are classes");
    // The recorded sum leaves out the markers of start and end.
    let own = prompts.iter().flat_map(|prompt| &prompt[1..prompt.len() - 1]);
    let sum: u64 = own.map(|&id| u64::from(id)).sum();
    let names: BTreeSet<&str> = classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(recorded["n"], classes.len());
    assert_eq!(recorded["max_tokens_with_prefix"], longest);
    assert_eq!(recorded["sum_ids"], sum);
    assert_eq!(recorded["unique_names"], names.len());
}
