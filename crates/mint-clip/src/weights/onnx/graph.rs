//! The graph of an ONNX file: its nodes, and where its constants are stored.
//!
//! Numbers of fields and types are those of `onnx.proto3`, version 1.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::sync::Arc;

use super::super::blob::{Blob, Cursor};
use super::super::stored_tensor::{NumberType, StoredTensor};
use super::protobuf::{Field, integers, message, text, varint};

/// The graph of a model.
#[derive(Debug, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    /// Initializers and constants of floats, by the name of the value.
    pub constants: HashMap<String, StoredTensor>,
    /// Names of the graph's outputs.
    pub outputs: Vec<String>,
}

/// One operation.
#[derive(Debug, Default)]
pub struct Node {
    pub operation: String,
    /// Names of values; empty where an optional one is left out.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub integers: HashMap<String, Vec<i64>>,
    pub floats: HashMap<String, f32>,
    /// The value of a `Constant`.
    constant: Option<StoredTensor>,
}

impl Node {
    /// An attribute that is one integer.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.integers.get(name)?.first().copied()
    }
}

/// Most nodes of a graph, and most names of values. Exports of CLIP have a few thousand.
const MOST_NODES: usize = 50_000;
const MOST_NAMES: usize = 250_000;
/// Most axes of a tensor, and most integers of an attribute that are kept.
const MOST_AXES: usize = 8;
const MOST_INTEGERS: usize = 64;

/// Reads the description of a model; no weight is read.
pub fn read(blob: &Arc<Blob>) -> Result<Graph, String> {
    let mut cursor =
        Cursor::new(blob.clone(), 0, blob.length()).map_err(|error| error.to_string())?;
    let mut reader = Reader {
        blob: blob.clone(),
        data_files: HashMap::new(),
        names: 0,
        graph: Graph::default(),
    };
    let mut has_graph = false;
    message(&mut cursor, (0, blob.length()), |cursor, number, field| match (number, field) {
        (7, Field::Block(start, end)) => {
            has_graph = true;
            reader.graph(cursor, (start, end))
        }
        _ => Ok(()),
    })?;
    if !has_graph {
        return Err("it holds no graph: it is not an ONNX model, or was cut off".to_owned());
    }
    let mut graph = reader.graph;
    for node in &mut graph.nodes {
        if let (Some(tensor), [name]) = (node.constant.take(), &node.outputs[..]) {
            graph.constants.insert(name.clone(), tensor);
        }
    }
    Ok(graph)
}

struct Reader {
    blob: Arc<Blob>,
    data_files: HashMap<String, Arc<Blob>>,
    names: usize,
    graph: Graph,
}

impl Reader {
    fn graph(&mut self, cursor: &mut Cursor, block: (u64, u64)) -> Result<(), String> {
        message(cursor, block, |cursor, number, field| match (number, field) {
            (1, Field::Block(start, end)) => {
                if self.graph.nodes.len() == MOST_NODES {
                    return Err(format!("the graph has more than {MOST_NODES} nodes"));
                }
                let node = self.node(cursor, (start, end))?;
                self.graph.nodes.push(node);
                Ok(())
            }
            (5, Field::Block(start, end)) => {
                let (name, tensor) = self.tensor(cursor, (start, end))?;
                self.charge_name()?;
                self.graph.constants.extend(tensor.map(|tensor| (name, tensor)));
                Ok(())
            }
            (12, Field::Block(start, end)) => {
                message(cursor, (start, end), |cursor, number, field| {
                    if number == 1 {
                        self.charge_name()?;
                        self.graph.outputs.push(text(cursor, field)?);
                    }
                    Ok(())
                })
            }
            _ => Ok(()),
        })
    }

    fn charge_name(&mut self) -> Result<(), String> {
        self.names += 1;
        if self.names > MOST_NAMES {
            return Err(format!("the graph has more than {MOST_NAMES} names"));
        }
        Ok(())
    }

    fn node(&mut self, cursor: &mut Cursor, block: (u64, u64)) -> Result<Node, String> {
        let mut node = Node::default();
        message(cursor, block, |cursor, number, field| {
            match (number, field) {
                (1 | 2, _) => {
                    self.charge_name()?;
                    let name = text(cursor, field)?;
                    if number == 1 { &mut node.inputs } else { &mut node.outputs }.push(name);
                }
                (4, _) => node.operation = text(cursor, field)?,
                (5, Field::Block(start, end)) => {
                    self.charge_name()?;
                    self.attribute(cursor, (start, end), &mut node)?;
                }
                _ => (),
            }
            Ok(())
        })?;
        Ok(node)
    }

    fn attribute(
        &mut self,
        cursor: &mut Cursor,
        block: (u64, u64),
        node: &mut Node,
    ) -> Result<(), String> {
        let (mut name, mut list, mut float, mut tensor) = (String::new(), Vec::new(), None, None);
        message(cursor, block, |cursor, number, field| {
            match (number, field) {
                (1, _) => name = text(cursor, field)?,
                (2, Field::Fixed32(bytes)) => float = Some(f32::from_le_bytes(bytes)),
                (3 | 8, _) => integers(cursor, field, &mut list, MOST_INTEGERS)?,
                (5, Field::Block(start, end)) => tensor = self.tensor(cursor, (start, end))?.1,
                _ => (),
            }
            Ok(())
        })?;
        if name == "value" {
            node.constant = tensor;
        } else if let Some(float) = float.filter(|_| list.is_empty()) {
            node.floats.insert(name, float);
        } else if !list.is_empty() {
            node.integers.insert(name, list);
        }
        Ok(())
    }

    /// A tensor and its name; no tensor if it does not hold floats.
    fn tensor(
        &mut self,
        cursor: &mut Cursor,
        block: (u64, u64),
    ) -> Result<(String, Option<StoredTensor>), String> {
        let (mut name, mut shape, mut kind) = (String::new(), Vec::new(), 0);
        let (mut raw, mut typed, mut external) = (None, None, HashMap::new());
        let mut is_external = false;
        message(cursor, block, |cursor, number, field| {
            match (number, field) {
                (1, _) => integers(cursor, field, &mut shape, MOST_AXES)?,
                (2, Field::Varint(value)) => kind = value,
                (8, _) => name = text(cursor, field)?,
                (9, Field::Block(start, end)) => raw = Some((start, end - start)),
                (4 | 5 | 10, Field::Block(..)) if typed.is_some() => {
                    return Err("a tensor's numbers come in several pieces".to_owned());
                }
                (4 | 5 | 10, Field::Block(start, end)) => typed = Some((number, start, end)),
                (4 | 5 | 10, _) => return Err("a tensor's numbers are not packed".to_owned()),
                (13, Field::Block(start, end)) => {
                    let (key, value) = entry(cursor, (start, end))?;
                    if external.len() < 16 {
                        external.insert(key, value);
                    }
                }
                (14, Field::Varint(location)) => is_external = location == 1,
                _ => (),
            }
            Ok(())
        })
        .map_err(|problem| in_tensor(&name, &problem))?;
        let number = match kind {
            1 => NumberType::F32,
            10 => NumberType::F16,
            11 => NumberType::F64,
            16 => NumberType::Bf16,
            _ => return Ok((name, None)),
        };
        let tensor = self
            .place(cursor, number, &shape, raw, typed, is_external.then_some(external))
            .map_err(|problem| in_tensor(&name, &problem))?;
        Ok((name, Some(tensor)))
    }

    /// Where a tensor's numbers are.
    fn place(
        &mut self,
        cursor: &mut Cursor,
        number: NumberType,
        shape: &[i64],
        raw: Option<(u64, u64)>,
        typed: Option<(u64, u64, u64)>,
        external: Option<HashMap<String, String>>,
    ) -> Result<StoredTensor, String> {
        let shape = shape
            .iter()
            .map(|&length| {
                usize::try_from(length).map_err(|_| format!("an axis has the length {length}"))
            })
            .collect::<Result<Vec<usize>, _>>()?;
        if let Some(external) = external {
            return self.place_external(number, shape, &external);
        }
        match (raw, typed) {
            (Some(block), _) => StoredTensor::contiguous(&self.blob, block, number, shape),
            // Packed floats have the same bytes as raw data.
            (None, Some((4 | 10, start, end))) => {
                StoredTensor::contiguous(&self.blob, (start, end - start), number, shape)
            }
            // Half precision as one integer per number.
            (None, Some((_, start, end))) if number.size() == 2 => {
                let bytes = cursor.within(start, end, |cursor| {
                    let mut bytes = Vec::new();
                    while cursor.remaining() > 0 {
                        bytes.extend((varint(cursor)? as u16).to_le_bytes());
                    }
                    Ok(bytes)
                })?;
                let length = bytes.len() as u64;
                let blob = Blob::memory(self.blob.name(), bytes);
                StoredTensor::contiguous(&blob, (0, length), number, shape)
            }
            (None, None) => StoredTensor::contiguous(&self.blob, (0, 0), number, shape),
            _ => Err("its numbers are stored in a way that is not supported".to_owned()),
        }
    }

    fn place_external(
        &mut self,
        number: NumberType,
        shape: Vec<usize>,
        external: &HashMap<String, String>,
    ) -> Result<StoredTensor, String> {
        let location =
            external.get("location").ok_or("its numbers lie in a file without a name")?;
        let blob = self.data_file(location)?;
        let integer = |key: &str| {
            external.get(key).map(|value| {
                value.parse::<u64>().map_err(|_| format!("its {key} `{value}` is not a number"))
            })
        };
        let offset = integer("offset").unwrap_or(Ok(0))?;
        let needed = shape
            .iter()
            .try_fold(number.size() as u64, |bytes, &length| bytes.checked_mul(length as u64));
        let needed = needed.ok_or_else(|| format!("the shape {shape:?} is too large"))?;
        let length = integer("length").unwrap_or(Ok(needed))?;
        StoredTensor::contiguous(&blob, (offset, length), number, shape)
    }

    /// Opens a file of numbers, which must lie next to the model or below it.
    fn data_file(&mut self, location: &str) -> Result<Arc<Blob>, String> {
        if let Some(blob) = self.data_files.get(location) {
            return Ok(blob.clone());
        }
        let path = Path::new(location);
        let is_plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || location.contains('\\') || !path.components().all(is_plain) {
            return Err(format!(
                "its numbers are said to lie in `{location}`, outside the model's folder; that file was not opened"
            ));
        }
        let folder = self.blob.name().parent().unwrap_or(Path::new(""));
        let file = folder.join(path);
        let blob = Blob::open(&file).map_err(|error| {
            format!(
                "its numbers lie in `{}`, which cannot be read ({error}); put that file next to the model",
                file.display()
            )
        })?;
        self.data_files.insert(location.to_owned(), blob.clone());
        Ok(blob)
    }
}

fn in_tensor(name: &str, problem: &str) -> String {
    format!("`{name}`: {problem}")
}

/// A key and its value.
fn entry(cursor: &mut Cursor, block: (u64, u64)) -> Result<(String, String), String> {
    let (mut key, mut value) = (String::new(), String::new());
    message(cursor, block, |cursor, number, field| {
        match number {
            1 => key = text(cursor, field)?,
            2 => value = text(cursor, field)?,
            _ => (),
        }
        Ok(())
    })?;
    Ok((key, value))
}
