//! A first small computation on a device, whose failure is an error and not a panic.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use mint_clip::burn::tensor::{Device, Tensor};

/// How much of a failure's text is shown; a compiler's has the whole kernel.
const LONGEST: usize = 400;

/// Multiplies two small matrices and reads the product; what went wrong, if anything did.
pub fn run(device: &Device) -> Result<(), String> {
    attempt(|| product(device))
}

/// Does the work; its error, or the text of its panic, or what is wrong with its values.
fn attempt(work: impl FnOnce() -> Result<Vec<f32>, String>) -> Result<(), String> {
    // The hook is one for the whole process.
    static HOOK: Mutex<()> = Mutex::new(());
    let _guard = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    // A device works on a thread of its own, whose panic says more than the one here that it
    // leads to; so the first text is kept, and nothing is printed.
    let texts = Arc::new(Mutex::new(Vec::new()));
    let hook = panic::take_hook();
    panic::set_hook(Box::new({
        let texts = Arc::clone(&texts);
        move |panic| {
            let text = panic.payload_as_str().unwrap_or("a panic without a text");
            texts.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        }
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    let first = texts.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
    match (outcome, first) {
        (Ok(Ok(values)), _) => match values.iter().find(|value| **value != SIDE as f32) {
            None => Ok(()),
            Some(wrong) => Err(format!("{SIDE} was expected everywhere, but {wrong} was computed")),
        },
        (_, Some(text)) => Err(short(&text)),
        (Ok(Err(error)), None) => Err(short(&error)),
        (Err(_), None) => Err("a panic without a text".to_owned()),
    }
}

/// Rows and columns, and so every number of the product.
const SIDE: usize = 16;

fn product(device: &Device) -> Result<Vec<f32>, String> {
    let ones = Tensor::<2>::ones([SIDE, SIDE], device);
    let product = ones.clone().matmul(ones);
    product.try_into_vec_as::<f32>().map_err(|error| error.to_string())
}

/// The start of a text, on one line.
fn short(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_passes() {
        assert_eq!(run(&Device::flex()), Ok(()));
    }

    #[test]
    fn a_panic_becomes_its_text() {
        let failure = || -> Result<Vec<f32>, String> { panic!("no such\n  library") };
        assert_eq!(attempt(failure), Err("no such library".to_owned()));
    }

    #[test]
    fn an_error_and_a_wrong_product_become_texts() {
        assert_eq!(attempt(|| Err("lost".to_owned())), Err("lost".to_owned()));
        let wrong = attempt(|| Ok(vec![0.0])).expect_err("zero is wrong");
        assert_eq!(wrong, "16 was expected everywhere, but 0 was computed");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(short(&"word ".repeat(1000)).len(), LONGEST + " ...".len());
    }
}
