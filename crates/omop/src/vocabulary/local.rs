//! Local codes that people have mapped and approved: they go before the vocabulary.

use std::collections::{BTreeMap, BTreeSet};

/// What the codes of a site mean, decided by people. Several concepts for one code give several rows; none says that the
/// code has no standard concept and has been looked at.
///
/// ```
/// # use acequia_omop::LocalCodes;
/// let mut codes = LocalCodes::default();
/// codes.add("https://lab.example", "GLU", Some(3_004_501));
/// codes.add("https://lab.example", "MISC", None);
/// assert_eq!(codes.targets("https://lab.example", " GLU "), Some(&[3_004_501][..]));
/// assert_eq!(codes.targets("https://lab.example", "MISC"), Some(&[][..]));
/// assert_eq!(codes.targets("https://lab.example", "NEW"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalCodes {
    targets: BTreeMap<String, BTreeMap<String, Vec<i64>>>,
}

impl LocalCodes {
    /// Adds a decision.
    pub fn add(&mut self, system: &str, code: &str, concept_id: Option<i64>) {
        let targets =
            self.targets.entry(system.trim().to_owned()).or_default().entry(code.trim().to_owned()).or_default();
        targets.extend(concept_id.filter(|concept_id| !targets.contains(concept_id)));
        targets.sort_unstable();
    }

    /// The concepts a code was mapped to, ascending; `None` when nobody decided about it.
    pub fn targets(&self, system: &str, code: &str) -> Option<&[i64]> {
        self.targets.get(system.trim())?.get(code.trim()).map(Vec::as_slice)
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.targets.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// All concepts that are mapped to.
    pub fn concepts(&self) -> BTreeSet<i64> {
        self.targets.values().flat_map(BTreeMap::values).flatten().copied().collect()
    }

    /// BLAKE3 of all decisions: names exactly these, for lineage.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_derive_key("acequia 2026 local codes v1");
        let mut text = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for (system, codes) in &self.targets {
            for (code, targets) in codes {
                text(system);
                text(code);
                targets.iter().for_each(|target| text(&target.to_string()));
                text("");
            }
        }
        *hash.finalize().as_bytes()
    }
}
