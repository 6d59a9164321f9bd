//! Stable ids that only this node can compute.

/// The node's secret for ids.
pub struct IdKey([u8; 32]);

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey(masked)")
    }
}

fn first_63_bits(hash: &blake3::Hash) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    i64::try_from(u64::from_be_bytes(bytes) >> 1).unwrap_or(0)
}

fn put(hasher: &mut blake3::Hasher, parts: &[&[u8]]) {
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
}

impl IdKey {
    /// Takes 32 secret bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// A digest that tells two keys apart without telling anything about them: part of a step's name.
    pub fn check(&self) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, b"acequia id key check").as_bytes()
    }

    /// First 63 bits of keyed BLAKE3 over (kind, key, ordinal) in one go; `buffer` is scratch. Every id of a table's row
    /// that a load makes comes from here.
    pub(crate) fn row_id(&self, buffer: &mut Vec<u8>, kind: &str, key: &[u8], ordinal: u32) -> i64 {
        buffer.clear();
        buffer.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
        buffer.extend_from_slice(kind.as_bytes());
        buffer.extend_from_slice(&ordinal.to_le_bytes());
        buffer.extend_from_slice(key);
        first_63_bits(&blake3::keyed_hash(&self.0, buffer))
    }

    /// The key for one source: ids of two sources never meet.
    pub(crate) fn of_source(&self, source: &str) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        put(&mut hasher, &[b"acequia 2026 id key of a source v1", source.as_bytes()]);
        Self(*hasher.finalize().as_bytes())
    }

    /// Seed for digests that only compare.
    pub(crate) fn seed(&self) -> u64 {
        let hash = blake3::keyed_hash(&self.0, b"acequia 2026 digest seed v1");
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(bytes)
    }

    /// First 63 bits of keyed BLAKE3 over the parts; lengths are hashed too.
    pub(crate) fn id(&self, parts: &[&[u8]]) -> i64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        put(&mut hasher, parts);
        first_63_bits(&hasher.finalize())
    }
}

/// A digest of a person's key in its source that does not depend on the node, for assigning splits.
pub(crate) fn source_key_digest(parts: &[&[u8]]) -> i64 {
    let mut hasher = blake3::Hasher::new_derive_key("acequia 2026 source key digest v1");
    put(&mut hasher, parts);
    first_63_bits(&hasher.finalize())
}
