//! Numbers as people read them.

pub(super) use acequia_types::thousands;

/// A share in per cent, with as many decimals as it needs.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent == 0.0 => "0 %".to_owned(),
        _ if percent < 0.01 => "<0.01 %".to_owned(),
        _ if percent < 0.995 => format!("{percent:.2} %"),
        _ if percent < 9.95 => format!("{percent:.1} %"),
        // What is not all must not be read as all.
        _ if (99.5..100.0).contains(&percent) => "99 %".to_owned(),
        _ => format!("{percent:.0} %"),
    }
}

/// A number with at most four decimals, without idle zeros.
pub(super) fn rounded(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1 in N` for a chance in (0, 1], never smaller than it is.
pub(super) fn one_in(chance: f64) -> String {
    // 1/12 as a double is a little below a twelfth's inverse: the nearest whole number is meant then.
    let exact = 1.0 / chance;
    let whole = if (exact - exact.round()).abs() < 1e-9 * exact { exact.round() } else { exact.floor() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a class has fewer than 2^53 rows")]
    let whole = whole.max(1.0) as u64;
    format!("1 in {}", thousands(whole))
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn enumerated(items: &[&str]) -> String {
    match items {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_right() {
        let shares = [0.0, 0.000_01, 0.004, 0.0833, 0.5, 0.9999, 1.0].map(percent);
        assert_eq!(shares, ["0 %", "<0.01 %", "0.40 %", "8.3 %", "50 %", "99 %", "100 %"]);
        assert_eq!([1.0 / 12.0, 0.09, 1.0].map(one_in), ["1 in 12", "1 in 11", "1 in 1"]);
        assert_eq!((thousands(1_193_504), enumerated(&["a", "b", "c"])), ("1,193,504".into(), "a, b and c".into()));
    }
}
