//! Gives the weights in a graph the names that they had in the exported module.
//!
//! Exporters keep the names of biases, norms, embeddings and convolutions, and rename or change
//! the rest. What they change is found through what the graph does with it:
//!
//! | exported | found by |
//! | --- | --- |
//! | weight of a linear layer: transposed, without a name | the bias that is added to its product |
//! | projection into the shared space, without a name | the tower's last norm above it |
//! | equal tensors merged into one | the `Identity` nodes that give it its other names |
//! | class embedding, folded with the batch size | the other side of the patches' `Concat` |
//! | position embeddings, folded | the `Add` below that `Concat`, or below the tokens' `Gather` |
//! | scale of the logits, folded | the scalar that multiplies what the outputs are made of |

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::super::names::LOGIT_SCALE;
use super::super::stored_tensor::{RawTensor, StoredTensor};
use super::graph::{Graph, Node};
use crate::config::Activation;

/// The weights of a graph.
pub struct Parameters {
    pub tensors: BTreeMap<String, StoredTensor>,
    /// Activation of the MLPs; `None` if the graph has none.
    pub activation: Option<Activation>,
}

/// Names all weights of a graph.
pub fn find(graph: &Graph) -> Result<Parameters, String> {
    const QUANTISED: [&str; 8] = [
        "MatMulInteger",
        "DynamicQuantizeLinear",
        "QLinearMatMul",
        "DequantizeLinear",
        "MatMulNBits",
        "MatMulBnb4",
        "QGemm",
        "DynamicQuantizeMatMul",
    ];
    let quantised = graph.nodes.iter().find(|node| QUANTISED.contains(&&*node.operation));
    if let Some(node) = quantised {
        return Err(format!(
            "its weights are quantised ({}), which is not supported; take the export in fp32 or fp16",
            node.operation
        ));
    }
    let mut finder = Finder::new(graph)?;
    finder.take_named();
    finder.name_linear_layers()?;
    finder.name_embeddings()?;
    finder.name_logit_scale()?;
    let activation = finder.activation()?;
    Ok(Parameters { tensors: finder.found, activation })
}

struct Finder<'a> {
    graph: &'a Graph,
    /// The node that makes a value.
    maker: HashMap<&'a str, &'a Node>,
    /// The nodes that use a value.
    users: HashMap<&'a str, Vec<&'a Node>>,
    found: BTreeMap<String, StoredTensor>,
    /// For each weight of a linear layer, the value after the bias.
    layer_outputs: BTreeMap<String, &'a str>,
    /// Users that may still be looked at. An export of CLIP needs some ten thousand.
    budget: Cell<usize>,
}

/// Nodes that pass a value on as it is.
const TRANSPARENT: [&str; 2] = ["Identity", "Cast"];
/// Most users that are looked at; beyond that nothing more is found.
const MOST_WORK: usize = 4_000_000;
/// How far names are looked for along the graph.
const FARTHEST: usize = 64;

impl<'a> Finder<'a> {
    fn new(graph: &'a Graph) -> Result<Self, String> {
        let mut maker = HashMap::new();
        let mut users: HashMap<&str, Vec<&Node>> = HashMap::new();
        for node in &graph.nodes {
            for name in node.outputs.iter().filter(|name| !name.is_empty()) {
                if maker.insert(name.as_str(), node).is_some() {
                    return Err(format!("two nodes make the value `{name}`: the graph is damaged"));
                }
            }
            for name in &node.inputs {
                users.entry(name).or_default().push(node);
            }
        }
        let (found, layer_outputs) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { graph, maker, users, found, layer_outputs, budget: Cell::new(MOST_WORK) })
    }

    /// Takes everything that has a name, by all of its names.
    fn take_named(&mut self) {
        for (name, tensor) in &self.graph.constants {
            self.found.insert(name.clone(), tensor.clone());
        }
        for node in self.graph.nodes.iter().filter(|node| node.operation == "Identity") {
            if let [name] = &node.outputs[..]
                && let Some(tensor) = self.constant(name)
            {
                self.found.insert(name.clone(), tensor);
            }
        }
    }

    /// The tensor behind a value, as the value's user sees it.
    fn constant(&self, name: &str) -> Option<StoredTensor> {
        let mut name = name;
        let mut transposed = false;
        for _ in 0..FARTHEST {
            if let Some(tensor) = self.graph.constants.get(name) {
                let tensor = tensor.clone();
                return Some(if transposed { tensor.transposed() } else { tensor });
            }
            let node = self.maker.get(name)?;
            match node.operation.as_str() {
                "Transpose" if node.integers.get("perm").is_none_or(|perm| perm == &[1, 0]) => {
                    transposed = !transposed;
                }
                operation if TRANSPARENT.contains(&operation) => (),
                _ => return None,
            }
            name = node.inputs.first()?;
        }
        None
    }

    /// The name by which a constant vector is used, if it ends so.
    fn label(&self, name: &'a str, end: &str) -> Option<&'a str> {
        let mut name = name;
        for _ in 0..FARTHEST {
            let is_constant = self.constant(name).is_some();
            if is_constant && name.ends_with(end) {
                return Some(name);
            }
            let node = self.maker.get(name).filter(|_| is_constant)?;
            name = node.inputs.first()?;
        }
        None
    }

    /// The nodes that use a value, seen through nodes that pass it on.
    fn users(&self, name: &str) -> Vec<&'a Node> {
        let mut users = Vec::new();
        let mut open = vec![name];
        for _ in 0..FARTHEST {
            let Some(name) = open.pop() else { break };
            for &node in self.users.get(name).map_or(&[][..], Vec::as_slice) {
                let Some(rest) = self.budget.get().checked_sub(1) else { return users };
                self.budget.set(rest);
                if TRANSPARENT.contains(&node.operation.as_str()) {
                    open.extend(node.outputs.iter().map(String::as_str));
                } else {
                    users.push(node);
                }
            }
        }
        users
    }

    /// Names the weight of every product with a constant matrix.
    fn name_linear_layers(&mut self) -> Result<(), String> {
        for node in &self.graph.nodes {
            let [data, weight, ..] = &node.inputs[..] else { continue };
            let is_product = matches!(node.operation.as_str(), "MatMul" | "Gemm");
            // As the product sees it: `[in, out]`.
            let matrix = self.constant(weight).filter(|matrix| matrix.shape().len() == 2);
            let (true, Some(matrix), Some(output)) = (is_product, matrix, node.outputs.first())
            else {
                continue;
            };
            let output = output.as_str();
            let (matrix, bias, output) = if node.operation == "Gemm" {
                (gemm_matrix(node, matrix)?, node.inputs.get(2).map(String::as_str), output)
            } else {
                let sum = self.users(output).into_iter().find_map(|sum| self.bias_of(sum));
                sum.map_or((matrix.clone(), None, output), |(bias, sum)| (matrix, Some(bias), sum))
            };
            let bias = bias.and_then(|bias| self.label(bias, "bias"));
            let own = || self.label(weight, "weight");
            let (name, tensor) = if let Some(bias) = bias {
                let layer = bias.strip_suffix("bias").unwrap_or(bias);
                (format!("{layer}weight"), matrix.transposed())
            } else if let Some(own) = own() {
                (own.to_owned(), matrix.transposed())
            } else if self.graph.constants.contains_key(weight) && is_projection(weight) {
                // OpenAI multiplies with these from the right: they are not transposed.
                (weight.clone(), matrix)
            } else if let Some((name, is_transposed)) = self.projection(data) {
                (name, if is_transposed { matrix.transposed() } else { matrix })
            } else {
                continue;
            };
            self.layer_outputs.insert(name.clone(), output);
            self.found.insert(name, tensor);
        }
        Ok(())
    }

    /// The bias that a node adds, and the sum.
    fn bias_of(&self, node: &'a Node) -> Option<(&'a str, &'a str)> {
        if node.operation != "Add" {
            return None;
        }
        let bias = node.inputs.iter().find(|name| self.label(name, "bias").is_some())?;
        Some((bias, node.outputs.first()?))
    }

    /// The name of the projection of what comes out of a tower's last norm, and whether the
    /// module holds it transposed.
    fn projection(&self, data: &'a str) -> Option<(String, bool)> {
        const PROJECTIONS: [(&str, &str, bool); 4] = [
            ("vision_model.post_layernorm.bias", "visual_projection.weight", true),
            ("text_model.final_layer_norm.bias", "text_projection.weight", true),
            ("ln_post.bias", "proj", false),
            ("ln_final.bias", "text_projection", false),
        ];
        let is_product = |node: &Node| matches!(node.operation.as_str(), "MatMul" | "Gemm");
        self.above(data, FARTHEST, is_product).into_iter().find_map(|node| {
            node.inputs.iter().find_map(|input| {
                let label = self.label(input, "bias")?;
                PROJECTIONS.iter().find_map(|(norm, projection, transposed)| {
                    let prefix = label.strip_suffix(norm)?;
                    Some((format!("{prefix}{projection}"), *transposed))
                })
            })
        })
    }

    /// The nodes above a value, nearest first, up to a number of them; `stop` ends a path.
    fn above(&self, value: &'a str, most: usize, stop: impl Fn(&Node) -> bool) -> Vec<&'a Node> {
        let mut nodes = Vec::new();
        let mut seen = HashSet::new();
        let mut open = VecDeque::from([value]);
        while let Some(value) = open.pop_front() {
            let Some(&node) = self.maker.get(value) else { continue };
            if nodes.len() == most || !seen.insert(std::ptr::from_ref(node)) {
                continue;
            }
            nodes.push(node);
            if !stop(node) {
                open.extend(node.inputs.iter().map(String::as_str));
            }
        }
        nodes
    }

    fn name_embeddings(&mut self) -> Result<(), String> {
        for node in &self.graph.nodes {
            let Some(output) = node.outputs.first() else { continue };
            match node.operation.as_str() {
                "Conv" => {
                    let Some(weight) = node.inputs.get(1) else { continue };
                    let prefix = ["patch_embedding.weight", "conv1.weight"]
                        .iter()
                        .find_map(|end| weight.strip_suffix(end));
                    let width = self.constant(weight).and_then(|w| w.shape().first().copied());
                    if let (Some(prefix), Some(width)) = (prefix, width) {
                        let positions = match weight.ends_with("conv1.weight") {
                            true => format!("{prefix}positional_embedding"),
                            false => format!("{prefix}position_embedding.weight"),
                        };
                        let class = format!("{prefix}class_embedding");
                        self.name_image_embeddings(output, width, class, positions)?;
                    }
                }
                "Gather" => {
                    let Some(rows) = node.inputs.first() else { continue };
                    let Some(prefix) = rows.strip_suffix("token_embedding.weight") else {
                        continue;
                    };
                    let positions = match prefix.ends_with("text_model.embeddings.") {
                        true => format!("{prefix}position_embedding.weight"),
                        false => format!("{prefix}positional_embedding"),
                    };
                    self.name_positions(output, positions);
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// Follows the patches to where the class token is put before them, and to the sum below.
    fn name_image_embeddings(
        &mut self,
        patches: &'a str,
        width: usize,
        class: String,
        positions: String,
    ) -> Result<(), String> {
        let mut value = patches;
        for _ in 0..8 {
            let users = self.users(value);
            let joined = users.iter().find(|node| {
                node.operation == "Concat"
                    && node.inputs.iter().any(|input| self.leads(input, value))
            });
            if let Some(concat) = joined {
                let other = concat.inputs.iter().find(|input| !self.leads(input, value));
                if let Some(other) = other.filter(|_| !self.found.contains_key(&class)) {
                    self.name_class_embedding(other, width, class)?;
                }
                if let Some(output) = concat.outputs.first() {
                    self.name_positions(output, positions);
                }
                return Ok(());
            }
            let reshaped = users.iter().find(|node| {
                matches!(node.operation.as_str(), "Reshape" | "Transpose" | "Flatten")
            });
            let Some(next) = reshaped.and_then(|node| node.outputs.first()) else { break };
            value = next;
        }
        Ok(())
    }

    /// Whether `input` is `value`, perhaps passed on.
    fn leads(&self, input: &str, value: &str) -> bool {
        let mut input = input;
        for _ in 0..FARTHEST {
            if input == value {
                return true;
            }
            let Some(node) = self.maker.get(input) else { return false };
            if !TRANSPARENT.contains(&node.operation.as_str()) {
                return false;
            }
            let Some(next) = node.inputs.first() else { return false };
            input = next;
        }
        false
    }

    /// The one constant of the tower's width above a value; repeated for each image of a batch
    /// where the batch size was fixed.
    fn name_class_embedding(
        &mut self,
        value: &'a str,
        width: usize,
        class: String,
    ) -> Result<(), String> {
        let is_embedding =
            |tensor: &StoredTensor| tensor.shape().last() == Some(&width) && width > 0;
        let above = self.above(value, FARTHEST, |_| false);
        let inputs = above.into_iter().flat_map(|node| node.inputs.iter().map(String::as_str));
        let mut candidates = std::iter::once(value).chain(inputs);
        let Some(tensor) =
            candidates.find_map(|name| self.graph.constants.get(name).filter(|t| is_embedding(t)))
        else {
            return Ok(());
        };
        let rows = tensor.elements() / width;
        let all = tensor.read().map_err(|error| format!("`{class}`: {error}"))?;
        let (first, _) = all.values.split_at(width);
        if all.values.chunks(width).any(|row| row != first) {
            return Err(format!("the {rows} rows of the folded class embedding differ"));
        }
        let first = RawTensor { shape: vec![width], values: first.to_vec() };
        self.found.insert(class, StoredTensor::memory(&first, tensor.file()));
        Ok(())
    }

    /// The constant that is added to a value, as position embeddings.
    fn name_positions(&mut self, value: &str, name: String) {
        if self.found.contains_key(&name) {
            return;
        }
        let added = self.users(value).into_iter().filter(|node| node.operation == "Add");
        let constant = added
            .flat_map(|node| node.inputs.iter())
            .filter_map(|input| self.constant(input))
            .find(|tensor| tensor.shape().len() >= 2);
        let Some(tensor) = constant else { return };
        // `[1, token, width]` where the exporter added a batch axis.
        let (batch, matrix) = tensor.shape().split_at(tensor.shape().len() - 2);
        if batch.iter().all(|&length| length == 1) {
            let matrix = matrix.to_vec();
            self.found.extend(tensor.reshaped(matrix).map(|tensor| (name, tensor)));
        }
    }

    /// A scalar that multiplies what an output is made of: the exponential of the logarithm that
    /// the module holds.
    fn name_logit_scale(&mut self) -> Result<(), String> {
        let ends = |name: &String| name.rsplit('.').next() == Some(LOGIT_SCALE);
        if self.found.keys().any(ends) {
            return Ok(());
        }
        let has_weights = |node: &Node| {
            node.inputs
                .iter()
                .any(|input| self.constant(input).is_some_and(|t| t.shape().len() == 2))
        };
        for output in &self.graph.outputs {
            for node in self.above(output, 6, has_weights) {
                let mut constants = node.inputs.iter().filter_map(|input| self.constant(input));
                let scalar = constants.find(|tensor| tensor.elements() == 1);
                let (Some(scalar), "Mul") = (scalar, node.operation.as_str()) else { continue };
                let value = scalar.read().map_err(|error| format!("the logits' scale: {error}"))?;
                let log = value.values[0].ln();
                let log = RawTensor { shape: Vec::new(), values: vec![log] };
                self.found
                    .insert(LOGIT_SCALE.to_owned(), StoredTensor::memory(&log, scalar.file()));
                return Ok(());
            }
        }
        Ok(())
    }

    /// What stands between the two layers of every MLP.
    fn activation(&self) -> Result<Option<Activation>, String> {
        let mut known: Option<(Activation, &str)> = None;
        for (name, output) in &self.layer_outputs {
            if !name.ends_with("mlp.fc1.weight") && !name.ends_with("mlp.c_fc.weight") {
                continue;
            }
            let activation = self.activation_after(output).map_err(|operations| {
                format!("the activation after `{name}` is neither QuickGELU nor GELU: {operations}")
            })?;
            match known {
                Some((other, first)) if other != activation => {
                    return Err(format!(
                        "the activation after `{name}` is {activation}, after `{first}` {other}"
                    ));
                }
                _ => known = Some((activation, name)),
            }
        }
        Ok(known.map(|(activation, _)| activation))
    }

    /// `Err` names the operations.
    fn activation_after(&self, value: &'a str) -> Result<Activation, String> {
        let mut operations = BTreeSet::new();
        let mut factors = Vec::new();
        let mut open = vec![value];
        let mut seen = HashSet::new();
        while let Some(value) = open.pop() {
            for node in self.users(value) {
                if !seen.insert(std::ptr::from_ref(node)) || seen.len() > FARTHEST {
                    continue;
                }
                let operation = node.operation.as_str();
                let alpha = node.floats.get("alpha").filter(|_| operation == "QuickGelu");
                if alpha.is_some_and(|alpha| (alpha - 1.702).abs() > 1e-3) {
                    return Err(format!(
                        "QuickGelu with another factor, {}",
                        alpha.unwrap_or(&0.0)
                    ));
                }
                if !matches!(operation, "MatMul" | "Gemm") {
                    open.extend(node.outputs.iter().map(String::as_str));
                    operations.insert(operation);
                    let constants = node.inputs.iter().filter_map(|input| self.constant(input));
                    let scalars = constants.filter(|tensor| tensor.elements() == 1);
                    factors.extend(scalars.filter_map(|scalar| scalar.read().ok()));
                }
            }
        }
        operations.remove("Reshape");
        let list: Vec<&str> = operations.into_iter().collect();
        let has_factor = |wanted: f32| {
            factors.iter().any(|factor| (factor.values[0] - wanted).abs() < 1e-3 * wanted)
        };
        match &list[..] {
            ["Mul", "Sigmoid"] if has_factor(1.702) => Ok(Activation::QuickGelu),
            ["QuickGelu"] => Ok(Activation::QuickGelu),
            ["Gelu"] | ["Add", "Div", "Erf", "Mul"] | ["Add", "Erf", "Mul"] => Ok(Activation::Gelu),
            _ => Err(list.join(", ")),
        }
    }
}

/// OpenAI's names of the two projections.
fn is_projection(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("proj" | "text_projection"))
}

/// The matrix of a `Gemm` as `[in, out]`.
fn gemm_matrix(node: &Node, matrix: StoredTensor) -> Result<StoredTensor, String> {
    let factor = |name| node.floats.get(name).copied().unwrap_or(1.0);
    if factor("alpha") != 1.0 || factor("beta") != 1.0 || node.integer("transA").unwrap_or(0) != 0 {
        return Err("a linear layer (Gemm) has factors or a transposed input".to_owned());
    }
    Ok(if node.integer("transB").unwrap_or(0) == 1 { matrix.transposed() } else { matrix })
}
