//! Encoded records in memory and in files.
//!
//! A file is `ACLK1\n`, the length of a header (four bytes, little endian), the header (JSON), the filters (words of
//! eight bytes, little endian) and a BLAKE3 digest of all before it.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Hardening;
use crate::LinkError;
use crate::table::{write_whole, wrong};

const MAGIC: &[u8; 6] = b"ACLK1\n";
/// A longer header is not one of ours.
const LONGEST_HEADER: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// Bits of a stored filter.
    pub(crate) bits: u32,
    pub(crate) records: u64,
    pub(crate) hardening: Hardening,
    /// Digest of columns, weights and version.
    pub(crate) scheme: String,
    /// Says whether two files were made with one key.
    pub(crate) key_check: String,
}

/// Encoded records: one filter each, in the order of the rows they were made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub(crate) header: Header,
    pub(crate) words: Vec<u64>,
}

impl Encoded {
    pub(crate) fn new(header: Header, words: Vec<u64>) -> Self {
        Self { header, words }
    }

    /// Encoded records.
    pub fn records(&self) -> usize {
        self.header.records as usize
    }

    /// Bits of a filter.
    pub fn bits(&self) -> usize {
        self.header.bits as usize
    }

    pub(crate) fn filter(&self, record: usize) -> &[u64] {
        let words = self.bits() / 64;
        &self.words[record * words..(record + 1) * words]
    }

    /// Set bits of a record.
    pub fn set_bits(&self, record: usize) -> u32 {
        self.filter(record).iter().map(|word| word.count_ones()).sum()
    }

    /// Dice's coefficient of two records of files that were made alike: 2 |a ∧ b| / (|a| + |b|); 0 where both are empty.
    pub fn dice(&self, record: usize, other: &Self, other_record: usize) -> f64 {
        let pairs = self.filter(record).iter().zip(other.filter(other_record));
        let common: u32 = pairs.map(|(a, b)| (a & b).count_ones()).sum();
        let all = self.set_bits(record) + other.set_bits(other_record);
        if all == 0 { 0.0 } else { 2.0 * f64::from(common) / f64::from(all) }
    }

    /// Why two files cannot be compared.
    pub(crate) fn check_alike(&self, other: &Self) -> Result<(), LinkError> {
        let differ = |what| Err(LinkError::Different { what });
        if self.header.key_check != other.header.key_check {
            return differ("the key");
        }
        if self.header.scheme != other.header.scheme {
            return differ("the configuration");
        }
        if self.header.bits != other.header.bits || self.header.hardening != other.header.hardening {
            return differ("length or hardening");
        }
        Ok(())
    }

    /// The bytes of a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).unwrap_or_default();
        let mut bytes = Vec::with_capacity(self.words.len() * 8 + header.len() + 64);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&header);
        self.words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        let digest = blake3::hash(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        bytes
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// What is wrong, at which byte.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin like one")?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or("it ends before its header")?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST_HEADER || length > rest.len() {
            return Err("the length of its header is wrong".to_owned());
        }
        let (header, rest) = rest.split_at(length);
        // The parser's own words could repeat bytes of the file.
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| format!("its header cannot be read at column {}", error.column()))?;
        let Header { bits, records, .. } = header;
        if !(128..=8192).contains(&bits) || !bits.is_power_of_two() {
            return Err("the length of a filter is wrong".to_owned());
        }
        let (filters, digest) = rest.split_last_chunk::<32>().ok_or("it ends before its digest")?;
        let expected = records.checked_mul(u64::from(bits / 8));
        if expected != Some(filters.len() as u64) || records > u64::from(u32::MAX / 4) {
            return Err(format!("{} bytes of filters do not fit its number of records", filters.len()));
        }
        if blake3::hash(&bytes[..bytes.len() - 32]).as_bytes() != digest {
            return Err("its digest does not fit: the file was damaged or changed".to_owned());
        }
        let words = filters.chunks_exact(8).map(|word| word.try_into().map(u64::from_le_bytes).unwrap_or_default());
        Ok(Self { header, words: words.collect() })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`LinkError::File`] when it cannot be read, [`LinkError::Encoded`] when it is damaged.
    pub fn read(path: &Path) -> Result<Self, LinkError> {
        let bytes = std::fs::read(path).map_err(|error| wrong(path, format!("cannot be read: {}", error.kind())))?;
        Self::from_bytes(&bytes).map_err(|problem| match wrong(path, problem) {
            LinkError::File { file, problem } => LinkError::Encoded { file, problem },
            other => other,
        })
    }

    /// Writes a file, whole or not at all, readable by its owner only.
    ///
    /// # Errors
    /// [`LinkError::File`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LinkError> {
        let bytes = self.to_bytes();
        write_whole(path, |file: &mut dyn Write| file.write_all(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Encoded {
        let header = Header {
            bits: 128,
            records: 3,
            hardening: Hardening::None,
            scheme: "s".to_owned(),
            key_check: "k".to_owned(),
        };
        Encoded::new(header, vec![1, 2, 3, u64::MAX, 0, 0])
    }

    #[test]
    fn a_file_is_read_back_and_every_damage_is_found() {
        let bytes = sample().to_bytes();
        assert_eq!(Encoded::from_bytes(&bytes), Ok(sample()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Encoded::from_bytes(&damaged).is_err(), "byte {at}");
            assert!(Encoded::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_header_cannot_ask_for_memory_that_the_file_does_not_have() {
        let mut large = sample();
        large.header.records = u64::MAX;
        assert!(Encoded::from_bytes(&large.to_bytes()).unwrap_err().contains("do not fit"));
        let mut bytes = sample().to_bytes();
        bytes[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Encoded::from_bytes(&bytes).unwrap_err().contains("length of its header"));
    }
}
