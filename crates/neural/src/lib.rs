//! Neural networks from a row of numbers, or an image, to one score; and how the score changes with the weights.
//!
//! Comes in: layers, weights as one list of numbers, rows. Goes out: scores, and gradients of whatever a caller makes of the
//! scores. What a score means, and the loss, are the caller's: so one network serves log odds and log hazards. Tensors and
//! derivatives are burn's, on one thread and in double precision, so that the same rows give the same bits again on a machine.
//!
//! ```
//! use acequia_neural::{Input, Layers, Network};
//! let network = Network::new(Input::Numbers(2), Layers { convolutions: vec![], hidden: vec![3] })?;
//! let weights = network.first_weights(|| 0.5);
//! assert_eq!(weights.len(), 3 * 2 + 3 + 3 + 1);
//! let rows = [1.0, 0.0, 0.0, 1.0];
//! assert_eq!(network.scores(&weights, &rows).len(), 2);
//! // The gradient of the sum of squared scores.
//! let gradient = network.gradient(&weights, &rows, |scores| scores.iter().map(|score| 2.0 * score).collect());
//! assert_eq!(gradient.len(), weights.len());
//! # Ok::<(), acequia_neural::NeuralError>(())
//! ```

mod network;

pub use network::{Convolution, Input, Layers, Network, NeuralError, Parameter};
