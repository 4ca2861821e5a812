//! Token ids against the official tokenizer.

use mint_clip::tokenizer::{Tokenizer, TokenizerError, clean};
use mint_golden::json;

const CONTEXT_LENGTH: usize = 77;

fn ids(value: &serde_json::Value) -> Vec<u32> {
    let ids = value.as_array().expect("a list of ids");
    ids.iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

#[test]
fn all_recorded_texts_have_the_official_ids() {
    let recorded = json("tokenizer.json");
    let tokenizer = Tokenizer::clip(CONTEXT_LENGTH);
    let strings = recorded["strings"].as_array().expect("texts");
    assert_eq!(strings.len(), 57);
    for case in strings {
        let text = case["text"].as_str().expect("a text");
        assert_eq!(clean(text), case["clean"].as_str().expect("a text"), "cleaning {text:?}");
        assert_eq!(tokenizer.encode(text), ids(&case["ids"]), "ids of {text:?}");
    }
}

#[test]
fn texts_start_and_end_with_markers() {
    let example = &json("tokenizer.json")["tokenize_example"];
    let tokenizer = Tokenizer::clip(CONTEXT_LENGTH);
    let tokens = tokenizer.tokens(example["text"].as_str().expect("a text")).expect("it fits");
    let padded = ids(&example["ids77"]);
    assert_eq!(tokens, padded[..tokens.len()]);
    assert!(padded[tokens.len()..].iter().all(|&id| id == 0));
}

#[test]
fn a_text_that_is_too_long_is_an_error_that_names_it() {
    let tokenizer = Tokenizer::clip(CONTEXT_LENGTH);
    let text = ["dog"; 76].join(" ");
    let error = tokenizer.tokens(&text).expect_err("76 words and two markers do not fit");
    let expected = TokenizerError::TooLong { text: text.clone(), tokens: 78, limit: 77 };
    assert_eq!(error, expected);
    assert!(error.to_string().contains(&text[..60]) && error.to_string().len() < 200, "{error}");
    assert_eq!(tokenizer.tokens(&["dog"; 75].join(" ")).map(|tokens| tokens.len()), Ok(77));
}

/// What ftfy 6.3.1 makes of names whose UTF-8 was read in another encoding.
#[test]
fn names_in_a_broken_encoding_are_repaired_as_ftfy_does() {
    for (broken, repaired) in [
        ("Å“uvre", "œuvre"),
        ("the Å“uvre dish", "the œuvre dish"),
        ("(Å“il)", "(œil)"),
        ("Ĺ“il", "œil"),
        ("í•śęµ\u{ad}ě–´", "한국어"),
        ("jalapeÃ±o", "jalapeño"),
        ("crÃ¨me brÃ»lÃ©e", "crème brûlée"),
        ("ZÃ¼rich", "zürich"),
        ("façade", "façade"),
        ("café“bar”", "café\"bar\""),
        ("œuvre", "œuvre"),
    ] {
        assert_eq!(clean(broken), repaired, "{broken}");
    }
}
