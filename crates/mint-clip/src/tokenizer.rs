//! CLIP's tokenizer: lower-cased byte-level byte-pair encoding.

use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::Encoding;
use regex::Regex;
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

/// Merges in order of priority, one a line.
const MERGES: &str = include_str!("../data/bpe_merges.txt");
/// Number of tokens: 256 bytes, each within and at the end of a word, the merges, and two markers.
pub const VOCABULARY: usize = 49_408;
/// Marks the last symbol of a word.
const END_OF_WORD: &str = "</w>";
const START_OF_TEXT: &str = "<|startoftext|>";
const END_OF_TEXT: &str = "<|endoftext|>";

/// Turns texts into token ids.
pub struct Tokenizer {
    bpe: BPE,
    words: Regex,
    byte_symbols: [char; 256],
    start_of_text: u32,
    end_of_text: u32,
    context_length: usize,
}

/// A text that cannot be tokenized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The text does not fit into the model's context.
    #[error(
        "the text has {tokens} tokens where the model takes {limit}; shorten it: `{}`",
        beginning(text)
    )]
    TooLong {
        /// The text.
        text: String,
        /// Its tokens, start and end included.
        tokens: usize,
        /// The most that fit.
        limit: usize,
    },
}

/// As much of a text as fits into a line.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl Tokenizer {
    /// CLIP's vocabulary, for texts of at most `context_length` tokens.
    #[expect(clippy::missing_panics_doc, reason = "the vocabulary is embedded and tested")]
    pub fn clip(context_length: usize) -> Self {
        let byte_symbols = byte_symbols();
        // Ids follow the order of the bytes that print as themselves, then the others.
        let mut symbols: Vec<char> = byte_symbols.to_vec();
        symbols.sort_by_key(|symbol| *symbol as u32);
        let merges: Vec<(String, String)> = MERGES
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(left, right)| (left.to_owned(), right.to_owned()))
            .collect();
        let single = symbols.iter().map(|symbol| symbol.to_string());
        let ending = symbols.iter().map(|symbol| format!("{symbol}{END_OF_WORD}"));
        let merged = merges.iter().map(|(left, right)| format!("{left}{right}"));
        let markers = [START_OF_TEXT, END_OF_TEXT].map(str::to_owned);
        let vocabulary: HashMap<String, u32> =
            single.chain(ending).chain(merged).chain(markers).zip(0..).collect();
        debug_assert_eq!(vocabulary.len(), VOCABULARY);
        let (start_of_text, end_of_text) = (vocabulary[START_OF_TEXT], vocabulary[END_OF_TEXT]);
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary.into_iter().collect::<ahash::AHashMap<_, _>>(), merges)
            .end_of_word_suffix(END_OF_WORD.to_owned())
            .build()
            .expect("every merge is in the vocabulary");
        let words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";
        Self {
            bpe,
            words: pattern(words),
            byte_symbols,
            start_of_text,
            end_of_text,
            context_length,
        }
    }

    /// The ids of a text, without the markers of start and end.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let text = clean(text);
        self.words.find_iter(&text).flat_map(|word| self.encode_word(word.as_str())).collect()
    }

    /// The ids of a text with the markers of start and end.
    ///
    /// # Errors
    ///
    /// If the text has more tokens than the model reads.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = vec![self.start_of_text];
        tokens.extend(self.encode(text));
        tokens.push(self.end_of_text);
        if tokens.len() > self.context_length {
            return Err(TokenizerError::TooLong {
                text: text.to_owned(),
                tokens: tokens.len(),
                limit: self.context_length,
            });
        }
        Ok(tokens)
    }

    fn encode_word(&self, word: &str) -> Vec<u32> {
        match word {
            START_OF_TEXT => return vec![self.start_of_text],
            END_OF_TEXT => return vec![self.end_of_text],
            _ => {}
        }
        let symbols: String = word.bytes().map(|byte| self.byte_symbols[byte as usize]).collect();
        let tokens = self.bpe.tokenize(&symbols).expect("every byte is in the vocabulary");
        tokens.into_iter().map(|token| token.id).collect()
    }
}

/// Repairs and normalises a text as CLIP's tokenizer does: encoding mistakes and typographic
/// forms, HTML entities (twice), white space, lower case.
pub fn clean(text: &str) -> String {
    // The repair drops the escape character itself, so whole sequences go first.
    static ESCAPES: LazyLock<Regex> = LazyLock::new(|| pattern(r"\x1b\[[0-9;]*[a-zA-Z]"));
    static SPACES: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s+"));
    let text = ESCAPES.replace_all(text, "");
    let text = decoded(&text).unwrap_or_else(|| text.into_owned());
    let text = plsfix::fix_text(&text, None);
    let text = htmlize::unescape(htmlize::unescape(text.as_str()).as_ref()).into_owned();
    SPACES.replace_all(text.trim(), " ").to_lowercase()
}

/// UTF-8 that was read in another encoding, read again; `None` if nothing suggests it. This is the
/// one sign of it that ftfy knows since version 6.3 and `plsfix` does not: an accented letter, an
/// opening mark and a letter, as in `Å“uvre` for `œuvre`.
fn decoded(text: &str) -> Option<String> {
    static SIGNS: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"[À-ÑØÜÝß-ñüĀ-ŋŒœŔ-ũů-ž][¡«¿©΄΅‘‚“„•‹]\w"));
    /// In ftfy's order; the first of them that fits the whole text is it.
    const ENCODINGS: [&Encoding; 8] = [
        encoding_rs::WINDOWS_1252,
        encoding_rs::WINDOWS_1251,
        encoding_rs::WINDOWS_1250,
        encoding_rs::WINDOWS_1253,
        encoding_rs::WINDOWS_1254,
        encoding_rs::WINDOWS_1257,
        encoding_rs::ISO_8859_2,
        encoding_rs::MACINTOSH,
    ];
    if !SIGNS.is_match(text) {
        return None;
    }
    ENCODINGS.iter().find_map(|encoding| {
        let (bytes, _, has_other_characters) = encoding.encode(text);
        if has_other_characters { None } else { String::from_utf8(bytes.into_owned()).ok() }
    })
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is valid")
}

/// The printable character that stands for each byte: itself where it prints, else one from 256 on.
fn byte_symbols() -> [char; 256] {
    let mut next = 256;
    std::array::from_fn(|byte| {
        let prints = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if prints {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).expect("codes below 512 are characters")
    })
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokenizer").field("context_length", &self.context_length).finish()
    }
}
