//! JSON whose numbers are read to the last bit.
//!
//! `serde_json` reads a number fast and may miss the nearest double by one unit in the last place. A model would then have
//! another digest after it was read, so numbers are read again from their text by the standard library, which rounds right.

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

/// Reads a document.
///
/// # Errors
/// With line and column, as `serde_json`.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    // Only this way of reading knows the place of a mistake.
    let _: T = serde_json::from_str(text)?;
    let mut value: Value = serde_json::from_str(text)?;
    put(&mut value, &mut literals(text).into_iter());
    serde_json::from_value(value)
}

/// Numbers of a document as they are written, in order.
fn literals(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = at + bytes[at..].iter().take_while(is_part).count();
                all.push(&text[at..end]);
                at = end;
            }
            _ => at += 1,
        }
    }
    all
}

fn put<'a>(value: &mut Value, literals: &mut impl Iterator<Item = &'a str>) {
    match value {
        Value::Number(number) => {
            let exact = literals.next().and_then(|literal| literal.parse().ok()).and_then(Number::from_f64);
            if let (true, Some(exact)) = (number.is_f64(), exact) {
                *number = exact;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, literals)),
        Value::Object(items) => items.values_mut().for_each(|item| put(item, literals)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_comes_back_to_the_last_bit(numbers in prop::collection::vec(any::<f64>().prop_filter("JSON has no others", |x| x.is_finite()), 1..20)) {
            let text = serde_json::to_string(&("a \"-1\\\" 2", &numbers, 7u64)).unwrap();
            let (words, read, whole): (String, Vec<f64>, u64) = from_json(&text).unwrap();
            prop_assert_eq!((words.as_str(), whole), ("a \"-1\\\" 2", 7));
            prop_assert_eq!(read.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
    }
}
