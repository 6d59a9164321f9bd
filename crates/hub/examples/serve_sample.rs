//! Serves made-up data sets on a loopback port, for trials with real clients and browsers.
//!
//! `cargo run --release -p acequia-hub --example serve_sample -- 8717`

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::sync::Arc;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let argument = std::env::args().nth(1);
    let catalogue = match argument.as_deref() {
        Some("empty") => sample::Memory::default(),
        _ => sample::sample(),
    };
    let port = argument.and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, acequia_hub::router(Arc::new(catalogue))).await
}
