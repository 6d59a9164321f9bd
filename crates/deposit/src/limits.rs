//! How much a node takes.

use serde::Deserialize;

/// What deposits may be, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of one file, in MiB.
    pub file_mb: u64,
    /// Of one deposit with all its commits and what is still arriving, in MiB.
    pub deposit_mb: u64,
    /// Files that one commit changes.
    pub commit_files: u64,
    /// Days after which bytes go that arrived and that no commit took.
    pub keep_days: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_mb: 50 * 1024, deposit_mb: 500 * 1024, commit_files: 25_000, keep_days: 30 }
    }
}

impl Limits {
    /// Most bytes of a file.
    pub fn file_bytes(&self) -> u64 {
        self.file_mb.saturating_mul(1 << 20)
    }

    /// Most bytes of a deposit.
    pub fn deposit_bytes(&self) -> u64 {
        self.deposit_mb.saturating_mul(1 << 20)
    }
}

/// Files longer than this travel by themselves and are known by their SHA-256; shorter ones stand in the commit.
const LARGE_BYTES: u64 = 1 << 20;

/// Whether a file travels by itself, as tables and models always do.
pub fn is_large(path: &str, bytes: u64) -> bool {
    const BINARY: [&str; 5] = [".parquet", ".onnx", ".safetensors", ".arrow", ".gz"];
    // Clients send empty files in the commit, whatever they are told.
    bytes > 0 && (bytes > LARGE_BYTES || BINARY.iter().any(|ending| path.ends_with(ending)))
}
