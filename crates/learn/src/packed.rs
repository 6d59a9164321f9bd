//! Long lists of numbers: plain lists where people read them (JSON), little-endian bytes where programs do (CBOR). Bytes are
//! copied; number by number, a million of them would take longer to read than to sum.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WIDTH: usize = size_of::<f64>();

/// Numbers on their way out.
struct Out<'a>(&'a [f64]);

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let bytes: Vec<u8> = self.0.iter().flat_map(|number| number.to_le_bytes()).collect();
        serializer.serialize_bytes(&bytes)
    }
}

/// Numbers that were read, in either form.
struct In(Vec<f64>);

impl<'de> Deserialize<'de> for In {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = In;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<In, E> {
                let (numbers, rest) = bytes.as_chunks::<WIDTH>();
                if !rest.is_empty() {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(In(numbers.iter().map(|number| f64::from_le_bytes(*number)).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<In, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = list.next_element()? {
                    numbers.push(number);
                }
                Ok(In(numbers))
            }
        }
        deserializer.deserialize_any(Either)
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
        // Longer than what a reader keeps on its stack.
        let one: Vec<f64> =
            (0..3000).map(|at| f64::from(at) / 7.0 - 1.0).chain([-0.0, f64::MIN_POSITIVE, 0.1]).collect();
        let both = Both { many: vec![one.clone(), Vec::new(), vec![1.5]], one };
        let text = serde_json::to_string(&both).unwrap();
        assert!(text.starts_with("{\"one\":[-1.0,"), "people read a list");
        assert_eq!(serde_json::from_str::<Both>(&text).unwrap(), both);
        let bytes = cbor(&both);
        assert!(bytes.len() < 2 * 3003 * WIDTH + 50, "eight bytes a number");
        assert_eq!(ciborium::from_reader::<Both, _>(bytes.as_slice()).unwrap(), both);
        let lists = cbor(&serde_json::from_str::<serde_json::Value>(&text).unwrap());
        assert_eq!(ciborium::from_reader::<Both, _>(lists.as_slice()).unwrap(), both);
    }

    #[test]
    fn half_a_number_is_none() {
        #[derive(Debug, Serialize)]
        struct Raw<'a> {
            one: ciborium::Value,
            many: &'a [ciborium::Value],
        }
        for bad in [ciborium::Value::Bytes(vec![0; 9]), ciborium::Value::Text("x".to_owned()), ciborium::Value::Null] {
            let bytes = cbor(&Raw { one: bad, many: &[] });
            assert!(ciborium::from_reader::<Both, _>(bytes.as_slice()).is_err());
        }
    }
}
