//! `<home>/node.toml`: what runs elsewhere than in this process. Without the file everything runs here.

use std::path::Path;
use std::sync::Arc;

use acequia_engine::DataFusionEngine;
use acequia_frame::Engine;
use serde::Deserialize;

use crate::failure::{Failure, NodeError};

/// Largest settings file that is read.
const LARGEST_BYTES: u64 = 64 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    engine: EngineSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineSettings {
    /// `host:port` of a scheduler.
    cluster: Option<String>,
    /// Folder or `s3://` address that node, scheduler and executors share.
    exchange: Option<String>,
}

fn wrong(message: impl Into<String>) -> Failure {
    NodeError::Settings { message: message.into() }.into()
}

/// The engine that the node in `home` is to use; SQL of this process runs on `threads` threads.
pub(crate) fn engine(home: &Path, threads: usize) -> Result<Arc<dyn Engine>, Failure> {
    let path = home.join("node.toml");
    if !path.exists() {
        return Ok(Arc::new(DataFusionEngine::new(threads)));
    }
    let bytes = acequia_blobs::read_file(&path, "the node's settings", LARGEST_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("the file is not UTF-8"))?;
    let settings: Settings = toml::from_str(text).map_err(|error| wrong(error.message()))?;
    match (settings.engine.cluster, settings.engine.exchange) {
        (None, None) => Ok(Arc::new(DataFusionEngine::new(threads))),
        (Some(scheduler), Some(exchange)) => cluster(&scheduler, &exchange, threads),
        (Some(_), None) => Err(wrong("engine.cluster needs engine.exchange")),
        (None, Some(_)) => Err(wrong("engine.exchange needs engine.cluster")),
    }
}

#[cfg(feature = "cluster")]
fn cluster(scheduler: &str, exchange: &str, threads: usize) -> Result<Arc<dyn Engine>, Failure> {
    use acequia_engine::{ClusterEngine, Exchange};
    // More parts than this machine has threads: the executors have some, too.
    let parts = threads.max(16);
    Ok(Arc::new(ClusterEngine::new(scheduler, Exchange::open(exchange)?, parts)?))
}

#[cfg(not(feature = "cluster"))]
fn cluster(_: &str, _: &str, _: usize) -> Result<Arc<dyn Engine>, Failure> {
    Err(wrong("engine.cluster is set, but this program was built without the feature cluster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_say_half_are_refused() {
        let home = tempfile::tempdir().unwrap();
        assert!(engine(home.path(), 1).is_ok(), "no file, no cluster");
        for (text, refused) in [
            ("", false),
            ("[engine]\n", false),
            ("[engine]\ncluster = \"127.0.0.1:50050\"\n", true),
            ("[engine]\nexchange = \"x\"\n", true),
            ("[engine]\nclutser = \"127.0.0.1:50050\"\n", true),
            ("engine = 1", true),
        ] {
            std::fs::write(home.path().join("node.toml"), text).unwrap();
            assert_eq!(engine(home.path(), 1).is_err(), refused, "{text}");
        }
    }
}
