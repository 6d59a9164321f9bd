//! Long lists of numbers: plain lists where people read them (JSON), little-endian bytes in pieces where programs do (CBOR).
//! Number by number, a million of them would take longer to read than to sum; in one piece, they would be in memory twice.

use std::fmt;

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WIDTH: usize = size_of::<f64>();
/// Numbers in a piece: as much as readers of CBOR take from their stack.
const PIECE: usize = 4096 / WIDTH;
/// Numbers that room is made for before they are there.
const FORESEEN: usize = 1 << 22;

/// Numbers on their way out.
struct Out<'a>(&'a [f64]);

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut pieces = serializer.serialize_seq(Some(self.0.len().div_ceil(PIECE)))?;
        for numbers in self.0.chunks(PIECE) {
            pieces.serialize_element(&Piece(numbers))?;
        }
        pieces.end()
    }
}

struct Piece<'a>(&'a [f64]);

impl Serialize for Piece<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; PIECE * WIDTH];
        for (bytes, number) in bytes.as_chunks_mut::<WIDTH>().0.iter_mut().zip(self.0) {
            *bytes = number.to_le_bytes();
        }
        serializer.serialize_bytes(&bytes[..self.0.len() * WIDTH])
    }
}

/// Numbers that were read, in either form.
#[derive(Default)]
struct In(Vec<f64>);

impl<'de> Deserialize<'de> for In {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_seq(Self::default()),
            // A plain byte string would be read as a list of small numbers.
            false => deserializer.deserialize_any(Self::default()),
        }
    }
}

impl<'de> Visitor<'de> for In {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self, A::Error> {
        let left = list.size_hint().unwrap_or(0);
        while list.next_element_seed(More { to: &mut self.0, left })?.is_some() {}
        // Room was made for what the list said it holds.
        self.0.shrink_to_fit();
        Ok(self)
    }
}

/// A number or a piece of them, put behind those that were read.
struct More<'v> {
    to: &'v mut Vec<f64>,
    left: usize,
}

impl<'de> DeserializeSeed<'de> for More<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for More<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or bytes of numbers")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        let (numbers, rest) = bytes.as_chunks::<WIDTH>();
        if !rest.is_empty() {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        if self.to.is_empty() {
            self.to.reserve_exact(self.left.saturating_mul(numbers.len()).min(FORESEEN));
        }
        self.to.extend(numbers.iter().map(|number| f64::from_le_bytes(*number)));
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.to.push(number);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "as serde reads whole numbers where floats are wanted")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "as serde reads whole numbers where floats are wanted")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }
}

pub(crate) fn serialize<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    Out(numbers).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    In::deserialize(deserializer).map(|numbers| numbers.0)
}

/// Lists of such lists.
pub(crate) mod lists {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(lists: &[Vec<f64>], serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(lists.len()))?;
        for list in lists {
            all.serialize_element(&Out(list))?;
        }
        all.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<f64>>, D::Error> {
        Ok(Vec::<In>::deserialize(deserializer)?.into_iter().map(|list| list.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        #[serde(with = "super")]
        one: Vec<f64>,
        #[serde(with = "super::lists")]
        many: Vec<Vec<f64>>,
    }

    fn cbor(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn both_forms_keep_every_bit_and_each_reader_takes_both() {
        // Several pieces, the last of them short.
        let one: Vec<f64> =
            (0..3000).map(|at| f64::from(at) / 7.0 - 1.0).chain([-0.0, f64::MIN_POSITIVE, 0.1]).collect();
        let both = Both { many: vec![one.clone(), Vec::new(), vec![1.5]], one };
        let text = serde_json::to_string(&both).unwrap();
        assert!(text.starts_with("{\"one\":[-1.0,"), "people read a list");
        assert_eq!(serde_json::from_str::<Both>(&text).unwrap(), both);
        let bytes = cbor(&both);
        assert!(bytes.len() < 2 * 3003 * WIDTH + 100, "eight bytes a number");
        assert_eq!(ciborium::from_reader::<Both, _>(bytes.as_slice()).unwrap(), both);
        let lists = cbor(&serde_json::from_str::<serde_json::Value>(&text).unwrap());
        assert_eq!(ciborium::from_reader::<Both, _>(lists.as_slice()).unwrap(), both);
        assert_eq!(serde_json::from_str::<Both>("{\"one\":[1,-2],\"many\":[]}").unwrap().one, [1.0, -2.0]);
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        #[derive(Debug, Serialize)]
        struct Raw<'a> {
            one: ciborium::Value,
            many: &'a [ciborium::Value],
        }
        let list = |value| ciborium::Value::Array(vec![value]);
        let bytes = |length| ciborium::Value::Bytes(vec![0; length]);
        let text = || ciborium::Value::Text("x".to_owned());
        for bad in [list(bytes(9)), bytes(8), list(text()), text(), ciborium::Value::Null] {
            let bytes = cbor(&Raw { one: bad, many: &[] });
            assert!(ciborium::from_reader::<Both, _>(bytes.as_slice()).is_err());
        }
    }
}
