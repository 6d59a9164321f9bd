//! Time of one step of training: `cargo bench -p acequia-neural`.

use std::time::Instant;

use acequia_neural::{Convolution, Input, Layers, Network};

fn step(name: &str, network: &Network, rows: usize) {
    let weights = network.first_weights(|| 0.1);
    let x: Vec<f64> =
        (0..rows * network.input().len()).map(|at| f64::from(u32::try_from(at % 17).unwrap()) / 17.0).collect();
    let pull = |scores: &[f64]| scores.to_vec();
    let one = || std::hint::black_box(network.gradient(&weights, &x, pull));
    one();
    let mut times: Vec<f64> = (0..50)
        .map(|_| {
            let started = Instant::now();
            one();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:<40} {:>8} weights {:>10.1} us a step (median)", network.len(), times[25] * 1e6);
}

fn main() {
    let hidden = |hidden: &[usize]| Layers { convolutions: vec![], hidden: hidden.to_vec() };
    let table = Network::new(Input::Numbers(30), hidden(&[64, 32])).expect("layers");
    step("table 30-64-32-1, 32 rows", &table, 32);
    let convolutions = [8, 16, 32].map(|filters| Convolution { filters, kernel: 3 }).to_vec();
    let image = Network::new(Input::Image { height: 64, width: 64 }, Layers { convolutions, hidden: vec![] });
    step("3 convolutions, 64 x 64 pixels, 16 images", &image.expect("layers"), 16);
}
