//! The stack machine that a pickle is a program for.

use std::collections::HashMap;
use std::io;

use super::values::{Id, LONGEST_NAME, MOST_VALUES, MOST_WORK, Pickle, Value};
use crate::weights::blob::Cursor;
use crate::weights::contents::Unknown;

pub(super) struct Machine<'a> {
    cursor: &'a mut Cursor,
    pub(super) unknown: Unknown,
    pub(super) values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    work: usize,
}

/// Names of the operations in `pickletools`.
mod operation {
    pub const MARK: u8 = b'(';
    pub const STOP: u8 = b'.';
    pub const POP: u8 = b'0';
    pub const POP_MARK: u8 = b'1';
    pub const DUP: u8 = b'2';
    pub const FLOAT: u8 = b'F';
    pub const INT: u8 = b'I';
    pub const BININT: u8 = b'J';
    pub const BININT1: u8 = b'K';
    pub const LONG: u8 = b'L';
    pub const BININT2: u8 = b'M';
    pub const NONE: u8 = b'N';
    pub const BINPERSID: u8 = b'Q';
    pub const REDUCE: u8 = b'R';
    pub const STRING: u8 = b'S';
    pub const BINSTRING: u8 = b'T';
    pub const SHORT_BINSTRING: u8 = b'U';
    pub const UNICODE: u8 = b'V';
    pub const BINUNICODE: u8 = b'X';
    pub const APPEND: u8 = b'a';
    pub const BUILD: u8 = b'b';
    pub const GLOBAL: u8 = b'c';
    pub const DICT: u8 = b'd';
    pub const APPENDS: u8 = b'e';
    pub const GET: u8 = b'g';
    pub const BINGET: u8 = b'h';
    pub const LONG_BINGET: u8 = b'j';
    pub const LIST: u8 = b'l';
    pub const PUT: u8 = b'p';
    pub const BINPUT: u8 = b'q';
    pub const LONG_BINPUT: u8 = b'r';
    pub const SETITEM: u8 = b's';
    pub const TUPLE: u8 = b't';
    pub const SETITEMS: u8 = b'u';
    pub const BINBYTES: u8 = b'B';
    pub const SHORT_BINBYTES: u8 = b'C';
    pub const BINFLOAT: u8 = b'G';
    pub const EMPTY_LIST: u8 = b']';
    pub const EMPTY_TUPLE: u8 = b')';
    pub const EMPTY_DICT: u8 = b'}';
    pub const PROTO: u8 = 0x80;
    pub const NEWOBJ: u8 = 0x81;
    pub const TUPLE1: u8 = 0x85;
    pub const TUPLE2: u8 = 0x86;
    pub const TUPLE3: u8 = 0x87;
    pub const NEWTRUE: u8 = 0x88;
    pub const NEWFALSE: u8 = 0x89;
    pub const LONG1: u8 = 0x8a;
    pub const LONG4: u8 = 0x8b;
    pub const SHORT_BINUNICODE: u8 = 0x8c;
    pub const BINUNICODE8: u8 = 0x8d;
    pub const BINBYTES8: u8 = 0x8e;
    pub const EMPTY_SET: u8 = 0x8f;
    pub const ADDITEMS: u8 = 0x90;
    pub const FROZENSET: u8 = 0x91;
    pub const NEWOBJ_EX: u8 = 0x92;
    pub const STACK_GLOBAL: u8 = 0x93;
    pub const MEMOIZE: u8 = 0x94;
    pub const FRAME: u8 = 0x95;
    pub const BYTEARRAY8: u8 = 0x96;
}

impl<'a> Machine<'a> {
    pub(super) fn new(cursor: &'a mut Cursor, unknown: Unknown) -> Self {
        let (values, stack, marks, memo) = Default::default();
        Self { cursor, unknown, values, stack, marks, memo, work: 0 }
    }

    pub(super) fn run(mut self) -> Result<Pickle, String> {
        loop {
            let at = self.cursor.position();
            let code = self.cursor.byte().map_err(|_| "the pickle has no end; it is cut off")?;
            if code == operation::STOP {
                let root = self.pop()?;
                return Ok(Pickle::new(self.values, root));
            }
            self.charge(1)?;
            self.step(code).map_err(|problem| format!("{problem} (pickle, byte {at})"))?;
        }
    }

    /// Counts work, so that no small file can ask for much of it.
    pub(super) fn charge(&mut self, work: usize) -> Result<(), String> {
        self.work = self.work.saturating_add(work);
        match self.work > MOST_WORK {
            true => Err(format!("the pickle has more than {MOST_WORK} operations")),
            false => Ok(()),
        }
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        use operation::*;
        match code {
            PROTO => {
                self.cursor.byte().map_err(text)?;
                Ok(())
            }
            FRAME => self.cursor.skip(8).map_err(text),
            MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            POP => self.pop().map(|_| ()),
            POP_MARK => self.pop_to_mark().map(|_| ()),
            DUP => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            NONE => self.push(Value::Nothing),
            NEWTRUE => self.push(Value::Truth(true)),
            NEWFALSE => self.push(Value::Truth(false)),
            INT | LONG => {
                let line = self.line()?;
                match line.trim_end_matches('L') {
                    "00" => self.push(Value::Truth(false)),
                    "01" => self.push(Value::Truth(true)),
                    digits => self.push(digits.parse().map_or(Value::Number, Value::Integer)),
                }
            }
            BININT => {
                let value = i32::from_le_bytes(self.cursor.array().map_err(text)?);
                self.push(Value::Integer(value.into()))
            }
            BININT1 => {
                let value = self.cursor.byte().map_err(text)?;
                self.push(Value::Integer(value.into()))
            }
            BININT2 => {
                let value = u16::from_le_bytes(self.cursor.array().map_err(text)?);
                self.push(Value::Integer(value.into()))
            }
            LONG1 | LONG4 => {
                let length = self.length(if code == LONG1 { 1 } else { 4 })?;
                let bytes = self.cursor.bytes(length).map_err(text)?;
                self.push(long(&bytes))
            }
            FLOAT => {
                self.line()?;
                self.push(Value::Number)
            }
            BINFLOAT => {
                self.cursor.skip(8).map_err(text)?;
                self.push(Value::Number)
            }
            STRING | UNICODE => {
                let line = self.line()?;
                let unquoted = line.trim_matches(['\'', '"']);
                self.push(Value::Text(unquoted.into()))
            }
            SHORT_BINSTRING | SHORT_BINUNICODE => self.push_text(1),
            BINSTRING | BINUNICODE => self.push_text(4),
            BINUNICODE8 => self.push_text(8),
            SHORT_BINBYTES => self.push_bytes(1),
            BINBYTES => self.push_bytes(4),
            BINBYTES8 | BYTEARRAY8 => self.push_bytes(8),
            EMPTY_TUPLE => self.push(Value::Tuple(Vec::new())),
            TUPLE1 | TUPLE2 | TUPLE3 => {
                let items = self.pop_many(usize::from(code - TUPLE1) + 1)?;
                self.push(Value::Tuple(items))
            }
            TUPLE => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))
            }
            EMPTY_LIST | EMPTY_SET => self.push(Value::List(Vec::new())),
            LIST | FROZENSET => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))
            }
            APPEND => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            APPENDS | ADDITEMS => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
            EMPTY_DICT => self.push(Value::Dictionary(Vec::new())),
            DICT => {
                let items = self.pop_to_mark()?;
                let entries = pairs(&items)?;
                self.push(Value::Dictionary(entries))
            }
            SETITEM => {
                let items = self.pop_many(2)?;
                self.set_items(&items)
            }
            SETITEMS => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)
            }
            GET | BINGET | LONG_BINGET => {
                let slot = self.slot(code, [GET, BINGET])?;
                let id = self.memo.get(&slot).copied();
                self.stack.push(id.ok_or_else(|| format!("memo slot {slot} was never set"))?);
                Ok(())
            }
            PUT | BINPUT | LONG_BINPUT => {
                let slot = self.slot(code, [PUT, BINPUT])?;
                let top = self.top()?;
                self.memo.insert(slot, top);
                Ok(())
            }
            MEMOIZE => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u32, top);
                Ok(())
            }
            GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(format!("{module}.{name}").into()))
            }
            STACK_GLOBAL => {
                let names = self.pop_many(2)?;
                match (&self.values[names[0]], &self.values[names[1]]) {
                    (Value::Text(module), Value::Text(name))
                        if module.len() + name.len() <= LONGEST_NAME =>
                    {
                        let name = format!("{module}.{name}");
                        self.push(Value::Global(name.into()))
                    }
                    _ => Err("a class has no name".to_owned()),
                }
            }
            BINPERSID => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))
            }
            REDUCE => {
                let call = self.pop_many(2)?;
                let value = self.call(call[0], call[1])?;
                self.push(value)
            }
            NEWOBJ => {
                let call = self.pop_many(2)?;
                let value = self.object(call[0])?;
                self.push(value)
            }
            NEWOBJ_EX => {
                let call = self.pop_many(3)?;
                let value = self.object(call[0])?;
                self.push(value)
            }
            BUILD => self.build(),
            _ => Err(format!(
                "unknown operation 0x{code:02x}; the file is damaged or not from PyTorch"
            )),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        let target = self.top()?;
        match &mut self.values[target] {
            Value::List(list) => list.extend(items),
            Value::Object { .. } if self.unknown == Unknown::KeepInert => (),
            _ => return Err("items are added to something that is not a list".to_owned()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let entries = pairs(items)?;
        let target = self.top()?;
        match &mut self.values[target] {
            Value::Dictionary(dictionary) => dictionary.extend(entries),
            Value::Object { .. } if self.unknown == Unknown::KeepInert => (),
            _ => return Err("entries are set on something that is not a dictionary".to_owned()),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.values.len() == MOST_VALUES {
            return Err(format!("the pickle has more than {MOST_VALUES} values"));
        }
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
        Ok(())
    }

    fn push_text(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.length(length_bytes)?;
        let bytes = self.cursor.bytes(length).map_err(text)?;
        self.push(Value::Text(String::from_utf8_lossy(&bytes).into()))
    }

    fn push_bytes(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.length(length_bytes)?;
        self.cursor.skip(length).map_err(text)?;
        self.push(Value::Bytes)
    }

    /// A length of this many bytes.
    fn length(&mut self, bytes: usize) -> Result<u64, String> {
        let mut length = [0; 8];
        for byte in &mut length[..bytes] {
            *byte = self.cursor.byte().map_err(text)?;
        }
        Ok(u64::from_le_bytes(length))
    }

    fn slot(&mut self, code: u8, [as_line, as_byte]: [u8; 2]) -> Result<u32, String> {
        if code == as_line {
            return self.line()?.parse().map_err(|_| "a memo slot is not a number".to_owned());
        }
        if code == as_byte {
            return self.cursor.byte().map(u32::from).map_err(text);
        }
        self.cursor.array().map(u32::from_le_bytes).map_err(text)
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        loop {
            match self.cursor.byte().map_err(text)? {
                b'\n' => {
                    return String::from_utf8(line).map_err(|_| "a line is not a text".to_owned());
                }
                _ if line.len() == LONGEST_NAME => return Err("a line is too long".to_owned()),
                byte => line.push(byte),
            }
        }
    }

    pub(super) fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".to_owned())
    }

    pub(super) fn pop(&mut self) -> Result<Id, String> {
        self.pop_many(1).map(|items| items[0])
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= floor => Ok(self.stack.split_off(height)),
            _ => Err("the stack has too few values".to_owned()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let height = self.marks.pop().ok_or("the stack has no mark")?;
        if height > self.stack.len() {
            return Err("the stack is below its mark".to_owned());
        }
        Ok(self.stack.split_off(height))
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key has no value".to_owned());
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

/// A little-endian integer in two's complement.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Number;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut value = [if negative { 0xff } else { 0 }; 8];
    value[..bytes.len()].copy_from_slice(bytes);
    Value::Integer(i64::from_le_bytes(value))
}

fn text(error: io::Error) -> String {
    error.to_string()
}
