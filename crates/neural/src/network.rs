//! Layers, and what they make of rows.

use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Why layers are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NeuralError {
    /// They do not fit the input or one another, or are too large.
    #[error("the layers of the network: {reason}")]
    Layers {
        /// What is wrong and what would do.
        reason: &'static str,
    },
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Input {
    /// So many numbers.
    Numbers(usize),
    /// A grey image, row of pixels after row of pixels.
    Image {
        /// Rows of pixels.
        height: usize,
        /// Pixels of a row.
        width: usize,
    },
}

impl Input {
    /// Numbers of a row.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => *numbers,
            Self::Image { height, width } => height * width,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A convolution over all pixels (stride 1, edges filled with zeros), rectified, and the largest of each 2 × 2 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Images it makes.
    pub filters: usize,
    /// Pixels of a side of what it looks at: 1, 3, 5 or 7.
    #[serde(default = "Convolution::kernel")]
    pub kernel: usize,
}

impl Convolution {
    fn kernel() -> usize {
        3
    }
}

/// Layers between a row and its score; the last one, from whatever is before it to one number, is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// Convolutions, first to last; for images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub convolutions: Vec<Convolution>,
    /// Widths of fully connected, rectified layers, first to last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<usize>,
}

/// A named part of the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// `conv1.weight`, `hidden1.bias`, `output.weight`.
    pub name: String,
    /// Filters × channels × kernel × kernel of a convolution; outputs × inputs of a fully connected layer; outputs of a bias.
    pub shape: Vec<usize>,
    /// Numbers that go into one of its outputs.
    fan_in: usize,
}

impl Parameter {
    /// Numbers of it.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none; no parameter of a network is so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A network: what comes in, and its layers. Weights are the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    input: Input,
    layers: Layers,
    parameters: Vec<Parameter>,
}

/// Weights, at most: a round of all of them goes over the network as sums of 64 bits.
const LARGEST: usize = 1 << 22;
/// Numbers of a layer's output in memory at a time: rows are gone through in parts.
const AT_A_TIME: usize = 1 << 22;

impl Network {
    /// A network of these layers.
    ///
    /// # Errors
    /// [`NeuralError::Layers`] when they do not fit the input, or are too large.
    pub fn new(input: Input, layers: Layers) -> Result<Self, NeuralError> {
        let wrong = |reason| Err(NeuralError::Layers { reason });
        if input.is_empty() {
            return wrong("there is no input");
        }
        let mut parameters = Vec::new();
        let mut add = |name: String, shape: Vec<usize>, fan_in: usize| {
            let outputs = shape.first().copied().unwrap_or(1);
            parameters.push(Parameter { name: format!("{name}.weight"), shape, fan_in });
            parameters.push(Parameter { name: format!("{name}.bias"), shape: vec![outputs], fan_in });
        };
        let mut width = input.len();
        if let Input::Image { height, width: across } = input {
            let (mut channels, mut height, mut across) = (1, height, across);
            for (nth, Convolution { filters, kernel }) in layers.convolutions.iter().enumerate() {
                if !(1..=1024).contains(filters) || ![1, 3, 5, 7].contains(kernel) {
                    return wrong("a convolution has 1 to 1024 filters and a kernel of 1, 3, 5 or 7");
                }
                if height < 2 || across < 2 {
                    return wrong(
                        "the image is smaller than one pixel after so many poolings; take fewer convolutions",
                    );
                }
                let fan_in = channels * kernel * kernel;
                add(format!("conv{}", nth + 1), vec![*filters, channels, *kernel, *kernel], fan_in);
                (channels, height, across) = (*filters, height / 2, across / 2);
            }
            width = channels * height * across;
        } else if !layers.convolutions.is_empty() {
            return wrong("convolutions need an image");
        }
        for (nth, outputs) in layers.hidden.iter().enumerate() {
            if !(1..=65_536).contains(outputs) {
                return wrong("a hidden layer is 1 to 65536 wide");
            }
            add(format!("hidden{}", nth + 1), vec![*outputs, width], width);
            width = *outputs;
        }
        add("output".to_owned(), vec![1, width], width);
        let weights = parameters.iter().try_fold(0_usize, |sum, one| {
            let len = one.shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side))?;
            sum.checked_add(len)
        });
        if weights.is_none_or(|weights| weights > LARGEST) {
            return wrong("they have more than 4194304 weights");
        }
        Ok(Self { input, layers, parameters })
    }

    /// What comes in.
    pub fn input(&self) -> Input {
        self.input
    }

    /// Its layers.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The parts of its weights, in their order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Weights.
    pub fn len(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    /// Whether there are none; no network is so.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// First weights, from numbers between -1 and 1 that are drawn evenly: each between -1/√n and 1/√n, for n inputs of its
    /// layer.
    pub fn first_weights(&self, mut draw: impl FnMut() -> f64) -> Vec<f64> {
        let mut weights = Vec::with_capacity(self.len());
        for parameter in &self.parameters {
            #[expect(clippy::cast_precision_loss, reason = "inputs are far below 2^53")]
            let bound = (parameter.fan_in as f64).sqrt().recip();
            weights.extend((0..parameter.len()).map(|_| bound * draw()));
        }
        weights
    }

    /// Scores of rows.
    ///
    /// # Panics
    /// When there are not as many weights as [`Network::len`], or no whole rows.
    pub fn scores(&self, weights: &[f64], rows: &[f64]) -> Vec<f64> {
        let device = Device::flex();
        let tensors = self.tensors(weights, &device);
        let mut scores = Vec::with_capacity(rows.len() / self.input.len());
        for part in self.parts(rows) {
            scores.extend(numbers(self.forward(&tensors, part, &device)));
        }
        scores
    }

    /// Gradient, by the weights, of a function of the scores of rows. `pull` says how it changes with each score, when it is
    /// told all of them.
    ///
    /// # Panics
    /// As [`Network::scores`], and when `pull` returns another number of numbers than it got.
    pub fn gradient(&self, weights: &[f64], rows: &[f64], pull: impl FnOnce(&[f64]) -> Vec<f64>) -> Vec<f64> {
        let device = Device::flex().autodiff();
        let pulls = |scores: &[f64]| {
            let pulls = pull(scores);
            assert_eq!(pulls.len(), scores.len(), "one number for each score");
            pulls
        };
        let mut parts = self.parts(rows).peekable();
        let Some(first) = parts.next() else { return vec![0.0; weights.len()] };
        if parts.peek().is_none() {
            let tensors: Vec<Weights> = self.tensors(weights, &device).into_iter().map(Weights::learning).collect();
            let scores = self.forward(&tensors, first, &device);
            let pulls = pulls(&numbers(scores.clone()));
            return backward(&tensors, scores, pulls, &device);
        }
        // In parts, which takes a second look at each row, but no more memory than one part does.
        let pulls = pulls(&self.scores(weights, rows));
        let mut gradient = vec![0.0; weights.len()];
        let mut at = 0;
        for part in self.parts(rows) {
            let tensors: Vec<Weights> = self.tensors(weights, &device).into_iter().map(Weights::learning).collect();
            let scores = self.forward(&tensors, part, &device);
            let to = at + part.len() / self.input.len();
            let of_part = backward(&tensors, scores, pulls[at..to].to_vec(), &device);
            gradient.iter_mut().zip(of_part).for_each(|(sum, of_part)| *sum += of_part);
            at = to;
        }
        gradient
    }

    /// Rows in parts that fit into memory with what layers make of them.
    fn parts<'r>(&self, rows: &'r [f64]) -> impl Iterator<Item = &'r [f64]> {
        let len = self.input.len();
        assert_eq!(rows.len() % len, 0, "whole rows");
        let mut of_row = len.max(self.layers.hidden.iter().copied().max().unwrap_or(0));
        if let (Input::Image { .. }, Some(first)) = (self.input, self.layers.convolutions.first()) {
            of_row = of_row.max(len * first.filters);
        }
        rows.chunks(len * (AT_A_TIME / of_row).max(1))
    }

    fn tensors(&self, weights: &[f64], device: &Device) -> Vec<Weights> {
        assert_eq!(weights.len(), self.len(), "the weights of this network");
        let mut at = 0;
        let tensor = |parameter: &Parameter| {
            let own = weights[at..at + parameter.len()].to_vec();
            at += parameter.len();
            match *parameter.shape {
                [outputs, inputs] => Weights::Matrix(tensor(own, [outputs, inputs], device)),
                [filters, channels, height, width] => {
                    Weights::Filters(tensor(own, [filters, channels, height, width], device))
                }
                _ => Weights::Bias(tensor(own, [parameter.len()], device)),
            }
        };
        self.parameters.iter().map(tensor).collect()
    }

    fn forward(&self, tensors: &[Weights], rows: &[f64], device: &Device) -> Tensor<1> {
        let count = rows.len() / self.input.len();
        let mut layers = tensors.chunks_exact(2);
        let mut x = tensor(rows.to_vec(), [count, self.input.len()], device);
        if let Input::Image { height, width } = self.input {
            let mut image = x.reshape([count, 1, height, width]);
            for Convolution { kernel, .. } in &self.layers.convolutions {
                let Some([Weights::Filters(filters), Weights::Bias(bias)]) = layers.next() else { break };
                let side = kernel / 2;
                let options = ConvOptions::new([1, 1], [side, side], [1, 1], 1);
                let folded = conv2d(image, filters.clone(), Some(bias.clone()), options);
                image = max_pool2d(relu(folded), MaxPoolOptions::new([2, 2]));
            }
            x = image.flatten(1, 3);
        }
        let mut hidden = self.layers.hidden.len();
        for layer in layers {
            let [Weights::Matrix(matrix), Weights::Bias(bias)] = layer else { break };
            x = x.matmul(matrix.clone().transpose()) + bias.clone().unsqueeze();
            if hidden > 0 {
                hidden -= 1;
                x = relu(x);
            }
        }
        x.flatten(0, 1)
    }
}

/// Weights of one part as a tensor.
#[derive(Clone)]
enum Weights {
    Matrix(Tensor<2>),
    Filters(Tensor<4>),
    Bias(Tensor<1>),
}

impl Weights {
    fn learning(self) -> Self {
        match self {
            Self::Matrix(tensor) => Self::Matrix(tensor.require_grad()),
            Self::Filters(tensor) => Self::Filters(tensor.require_grad()),
            Self::Bias(tensor) => Self::Bias(tensor.require_grad()),
        }
    }
}

fn tensor<const D: usize>(numbers: Vec<f64>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers, shape), (device, DType::F64))
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().try_to_vec().unwrap_or_default()
}

/// The gradient of the scores' sum, each times its pull.
fn backward(tensors: &[Weights], scores: Tensor<1>, pulls: Vec<f64>, device: &Device) -> Vec<f64> {
    let count = pulls.len();
    let gradients = (scores * tensor(pulls, [count], device)).sum().backward();
    let mut gradient = Vec::new();
    for one in tensors {
        // A weight that nothing depends on has none; layers all depend on one another, so each has.
        match one {
            Weights::Matrix(tensor) => gradient.extend(tensor.grad(&gradients).map(numbers).unwrap_or_default()),
            Weights::Filters(tensor) => gradient.extend(tensor.grad(&gradients).map(numbers).unwrap_or_default()),
            Weights::Bias(tensor) => gradient.extend(tensor.grad(&gradients).map(numbers).unwrap_or_default()),
        }
    }
    gradient
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(seed: u64) -> impl FnMut() -> f64 {
        let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        move || {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }
    }

    /// The same network, written out.
    fn by_hand(network: &Network, weights: &[f64], row: &[f64]) -> f64 {
        let mut at = 0;
        let mut take = |n: usize| {
            at += n;
            &weights[at - n..at]
        };
        let mut x = row.to_vec();
        if let Input::Image { mut height, mut width } = network.input() {
            let mut channels = 1;
            for Convolution { filters, kernel } in &network.layers().convolutions {
                let (w, b) = (take(filters * channels * kernel * kernel), take(*filters));
                let half = (kernel / 2) as isize;
                let mut pooled = Vec::new();
                for f in 0..*filters {
                    let value = |i: usize, j: usize| {
                        let mut sum = b[f];
                        for c in 0..channels {
                            for u in 0..*kernel {
                                for v in 0..*kernel {
                                    let (p, q) = (i as isize + u as isize - half, j as isize + v as isize - half);
                                    if (0..height as isize).contains(&p) && (0..width as isize).contains(&q) {
                                        let pixel = x[(c * height + p as usize) * width + q as usize];
                                        sum += pixel * w[((f * channels + c) * kernel + u) * kernel + v];
                                    }
                                }
                            }
                        }
                        sum.max(0.0)
                    };
                    for i in 0..height / 2 {
                        for j in 0..width / 2 {
                            let four = [(0, 0), (0, 1), (1, 0), (1, 1)];
                            pooled.push(four.map(|(u, v)| value(2 * i + u, 2 * j + v)).into_iter().fold(0.0, f64::max));
                        }
                    }
                }
                (x, channels, height, width) = (pooled, *filters, height / 2, width / 2);
            }
        }
        for (nth, outputs) in network.layers().hidden.iter().chain([&1]).enumerate() {
            let (w, b) = (take(outputs * x.len()), take(*outputs));
            let sums = w.chunks(x.len()).zip(b).map(|(w, b)| w.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>() + b);
            let rectified = nth < network.layers().hidden.len();
            x = sums.map(|sum| if rectified { sum.max(0.0) } else { sum }).collect();
        }
        x[0]
    }

    fn networks() -> impl Strategy<Value = Network> {
        let hidden = prop::collection::vec(1..6_usize, 0..3);
        let table = (1..5_usize, hidden.clone()).prop_map(|(numbers, hidden)| {
            Network::new(Input::Numbers(numbers), Layers { convolutions: vec![], hidden }).unwrap()
        });
        let convolution = (1..4_usize, prop::sample::select(vec![1, 3, 5]));
        let convolution = convolution.prop_map(|(filters, kernel)| Convolution { filters, kernel });
        let image = (4..9_usize, 4..9_usize, prop::collection::vec(convolution, 0..3), hidden);
        let image = image.prop_map(|(height, width, convolutions, hidden)| {
            Network::new(Input::Image { height, width }, Layers { convolutions, hidden }).unwrap()
        });
        prop_oneof![table, image]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn scores_and_gradients_are_those_of_the_network_written_out(network in networks(), seed: u64, rows in 1..5_usize) {
            let mut draw = draw(seed);
            let weights = network.first_weights(&mut draw);
            let x: Vec<f64> = (0..rows * network.input().len()).map(|_| draw()).collect();
            let scores = network.scores(&weights, &x);
            prop_assert_eq!(scores.len(), rows);
            for (score, row) in scores.iter().zip(x.chunks(network.input().len())) {
                prop_assert!((score - by_hand(&network, &weights, row)).abs() < 1e-12);
            }
            // Of the sum of squares; differences skip the corners of the rectifiers, of which few lie within the step.
            let gradient = network.gradient(&weights, &x, |scores| scores.iter().map(|s| 2.0 * s).collect());
            let square = |weights: &[f64]| network.scores(weights, &x).iter().map(|s| s * s).sum::<f64>();
            let mut off = 0;
            for (j, g) in gradient.iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = weights.clone();
                    moved[j] += by;
                    square(&moved)
                };
                off += usize::from((g - (at(1e-6) - at(-1e-6)) / 2e-6).abs() > 1e-6);
            }
            prop_assert!(off * 50 <= gradient.len(), "{} of {}", off, gradient.len());
        }
    }

    #[test]
    fn parts_of_rows_sum_up_to_the_whole_and_the_same_bits_come_again() {
        // So wide that a part is two rows.
        let network =
            Network::new(Input::Numbers(2), Layers { convolutions: vec![], hidden: vec![1 << 11, 1] }).unwrap();
        let mut draw = draw(7);
        let weights = network.first_weights(&mut draw);
        let x: Vec<f64> = (0..2 * 5_000).map(|_| draw()).collect();
        assert!(network.parts(&x).count() > 1);
        let pull = |scores: &[f64]| scores.to_vec();
        let whole = network.gradient(&weights, &x, pull);
        let mut sum = vec![0.0; weights.len()];
        for row in x.chunks(2 * 500) {
            network.gradient(&weights, row, pull).iter().zip(&mut sum).for_each(|(of_part, sum)| *sum += of_part);
        }
        assert!(whole.iter().zip(&sum).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + a.abs())));
        assert_eq!(whole, network.gradient(&weights, &x, pull));
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        let of = |input, convolutions, hidden| Network::new(input, Layers { convolutions, hidden });
        let one = Convolution { filters: 1, kernel: 3 };
        assert!(of(Input::Numbers(0), vec![], vec![]).is_err());
        assert!(of(Input::Numbers(4), vec![one], vec![]).is_err());
        assert!(of(Input::Numbers(4), vec![], vec![0]).is_err());
        assert!(of(Input::Numbers(4096), vec![], vec![4096]).is_err());
        assert!(of(Input::Numbers(usize::MAX), vec![], vec![65_536]).is_err());
        assert!(of(Input::Image { height: 4, width: 4 }, vec![one; 3], vec![]).is_err());
        assert!(of(Input::Image { height: 4, width: 4 }, vec![Convolution { filters: 1, kernel: 2 }], vec![]).is_err());
        assert!(of(Input::Image { height: 4, width: 4 }, vec![one; 2], vec![3]).is_ok());
    }
}
