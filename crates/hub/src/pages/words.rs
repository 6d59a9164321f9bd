//! Numbers and names as people read them.

pub(super) use acequia_types::thousands;

/// `1 person`, `2 people`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A length in bytes, kilobytes (1,000 bytes) and so on.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return counted(bytes, "byte", "bytes");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A number with at most `decimals` decimals, without idle zeros.
pub(super) fn rounded(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The `N` of "at most 1 in N" for a chance in (0, 1], rounded so that the statement stays true.
pub(super) fn one_in(chance: f64) -> u64 {
    // A chance written with few decimals (0.0833) must not turn 12 into 11 only for that.
    let exact = 1.0 / chance;
    let nearest = exact.round();
    let n = if (exact - nearest).abs() <= nearest * 1e-3 && nearest < 500.0 { nearest } else { exact.floor() };
    n.max(1.0) as u64
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn enumerated(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Where a licence's text stands: Creative Commons' own page, or the SPDX list's. Others have none that is known.
pub(crate) fn license_address(spdx: &str) -> Option<String> {
    let plain = !spdx.is_empty()
        && !spdx.starts_with("LicenseRef-")
        && spdx.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b));
    if !plain {
        return None;
    }
    let lower = spdx.to_ascii_lowercase();
    if lower == "cc0-1.0" {
        return Some("https://creativecommons.org/publicdomain/zero/1.0/".to_owned());
    }
    if let Some((kind, version)) = lower.strip_prefix("cc-").and_then(|rest| rest.rsplit_once('-'))
        && matches!(kind, "by" | "by-sa" | "by-nc" | "by-nd" | "by-nc-sa" | "by-nc-nd")
    {
        return Some(format!("https://creativecommons.org/licenses/{kind}/{version}/"));
    }
    Some(format!("https://spdx.org/licenses/{spdx}.html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1000, 3668, 1_234_567].map(thousands), ["0", "999", "1,000", "3,668", "1,234,567"]);
        assert_eq!(
            [1, 999, 1500, 12_345, 999_600, 5_000_000_000].map(size),
            ["1 byte", "999 bytes", "1.5 kB", "12 kB", "1.0 MB", "5.0 GB"]
        );
        assert_eq!(rounded(54.0, 1), "54");
        assert_eq!(rounded(100.0, 0), "100");
        assert_eq!(rounded(-0.001, 1), "0");
        assert_eq!(rounded(2.345, 2), "2.35");
    }

    #[test]
    fn one_in_n_is_never_too_good() {
        assert_eq!(one_in(1.0 / 12.0), 12);
        assert_eq!(one_in(0.0833), 12);
        assert_eq!(one_in(0.083_333_333), 12);
        assert_eq!(one_in(0.09), 11);
        assert_eq!(one_in(1.0), 1);
        assert_eq!(one_in(0.6), 1);
    }

    #[test]
    fn licences() {
        assert_eq!(license_address("CC-BY-4.0").as_deref(), Some("https://creativecommons.org/licenses/by/4.0/"));
        assert_eq!(license_address("ODbL-1.0").as_deref(), Some("https://spdx.org/licenses/ODbL-1.0.html"));
        assert_eq!(license_address("my \"licence\""), None);
        assert_eq!(license_address("LicenseRef-data-use-agreement"), None);
    }
}
