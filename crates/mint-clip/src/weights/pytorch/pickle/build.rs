//! What the calls in a pickle make: tensors and containers; anything else is refused or inert.

use super::machine::Machine;
use super::values::{Id, MOST_AXES, Storage, TensorView, Value};
use crate::weights::contents::Unknown;
use crate::weights::stored_tensor::NumberType;

impl Machine<'_> {
    /// What calling a function or a class makes.
    pub(super) fn call(&mut self, function: Id, arguments: Id) -> Result<Value, String> {
        let Value::Global(name) = self.values[function].clone() else {
            return match self.values[function] {
                Value::Object { .. } if self.unknown == Unknown::KeepInert => {
                    Ok(Value::Object { class: "result of a call".into(), state: None })
                }
                _ => Err("it calls a value that is neither a class nor a function".to_owned()),
            };
        };
        let arguments = match &self.values[arguments] {
            Value::Tuple(arguments) if arguments.len() <= 16 => arguments.clone(),
            _ => return Err(format!("`{name}` is called with no tuple of arguments")),
        };
        match &*name {
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
                self.rebuild_tensor(&arguments).map(Value::Tensor)
            }
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                match arguments.first().map(|&data| self.values[data].clone()) {
                    Some(tensor @ Value::Tensor(_)) => Ok(tensor),
                    _ => Err("a parameter has no tensor".to_owned()),
                }
            }
            "torch._tensor._rebuild_from_type_v2" => match arguments[..] {
                [function, _, arguments, _] => match &self.values[function] {
                    Value::Global(inner) if **inner != *name => self.call(function, arguments),
                    _ => Err(format!("`{name}` is called with something else than a function")),
                },
                _ => Err(format!("`{name}` is called with {} arguments", arguments.len())),
            },
            "collections.OrderedDict" | "builtins.dict" | "__builtin__.dict" => {
                self.dictionary(&arguments)
            }
            "torch.Size" | "builtins.list" | "builtins.set" | "builtins.tuple"
            | "__builtin__.set" => self.sequence(&arguments),
            name if name.starts_with("torch.jit._pickle.build_") => self.sequence(&arguments),
            _ => self.object(function),
        }
    }

    fn dictionary(&mut self, arguments: &[Id]) -> Result<Value, String> {
        let &[pairs] = arguments else { return Ok(Value::Dictionary(Vec::new())) };
        self.charge_members(pairs)?;
        let entries = match &self.values[pairs] {
            Value::Dictionary(entries) => entries.clone(),
            Value::List(items) => {
                let pair = |&id: &Id| match &self.values[id] {
                    Value::Tuple(pair) | Value::List(pair) if pair.len() == 2 => {
                        Ok((pair[0], pair[1]))
                    }
                    _ => Err("a dictionary is made of something else than pairs".to_owned()),
                };
                items.iter().map(pair).collect::<Result<_, _>>()?
            }
            _ => return Err("a dictionary is made of something else than pairs".to_owned()),
        };
        Ok(Value::Dictionary(entries))
    }

    fn sequence(&mut self, arguments: &[Id]) -> Result<Value, String> {
        let Some(&items) = arguments.first() else { return Ok(Value::List(Vec::new())) };
        self.charge_members(items)?;
        match &self.values[items] {
            Value::List(items) | Value::Tuple(items) => Ok(Value::List(items.clone())),
            _ => Err("a list is made of something else than a list".to_owned()),
        }
    }

    /// Counts the work of copying a container.
    fn charge_members(&mut self, container: Id) -> Result<(), String> {
        let members = match &self.values[container] {
            Value::List(items) | Value::Tuple(items) => items.len(),
            Value::Dictionary(entries) => 2 * entries.len(),
            _ => 0,
        };
        self.charge(members)
    }

    /// An object of a class that is neither a tensor nor a container.
    pub(super) fn object(&self, class: Id) -> Result<Value, String> {
        let Value::Global(class) = &self.values[class] else {
            return Err("an object is made of something else than a class".to_owned());
        };
        // Modules of TorchScript archives: bags of tensors and of further modules.
        if self.unknown == Unknown::Refuse && !class.starts_with("__torch__.") {
            return Err(format!(
                "it asks to call `{class}`, which builds neither a tensor nor a container; it was not called, and the file is refused (of a model that you trust, save the state dict with PyTorch and open that)"
            ));
        }
        Ok(Value::Object { class: class.clone(), state: None })
    }

    pub(super) fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let target = self.top()?;
        match &mut self.values[target] {
            Value::Object { state: slot, .. } => *slot = Some(state),
            // `_metadata` of a state dict, and attributes of a parameter.
            Value::Dictionary(_) | Value::Tensor(_) => (),
            _ => return Err("a state is set on something that has none".to_owned()),
        }
        Ok(())
    }

    fn rebuild_tensor(&self, arguments: &[Id]) -> Result<TensorView, String> {
        let [storage, first, shape, strides, ..] = arguments else {
            return Err(format!("a tensor is made of {} arguments", arguments.len()));
        };
        let Value::Storage(storage) = &self.values[*storage] else {
            return Err("a tensor has no storage".to_owned());
        };
        let number = |id: Id, what: &str| match self.values[id] {
            Value::Integer(number) if number >= 0 => Ok(number as u64),
            Value::Integer(number) => Err(format!("a tensor has the {what} {number}")),
            _ => Err(format!("a tensor's {what} is not a number")),
        };
        let numbers = |id: Id, what: &str| match &self.values[id] {
            Value::Tuple(items) | Value::List(items) if items.len() <= MOST_AXES => {
                items.iter().map(|&id| number(id, what).map(|n| n as usize)).collect()
            }
            _ => Err(format!("a tensor has no list of at most {MOST_AXES} {what}s")),
        };
        Ok(TensorView {
            storage: storage.clone(),
            first: number(*first, "offset")?,
            shape: numbers(*shape, "axis length")?,
            strides: numbers(*strides, "stride")?,
        })
    }

    /// `("storage", class, key, location, number of elements, ...)`
    pub(super) fn storage(&self, id: Id) -> Result<Storage, String> {
        let wrong = || "a block of numbers is not described as PyTorch does".to_owned();
        let Value::Tuple(parts) = &self.values[id] else { return Err(wrong()) };
        let [kind, class, key, _, elements, rest @ ..] = &parts[..] else { return Err(wrong()) };
        let values = [kind, class, key, elements].map(|&id| &self.values[id]);
        let [Value::Text(kind), Value::Global(class), Value::Text(key), Value::Integer(elements)] =
            values
        else {
            return Err(wrong());
        };
        if **kind != *"storage" || *elements < 0 {
            return Err(wrong());
        }
        if rest.iter().any(|&id| !matches!(self.values[id], Value::Nothing)) {
            return Err(
                "blocks of numbers that are parts of others (PyTorch before 0.4) are not supported"
                    .to_owned(),
            );
        }
        let name = class.rsplit('.').next().unwrap_or_default();
        let number = match name {
            "HalfStorage" => NumberType::F16,
            "BFloat16Storage" => NumberType::Bf16,
            "FloatStorage" => NumberType::F32,
            "DoubleStorage" => NumberType::F64,
            "LongStorage" => NumberType::Other("I64", 8),
            "IntStorage" => NumberType::Other("I32", 4),
            "ShortStorage" => NumberType::Other("I16", 2),
            "CharStorage" => NumberType::Other("I8", 1),
            "ByteStorage" => NumberType::Other("U8", 1),
            "BoolStorage" => NumberType::Other("BOOL", 1),
            _ => return Err(format!("numbers of the type `{class}` are not supported")),
        };
        Ok(Storage { key: key.clone(), number, elements: *elements as u64 })
    }
}
