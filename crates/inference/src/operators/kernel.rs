//! An operator of this crate in a graph of tract, and the attributes that it is made from.

use std::fmt;
use std::sync::Arc;

use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

/// What is known of a tensor before there is one.
pub(super) type Fact = (DatumType, Vec<usize>);

/// An operator: its outputs follow from its inputs alone.
pub(super) trait Kernel: fmt::Debug + Send + Sync + 'static {
    fn name(&self) -> &'static str;

    fn outputs(&self) -> usize {
        1
    }

    /// Types and shapes of outputs.
    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>>;

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>>;
}

/// A kernel as an operator of tract.
#[derive(Debug, Clone)]
pub(super) struct Own(Arc<dyn Kernel>);

impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Own {}

impl Own {
    pub(super) fn expand(kernel: impl Kernel) -> Box<dyn InferenceOp> {
        expand(Self(Arc::new(kernel)))
    }
}

impl Op for Own {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for Own {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.eval(&inputs)
    }
}

impl TypedOp for Own {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let concrete = |fact: &&TypedFact| {
            let shape = fact.shape.as_concrete().context("a shape is open")?;
            Ok((fact.datum_type, shape.to_vec()))
        };
        let inputs = inputs.iter().map(concrete).collect::<TractResult<Vec<Fact>>>()?;
        Ok(self.0.facts(&inputs)?.into_iter().map(|(kind, shape)| kind.fact(&*shape)).collect())
    }

    as_op!();
}

impl Expansion for Own {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.outputs())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        solver.given_all(inputs.iter().map(|input| &input.datum_type), move |solver, kinds| {
            solver.given_all(inputs.iter().map(|input| &input.shape), move |solver, shapes| {
                let concrete = |(kind, shape): (&DatumType, &TVec<TDim>)| {
                    let shape = shape.iter().map(|dim| Ok(dim.to_usize()?)).collect::<TractResult<Vec<_>>>()?;
                    Ok((*kind, shape))
                };
                let facts = kinds.iter().zip(&shapes).map(concrete).collect::<TractResult<Vec<Fact>>>()?;
                for (output, (kind, shape)) in outputs.iter().zip(self.0.facts(&facts)?) {
                    solver.equals(&output.datum_type, kind)?;
                    solver.equals(&output.shape, shape.iter().map(|dim| dim.to_dim()).collect::<TVec<_>>())?;
                }
                Ok(())
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

/// Rows and columns of a table; one row where there is one axis.
pub(super) fn table(shape: &[usize]) -> TractResult<(usize, usize)> {
    match shape {
        [columns] => Ok((1, *columns)),
        [rows, columns] => Ok((*rows, *columns)),
        _ => bail!("it needs rows and columns"),
    }
}

/// The only input.
pub(super) fn only<T>(inputs: &[T]) -> TractResult<&T> {
    match inputs {
        [input] => Ok(input),
        _ => bail!("it needs one input"),
    }
}

/// All numbers of a tensor.
pub(super) fn numbers(tensor: &Tensor) -> TractResult<Vec<f64>> {
    ensure!(tensor.datum_type() != DatumType::String, "it needs numbers");
    Ok(tensor.cast_to::<f64>()?.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
}

/// All texts of a tensor.
pub(super) fn texts(tensor: &Tensor) -> TractResult<Vec<String>> {
    Ok(tensor.try_as_plain_ram()?.as_slice::<String>()?.to_vec())
}

/// Numbers as a tensor of a type.
pub(super) fn tensor(kind: DatumType, shape: &[usize], numbers: &[f64]) -> TractResult<Tensor> {
    Ok(Tensor::from_shape(shape, numbers)?.cast_to_dt(kind)?.into_owned())
}

/// Texts as a tensor.
pub(super) fn text_tensor(shape: &[usize], texts: &[String]) -> TractResult<Tensor> {
    tensor1(texts).into_shape(shape)
}

/// The attributes of an operator.
pub(super) struct Attributes<'n>(pub(super) &'n NodeProto);

impl<'n> Attributes<'n> {
    fn of(&self, name: &str) -> Option<&'n AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.of(name).is_some()
    }

    pub(super) fn single(&self, name: &str) -> Option<f32> {
        self.of(name).map(|attribute| attribute.f)
    }

    pub(super) fn float(&self, name: &str) -> Option<f64> {
        self.single(name).map(f64::from)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.of(name).map(|attribute| attribute.i)
    }

    pub(super) fn text(&self, name: &str) -> TractResult<Option<&'n str>> {
        self.of(name).map(|attribute| Ok(std::str::from_utf8(&attribute.s)?)).transpose()
    }

    pub(super) fn floats(&self, name: &str) -> Vec<f64> {
        self.of(name).map_or(Vec::new(), |attribute| attribute.floats.iter().map(|number| f64::from(*number)).collect())
    }

    pub(super) fn ints(&self, name: &str) -> &'n [i64] {
        self.of(name).map_or(&[], |attribute| &attribute.ints)
    }

    pub(super) fn texts(&self, name: &str) -> TractResult<Vec<String>> {
        let listed = self.of(name).map_or(&[][..], |attribute| &attribute.strings);
        listed.iter().map(|text| Ok(String::from_utf8(text.clone())?)).collect()
    }

    /// Numbers under a name, or as a tensor under the name with `_as_tensor`.
    pub(super) fn floats_or_tensor(&self, name: &str) -> TractResult<Vec<f64>> {
        match self.tensor(&format!("{name}_as_tensor"))? {
            Some(Values::Numbers(numbers)) => Ok(numbers),
            Some(Values::Texts(_)) => bail!("{name} are texts"),
            None => Ok(self.floats(name)),
        }
    }

    /// A tensor with its numbers or texts.
    pub(super) fn tensor(&self, name: &str) -> TractResult<Option<Values>> {
        self.of(name).and_then(|attribute| attribute.t.as_ref()).map(values).transpose()
    }

    /// The type of a tensor.
    pub(super) fn tensor_kind(&self, name: &str) -> TractResult<Option<DatumType>> {
        use tract_onnx::pb::tensor_proto::DataType;
        let tensor = self.of(name).and_then(|attribute| attribute.t.as_ref());
        tensor.map(|tensor| DataType::try_from(tensor.data_type)?.try_into()).transpose()
    }

    /// One of some words; `or` where nothing is said.
    pub(super) fn one_of<T: Copy>(&self, name: &str, words: &[(&str, T)], or: T) -> TractResult<T> {
        let Some(word) = self.text(name)? else { return Ok(or) };
        let found = words.iter().find(|(known, _)| *known == word);
        found.map(|(_, value)| *value).with_context(|| format!("{name} is none that is run"))
    }
}

/// Numbers or texts.
#[derive(Debug, Clone)]
pub(super) enum Values {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

/// What a tensor of the file holds. That its size is right was checked before.
#[expect(clippy::cast_precision_loss, reason = "whole numbers of models are small")]
fn values(tensor: &TensorProto) -> TractResult<Values> {
    use tract_onnx::pb::tensor_proto::DataType;
    let raw = &tensor.raw_data;
    let kind = DataType::try_from(tensor.data_type)?;
    Ok(Values::Numbers(match (kind, raw.is_empty()) {
        (DataType::Float, true) => tensor.float_data.iter().map(|number| f64::from(*number)).collect(),
        (DataType::Float, false) => raw.as_chunks().0.iter().map(|four| f64::from(f32::from_le_bytes(*four))).collect(),
        (DataType::Double, true) => tensor.double_data.clone(),
        (DataType::Double, false) => raw.as_chunks().0.iter().map(|eight| f64::from_le_bytes(*eight)).collect(),
        (DataType::Int64, true) => tensor.int64_data.iter().map(|number| *number as f64).collect(),
        (DataType::Int64, false) => raw.as_chunks().0.iter().map(|eight| i64::from_le_bytes(*eight) as f64).collect(),
        (DataType::Int32 | DataType::Uint8 | DataType::Int8, true) => {
            tensor.int32_data.iter().map(|number| f64::from(*number)).collect()
        }
        (DataType::Int32, false) => raw.as_chunks().0.iter().map(|four| f64::from(i32::from_le_bytes(*four))).collect(),
        (DataType::Uint8, false) => raw.iter().map(|byte| f64::from(*byte)).collect(),
        (DataType::String, true) => {
            let texts = tensor.string_data.iter().map(|text| Ok(String::from_utf8(text.clone())?));
            return Ok(Values::Texts(texts.collect::<TractResult<_>>()?));
        }
        _ => bail!("an attribute is a tensor of a type that is not read"),
    }))
}
