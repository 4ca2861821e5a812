//! Text files of users: encodings and delimiters.

/// The text of a file. Those of Windows start with a byte order mark, and some are UTF-16.
///
/// # Errors
///
/// What is wrong, with the line, if it is in another encoding than UTF-8, or UTF-16 with a mark.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|&pair| unit(pair)).collect();
        String::from_utf16(&units)
            .map_err(|_| "it is not valid UTF-16; save it as UTF-8".to_owned())
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| {
        let valid = &bytes[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        format!("line {line} is not UTF-8; save the file as UTF-8")
    })
}

/// What separates the cells of a CSV file, by its first line that is no comment. Spreadsheets of
/// many countries write semicolons, since numbers have commas there.
pub fn delimiter(text: &str) -> u8 {
    let first = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    let has = |letter: char| first.contains(letter);
    match (has(','), has(';'), has('\t')) {
        (false, true, _) => b';',
        (false, false, true) => b'\t',
        _ => b',',
    }
}
