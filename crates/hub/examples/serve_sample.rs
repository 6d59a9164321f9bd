//! Serves made-up data sets on a loopback port, for trials with real clients and browsers.
//!
//! `cargo run --release -p acequia-hub --example serve_sample -- PORT [empty | FOLDER]`, where FOLDER is a version copied
//! with `acequia release export`; it is then served under a throw-away seal.

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::path::Path;
use std::sync::Arc;

use acequia_gate::Manifest;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let catalogue = match std::env::args().nth(2).as_deref() {
        None => sample::sample(),
        Some("empty") => sample::Memory::default(),
        Some(folder) => exported(Path::new(folder))?,
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, acequia_hub::router(Arc::new(catalogue))).await
}

fn exported(folder: &Path) -> std::io::Result<sample::Memory> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    let memory = sample::Memory::default();
    for file in &manifest.files {
        memory.store(file.sha256, Some(std::fs::read(folder.join(&file.path))?.into()));
    }
    memory.shelve(&manifest, 1_795_000_000);
    Ok(memory)
}
