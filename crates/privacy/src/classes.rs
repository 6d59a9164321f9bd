//! Sizes of equivalence classes and the risk they mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::real;

/// Sizes of equivalence classes, as size → number of classes of that size. Classes of size 0 do not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classes {
    by_size: BTreeMap<u64, u64>,
}

/// Re-identification risk under one attacker. Probabilities from 0 to 1; all 0 when there are no rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    /// Highest risk of any row.
    pub maximum: f64,
    /// Mean risk over rows.
    pub average: f64,
    /// Share of rows whose risk is above the threshold.
    pub at_risk_share: f64,
}

impl Classes {
    /// Takes the size of each class.
    pub fn of(sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut by_size = BTreeMap::new();
        for size in sizes.into_iter().filter(|size| *size > 0) {
            *by_size.entry(size).or_default() += 1;
        }
        Self { by_size }
    }

    /// Number of classes.
    pub fn count(&self) -> u64 {
        self.by_size.values().sum()
    }

    /// Number of rows in all classes.
    pub fn rows(&self) -> u64 {
        self.by_size.iter().map(|(size, classes)| size * classes).sum()
    }

    /// Size of the smallest class: the k of k-anonymity (Sweeney, "k-anonymity: a model for protecting privacy",
    /// IJUFKS 10(5), 2002).
    pub fn smallest(&self) -> Option<u64> {
        self.by_size.keys().next().copied()
    }

    /// Mean size of a class.
    pub fn average_size(&self) -> f64 {
        if self.by_size.is_empty() { 0.0 } else { real(self.rows()) / real(self.count()) }
    }

    /// Size → number of classes, ascending.
    pub fn by_size(&self) -> &BTreeMap<u64, u64> {
        &self.by_size
    }

    /// Prosecutor risk: the attacker knows that the person is in the data. The risk of a row is 1 / size of its class
    /// (El Emam, "Guide to the De-Identification of Personal Health Information", CRC Press 2013, ch. 16).
    pub fn prosecutor(&self, threshold: f64) -> Risk {
        let Some(smallest) = self.smallest() else { return Risk { maximum: 0.0, average: 0.0, at_risk_share: 0.0 } };
        let above = self.by_size.iter().filter(|(size, _)| 1.0 / real(**size) > threshold);
        let at_risk: u64 = above.map(|(size, classes)| size * classes).sum();
        Risk {
            maximum: 1.0 / real(smallest),
            // The mean of 1/size over rows is the number of classes over the number of rows.
            average: real(self.count()) / real(self.rows()),
            at_risk_share: real(at_risk) / real(self.rows()),
        }
    }

    /// Journalist risk without a population table: the attacker knows only that the person is in the population. With no
    /// table to count the population's classes, each is taken to be no larger than the sample's, which makes the risk an
    /// upper bound equal to the prosecutor's (El Emam 2013, ch. 16).
    pub fn journalist_upper_bound(&self, threshold: f64) -> Risk {
        self.prosecutor(threshold)
    }

    /// Marketer risk: expected share of rows matched correctly when all are matched (El Emam 2013, ch. 16).
    pub fn marketer(&self) -> f64 {
        if self.by_size.is_empty() { 0.0 } else { real(self.count()) / real(self.rows()) }
    }

    /// Discernibility: each row costs the size of its class, a suppressed row costs the size of the table (Bayardo and
    /// Agrawal, "Data privacy through optimal k-anonymization", ICDE 2005).
    pub fn discernibility(&self, suppressed: u64) -> u64 {
        let total = self.rows() + suppressed;
        self.by_size.iter().map(|(size, classes)| size * size * classes).sum::<u64>() + suppressed * total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn measures_of_an_empty_table_are_zero() {
        let none = Classes::default();
        assert_eq!((none.rows(), none.smallest(), none.marketer()), (0, None, 0.0));
        assert_eq!(none.prosecutor(0.1).maximum, 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn risks_are_ordered(sizes in proptest::collection::vec(1..60_u64, 1..40)) {
            let classes = Classes::of(sizes.iter().copied());
            let risk = classes.prosecutor(0.09);
            let by_row: f64 = sizes.iter().map(|size| *size as f64 * (1.0 / *size as f64)).sum::<f64>() / classes.rows() as f64;
            prop_assert!((risk.average - by_row).abs() < 1e-9);
            prop_assert!(classes.marketer() <= risk.maximum + 1e-12);
            prop_assert!((0.0..=1.0).contains(&risk.at_risk_share));
            prop_assert_eq!(risk.at_risk_share == 0.0, risk.maximum <= 0.09);
        }
    }
}
