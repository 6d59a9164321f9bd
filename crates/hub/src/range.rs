//! Byte ranges of RFC 9110 §14.

use std::ops::Range;

/// What part of a file a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it, status 200.
    Whole,
    /// These bytes, never empty, status 206.
    Part(Range<u64>),
    /// The range lies outside the file, status 416.
    Outside,
}

/// Reads a `Range` header for a file of `size_bytes`.
///
/// A header that is malformed, in another unit, or asks for several ranges is ignored, as §14.2 allows. A suffix longer
/// than the file means the whole file as a part: polars asks for the last 256 KiB of any file.
pub(crate) fn wanted(header: Option<&str>, size_bytes: u64) -> Wanted {
    header.and_then(|text| parse(text, size_bytes)).unwrap_or(Wanted::Whole)
}

fn parse(header: &str, size_bytes: u64) -> Option<Wanted> {
    let (unit, spec) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let part = match (first.trim(), last.trim()) {
        ("", suffix) => size_bytes.saturating_sub(number(suffix)?)..size_bytes,
        (first, "") => number(first)?..size_bytes,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size_bytes)
        }
    };
    Some(if part.is_empty() { Wanted::Outside } else { Wanted::Part(part) })
}

/// Digits only. More of them than fit are a number beyond any file.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_that_clients_send() {
        let at = |header, size| wanted(Some(header), size);
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(at("bytes=0-0", 10), Wanted::Part(0..1));
        assert_eq!(at("bytes=2-5", 10), Wanted::Part(2..6));
        assert_eq!(at("Bytes = 2 - 500", 10), Wanted::Part(2..10));
        assert_eq!(at("bytes=4-", 10), Wanted::Part(4..10));
        assert_eq!(at("bytes=-3", 10), Wanted::Part(7..10));
        assert_eq!(at("bytes=-262144", 10), Wanted::Part(0..10));
        assert_eq!(at("bytes=0-99999999999999999999999", 10), Wanted::Part(0..10));
    }

    #[test]
    fn outside_the_file() {
        for header in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(wanted(Some(header), 10), Wanted::Outside, "{header}");
        }
        for header in ["bytes=0-0", "bytes=0-", "bytes=-5"] {
            assert_eq!(wanted(Some(header), 0), Wanted::Outside, "{header} of an empty file");
        }
    }

    #[test]
    fn malformed_headers_are_ignored() {
        for header in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,3-4", "rows=0-1", "bytes=a-b", "bytes=+1-2"]
        {
            assert_eq!(wanted(Some(header), 10), Wanted::Whole, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_lies_inside(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in any::<u64>()) {
            if let Wanted::Part(part) = wanted(Some(&header), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn a_range_is_what_slicing_gives(first in 0u64..300, last in 0u64..300, size in 0u64..200) {
            let file: Vec<u64> = (0..size).collect();
            let slice: Vec<u64> = file.iter().copied().filter(|i| (first..=last).contains(i)).collect();
            let got = match wanted(Some(&format!("bytes={first}-{last}")), size) {
                Wanted::Part(part) => part.collect(),
                Wanted::Outside => Vec::new(),
                Wanted::Whole => { prop_assert!(last < first); return Ok(()); }
            };
            prop_assert_eq!(got, slice);
        }

        #[test]
        fn any_text_is_answered(header in ".{0,64}", size in any::<u64>()) {
            let _ = wanted(Some(&header), size);
        }
    }
}
