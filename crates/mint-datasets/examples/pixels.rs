//! Prints a line for each file named on standard input: its size and a checksum of its RGB samples,
//! or why it is not an image. For comparisons with other decoders.

use std::io::{BufRead, stdin};

use sha2::{Digest, Sha256};

fn main() {
    for file in stdin().lock().lines() {
        let file = file.expect("standard input is text");
        let decoded = std::fs::read(&file)
            .map_err(|error| error.to_string())
            .and_then(|bytes| mint_datasets::decode(&bytes).map_err(|error| error.to_string()));
        match decoded {
            Ok(image) => {
                let (width, height) = image.dimensions();
                let sum = Sha256::digest(image.as_raw());
                println!("{width}x{height} {sum:x}\t{file}");
            }
            Err(error) => println!("refused: {error}\t{file}"),
        }
    }
}
