//! LKC-privacy: whoever knows at most L values of a person finds at least K persons, and infers no sensitive value of theirs
//! with a confidence above C (Mohammed, Fung, Hung and Lee, "Anonymizing healthcare data: a case study on the blood
//! transfusion service", KDD 2009, definition 3.1). Here the L values are items, and the demographics are known besides:
//! a stronger attacker, for whom the first half is (k,k^m)-anonymity with m = L.

use super::Value;
use super::km_anonymity::each_combination;
use crate::real;

/// The highest confidence with which any sensitive value is inferred in one class of persons who agree in all demographics,
/// over all combinations of at most `l` items that occur in it. `persons`: the items of each, ascending and distinct;
/// `sensitive`: the value of each; `guarded`: the values that must not be inferred, all when empty.
pub fn item_confidence(persons: &[&[Value]], sensitive: &[Value], guarded: &[Value], l: usize) -> f64 {
    let mut highest = 0.0_f64;
    let mut counts = vec![0_u64; sensitive.iter().max().map_or(0, |most| *most as usize + 1)];
    each_combination(persons, l, &mut |_, who| {
        let value = |person: &u32| sensitive[*person as usize];
        who.iter().for_each(|person| counts[value(person) as usize] += 1);
        for person in who {
            let count = std::mem::take(&mut counts[value(person) as usize]);
            if count > 0 && (guarded.is_empty() || guarded.contains(&value(person))) {
                highest = highest.max(real(count) / real(who.len() as u64));
            }
        }
    });
    highest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_hand_count() {
        let persons: [&[Value]; 4] = [&[1, 2], &[1, 2], &[1], &[2]];
        let sensitive = [0, 0, 1, 1];
        assert_eq!(item_confidence(&persons, &sensitive, &[], 0), 0.5);
        assert_eq!(item_confidence(&persons, &sensitive, &[], 1), 2.0 / 3.0);
        assert_eq!(item_confidence(&persons, &sensitive, &[], 2), 1.0, "who has both has value 0");
        assert_eq!(item_confidence(&persons, &sensitive, &[1], 2), 0.5, "value 1 is inferred by the class at best");
    }
}
