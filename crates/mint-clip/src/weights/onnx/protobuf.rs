//! The wire format of protocol buffers, as far as ONNX files need it.

use super::super::blob::Cursor;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// An integer of any length.
    Varint(u64),
    /// Four bytes.
    Fixed32([u8; 4]),
    /// Eight bytes, which no field that is read has.
    Fixed64,
    /// Text, bytes, a message or packed numbers: where they start and end.
    Block(u64, u64),
}

/// The next field of a message and its number; `None` at the message's end.
pub fn next_field(cursor: &mut Cursor) -> Result<Option<(u64, Field)>, String> {
    if cursor.remaining() == 0 {
        return Ok(None);
    }
    let at = cursor.position();
    let tag = varint(cursor)?;
    let field = match tag & 7 {
        0 => Field::Varint(varint(cursor)?),
        1 => {
            cursor.skip(8).map_err(|error| error.to_string())?;
            Field::Fixed64
        }
        2 => {
            let length = varint(cursor)?;
            let start = cursor.position();
            cursor.skip(length).map_err(|_| {
                format!("a field of {length} bytes at byte {at} reaches beyond its message; the file is cut off or damaged")
            })?;
            Field::Block(start, start + length)
        }
        5 => Field::Fixed32(cursor.array().map_err(|error| error.to_string())?),
        wire => return Err(format!("byte {at} is not a field of a protocol buffer (type {wire})")),
    };
    Ok(Some((tag >> 3, field)))
}

/// An integer of up to ten bytes.
pub fn varint(cursor: &mut Cursor) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = cursor.byte().map_err(|error| error.to_string())?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("an integer has more than ten bytes".to_owned())
}

/// Calls `visit` with each field of the message in a block.
pub fn message(
    cursor: &mut Cursor,
    block: (u64, u64),
    mut visit: impl FnMut(&mut Cursor, u64, Field) -> Result<(), String>,
) -> Result<(), String> {
    cursor.within(block.0, block.1, |cursor| {
        while let Some((number, field)) = next_field(cursor)? {
            visit(cursor, number, field)?;
        }
        Ok(())
    })
}

/// The text in a field.
pub fn text(cursor: &mut Cursor, field: Field) -> Result<String, String> {
    const LONGEST: u64 = 4096;
    let Field::Block(start, end) = field else {
        return Err("a name is not a text".to_owned());
    };
    if end - start > LONGEST {
        return Err(format!("a name has {} bytes", end - start));
    }
    let bytes = cursor.within(start, end, |cursor| {
        cursor.bytes(end - start).map_err(|error| error.to_string())
    })?;
    String::from_utf8(bytes).map_err(|_| "a name is not a text".to_owned())
}

/// One integer, or packed ones, added to `integers`; an error if there are more than `most`.
pub fn integers(
    cursor: &mut Cursor,
    field: Field,
    integers: &mut Vec<i64>,
    most: usize,
) -> Result<(), String> {
    match field {
        Field::Varint(value) => integers.push(value as i64),
        Field::Block(start, end) => cursor.within(start, end, |cursor| {
            while cursor.remaining() > 0 && integers.len() <= most {
                integers.push(varint(cursor)? as i64);
            }
            Ok(())
        })?,
        _ => return Err("a list of integers has something else".to_owned()),
    }
    if integers.len() > most {
        return Err(format!("a list has more than {most} integers"));
    }
    Ok(())
}
