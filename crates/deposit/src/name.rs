//! What a deposit is called.

use acequia_gate::Artefact;
use acequia_types::DatasetName;

/// A data set or model by name: two of different kinds may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositName {
    /// What it holds.
    pub artefact: Artefact,
    /// `namespace/name`.
    pub name: DatasetName,
}

impl DepositName {
    /// By the word that addresses begin with, and the two parts of the name.
    pub fn of(artefact: Artefact, namespace: &str, name: &str) -> Option<Self> {
        Some(Self { artefact, name: DatasetName::parse(&format!("{namespace}/{name}")).ok()? })
    }

    /// The name as records have it: `datasets/namespace/name`.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", acequia_hub::wire::plural(self.artefact), self.name)
    }

    /// Reads [`DepositName::key`].
    pub(crate) fn parse_key(key: &str) -> Option<Self> {
        let (kind, name) = key.split_once('/')?;
        Some(Self { artefact: acequia_hub::wire::artefact_of(kind)?, name: DatasetName::parse(name).ok()? })
    }
}

impl std::fmt::Display for DepositName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key())
    }
}
