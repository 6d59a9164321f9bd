//! Journalist risk, counted in a table of the population.

use crate::{Risk, real};

/// Journalist risk: the attacker knows only that the person is in the population, and has a table of it. The risk of a row
/// is 1 / people of the population in its class.
///
/// `classes`: rows and people of the population in each class. Where fewer people than rows are listed, the table does not
/// hold the whole population; then the rows themselves are the people known to be there. `threshold`: risk above which
/// rows count as at risk, 0 to 1.
///
/// The average is the larger of two directions of attack: from a row to the people of its class (Σ fⱼ/Fⱼ / n), and from a
/// person to the rows (number of classes / Σ Fⱼ) (El Emam, "Guide to the De-Identification of Personal Health
/// Information", CRC Press 2013, ch. 16).
///
/// ```
/// use acequia_privacy::journalist;
/// // Two rows of whom the population holds eight people, four rows of whom it holds four.
/// let risk = journalist([(2, 8), (4, 4)], 0.2);
/// assert_eq!((risk.maximum, risk.at_risk_share), (0.25, 4.0 / 6.0));
/// assert!((risk.average - (2.0 / 8.0 + 4.0 / 4.0) / 6.0).abs() < 1e-12);
/// ```
pub fn journalist(classes: impl IntoIterator<Item = (u64, u64)>, threshold: f64) -> Risk {
    let (mut rows, mut people, mut count, mut at_risk) = (0, 0, 0, 0);
    let (mut maximum, mut sum) = (0.0_f64, 0.0);
    for (sample, population) in classes.into_iter().filter(|(sample, _)| *sample > 0) {
        let population = population.max(sample);
        let risk = 1.0 / real(population);
        maximum = maximum.max(risk);
        sum += real(sample) * risk;
        at_risk += if risk > threshold { sample } else { 0 };
        rows += sample;
        people += population;
        count += 1;
    }
    if rows == 0 {
        return Risk { maximum: 0.0, average: 0.0, at_risk_share: 0.0 };
    }
    let average = (sum / real(rows)).max(real(count) / real(people));
    Risk { maximum, average, at_risk_share: real(at_risk) / real(rows) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Classes;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_population_never_raises_the_risk(pairs in proptest::collection::vec((1..40_u64, 0..90_u64), 1..30)) {
            let prosecutor = Classes::of(pairs.iter().map(|pair| pair.0)).prosecutor(0.09);
            let journalist = journalist(pairs.iter().copied(), 0.09);
            prop_assert!(journalist.maximum <= prosecutor.maximum + 1e-12);
            prop_assert!(journalist.average <= prosecutor.average + 1e-12);
            prop_assert!(journalist.at_risk_share <= prosecutor.at_risk_share + 1e-12);
        }

        #[test]
        fn a_sample_that_is_the_population_has_the_risk_of_the_prosecutor(sizes in proptest::collection::vec(1..40_u64, 1..30)) {
            let prosecutor = Classes::of(sizes.iter().copied()).prosecutor(0.09);
            let risk = journalist(sizes.iter().map(|size| (*size, *size)), 0.09);
            prop_assert!((risk.maximum - prosecutor.maximum).abs() < 1e-12 && (risk.average - prosecutor.average).abs() < 1e-12);
        }
    }
}
