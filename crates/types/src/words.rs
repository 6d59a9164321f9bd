//! Numbers as pages and reports write them.

/// A count with a comma between groups of three digits.
///
/// ```
/// assert_eq!(acequia_types::thousands(1_193_504), "1,193,504");
/// assert_eq!(acequia_types::thousands(999), "999");
/// ```
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
