//! The secret of a project: with it, ids of clusters and encoded records can be made; without it, neither can be guessed.

use std::io::Write;
use std::path::Path;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::LinkError;
use crate::table::{write_whole, wrong};

/// 32 random bytes, kept by the trustee. Never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads a key file: 64 hex digits.
    ///
    /// # Errors
    /// [`LinkError::Key`] when the file is no key file or the key was plainly not drawn at random.
    pub fn read(path: &Path) -> Result<Self, LinkError> {
        let problem = |problem: String| LinkError::Key { problem };
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| problem(format!("cannot be read: {}", error.kind())))?;
        Self::parse(&text)
    }

    /// Reads the 64 hex digits of a key.
    ///
    /// # Errors
    /// See [`Key::read`].
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let problem = |problem: &str| LinkError::Key { problem: problem.to_owned() };
        let mut key = Self([0; 32]);
        hex::decode_to_slice(text.trim(), &mut key.0).map_err(|_| problem("does not hold 64 hex digits"))?;
        let mut seen = Zeroizing::new([false; 256]);
        key.0.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        // 32 random bytes have fewer than 16 different ones about once in 10^13 keys.
        if seen.iter().filter(|seen| **seen).count() < 16 {
            return Err(problem("holds a key that was not drawn at random"));
        }
        Ok(key)
    }

    /// Draws a key and writes its file, readable by its owner only. Never over an existing file.
    ///
    /// # Errors
    /// [`LinkError::Key`] when the file exists or there are no random bytes, [`LinkError::File`] when it cannot be written.
    pub fn create(path: &Path) -> Result<Self, LinkError> {
        if path.exists() {
            return Err(LinkError::Key { problem: "exists already and is never overwritten".to_owned() });
        }
        let mut key = Self([0; 32]);
        getrandom::fill(&mut key.0).map_err(|_| wrong(path, "there are no random bytes"))?;
        let text = Zeroizing::new(hex::encode(key.0) + "\n");
        write_whole(path, |file: &mut dyn Write| file.write_all(text.as_bytes()))?;
        Ok(key)
    }

    /// A key for one purpose; no purpose tells about another (BLAKE3's key derivation mode).
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0)
    }

    /// Says whether two keys are the same, and nothing else about them.
    pub(crate) fn check(&self) -> String {
        hex::encode(&self.derive("acequia link 2026-11 key check")[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_read_back_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("project.key");
        let made = Key::create(&path).unwrap();
        assert_eq!(Key::read(&path).unwrap().check(), made.check());
        assert!(Key::create(&path).is_err());
        assert_eq!(format!("{made:?}"), "Key(…)");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!made.check().contains(text.trim()));
        for poor in ["", "abc", &"00".repeat(32), &"0123456789abcdef".repeat(4)] {
            let error = Key::parse(poor).unwrap_err().to_string();
            assert!(poor.is_empty() || !error.contains(poor), "{error}");
        }
    }
}
