//! Date shift: all days of a person are moved by the same number of days, over all tables, so that every interval stays
//! exactly what it was and no day is the day it was.
//!
//! The number comes from a keyed hash of the person: without the key nobody can compute it, and with the key it is the same
//! in every table and every version. It is uniform over the multiples of `step_days` up to `days_max` in both directions.
//!
//! *What a shift does not hide.* Who knows how the calendar looks can try to undo it, and [`recovery`] tries, before
//! anything is written. Four things tell: weekdays (clinics close on Sundays), edges (nothing lies before the first day of
//! collection), codes that belong to a time (a pandemic, a new drug), and seasons. Whole weeks (`step_days = 7`, the default)
//! keep the weekday of every day, so weekdays say nothing about the shift; they themselves are then released as they are,
//! and the receipt says so. With a `window`, rows are left out that could not be where they are under every shift. Codes
//! that belong to a time are blanked, most telling first, until the attacker finds no more shifts than by chance and five
//! in a hundred.
//!
//! *Births.* A day that others know would tell the shift to whoever knows it. So of a birth only the year of the moved day is
//! kept, which keeps ages right to the year, and nothing of people who are over 89. The attacker knows the true day.
//!
//! ```
//! use acequia_deidentify::{DateShift, ShiftKey};
//! let shift = DateShift { key: "dates.key".into(), days_max: 364, step_days: 7 }.shift(&ShiftKey::from_bytes([7; 32]));
//! assert_eq!(shift.days("p-1"), shift.days("p-1"));
//! assert_eq!((shift.days("p-1") % 7, shift.count()), (0, 105));
//! assert!(shift.days("p-1").abs() <= 364);
//! ```

mod key;
pub(crate) mod recovery;
mod tables;

use acequia_types::{Day, parse_day};
use chrono::Days;
use serde::{Deserialize, Serialize};

use crate::DeidentifyError;
use crate::transform::wrong;

pub use key::ShiftKey;
pub use recovery::Recovery;
pub use tables::{ShiftPlan, ShiftReceipt, ShiftedTable, TablePlan, Window, shift_files, shift_tables};

/// Fewest shifts to choose from: with fewer, a guess is right more often than once in twenty.
const FEWEST: u64 = 21;

/// How far days are moved. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DateShift {
    /// File of the key, beside the policy; see [`ShiftKey`].
    pub key: String,
    /// Largest shift, in days, in both directions.
    pub days_max: u32,
    /// Shifts are multiples of so many days: 7 keeps weekdays.
    #[serde(default = "week")]
    pub step_days: u32,
}

pub(crate) fn week() -> u32 {
    7
}

impl DateShift {
    /// Refuses settings that do not hide enough, or that leave the calendar.
    pub(crate) fn check(&self) -> Result<(), DeidentifyError> {
        if self.step_days == 0 || self.days_max > 36_525 {
            return Err(wrong("date_shift: step_days must be at least 1, and days_max at most 36525".to_owned()));
        }
        if u64::from(self.days_max / self.step_days) * 2 + 1 < FEWEST {
            return Err(wrong(format!(
                "date_shift: there must be at least {FEWEST} shifts to choose from: days_max at least {}",
                u64::from(self.step_days) * (FEWEST / 2)
            )));
        }
        Ok(())
    }

    /// The shifts under a key.
    pub fn shift(&self, key: &ShiftKey) -> PersonShift {
        PersonShift {
            shift: key.derived("acequia date shift v1"),
            pseudonym: key.derived("acequia person pseudonym v1"),
            step: i64::from(self.step_days.max(1)),
            steps_max: i64::from(self.days_max / self.step_days.max(1)),
        }
    }
}

/// The shift of every person.
#[derive(Clone)]
pub struct PersonShift {
    shift: [u8; 32],
    pseudonym: [u8; 32],
    step: i64,
    steps_max: i64,
}

impl std::fmt::Debug for PersonShift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonShift(…)")
    }
}

impl PersonShift {
    /// Days by which the days of a person are moved.
    pub fn days(&self, person: &str) -> i64 {
        let hash = blake3::keyed_hash(&self.shift, person.as_bytes());
        let first = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"));
        self.nth(first)
    }

    /// The shift that 64 random bits choose. The high half of a product is uniform but for 2^-48.
    pub(crate) fn nth(&self, bits: u64) -> i64 {
        let chosen = (u128::from(bits) * u128::from(self.count())) >> 64;
        (i64::try_from(chosen).unwrap_or(0) - self.steps_max) * self.step
    }

    /// How many shifts there are.
    pub fn count(&self) -> u64 {
        u64::try_from(self.steps_max).unwrap_or(0) * 2 + 1
    }

    /// All shifts, in days.
    pub(crate) fn all(&self) -> impl Iterator<Item = i64> {
        let step = self.step;
        (-self.steps_max..=self.steps_max).map(move |steps| steps * step)
    }

    /// What stands for a person in released tables: 32 hex digits.
    pub fn pseudonym(&self, person: &str) -> String {
        blake3::keyed_hash(&self.pseudonym, person.as_bytes()).to_hex()[..32].to_owned()
    }
}

/// A day, or a day and a time behind it, moved; the time stays. Nothing when the text does not begin with a day.
pub(crate) fn shifted_text(text: &str, days: i64) -> Option<String> {
    let (day, rest) = day_of(text)?;
    let moved = moved(day, days)?;
    Some(format!("{}{rest}", moved.format("%Y-%m-%d")))
}

/// The day that a text begins with, and what follows.
pub(crate) fn day_of(text: &str) -> Option<(Day, &str)> {
    let (day, rest) = text.split_at_checked(10)?;
    if !rest.is_empty() && !rest.starts_with(['T', ' ']) {
        return None;
    }
    Some((parse_day(day)?, rest))
}

fn moved(day: Day, days: i64) -> Option<Day> {
    let by = Days::new(days.unsigned_abs());
    if days < 0 { day.checked_sub_days(by) } else { day.checked_add_days(by) }
}

/// Days since 1970-01-01.
pub(crate) fn since_epoch(day: Day) -> i64 {
    day.signed_duration_since(Day::default()).num_days()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(days_max: u32, step_days: u32) -> PersonShift {
        DateShift { key: "k".into(), days_max, step_days }.shift(&ShiftKey::from_bytes([3; 32]))
    }

    #[test]
    fn shifts_are_uniform_over_the_stated_range() {
        let shift = shift(70, 7);
        let mut counts = std::collections::BTreeMap::new();
        for person in 0..42_000 {
            *counts.entry(shift.days(&person.to_string())).or_insert(0_u64) += 1;
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), shift.all().collect::<Vec<_>>());
        let expected = 42_000.0 / 21.0;
        let chi: f64 = counts.values().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        // Chi-squared with 20 degrees of freedom is above 60 less than once in 100,000 keys; the key is fixed.
        assert!(chi < 60.0, "{chi}");
    }

    #[test]
    fn texts_move_by_days_and_keep_their_time() {
        assert_eq!(shifted_text("2024-02-28", 2).as_deref(), Some("2024-03-01"));
        assert_eq!(shifted_text("2024-03-01T23:59:59.5+02:00", -1).as_deref(), Some("2024-02-29T23:59:59.5+02:00"));
        for bad in ["", "2024", "2024-13-01", "2024-01-01x", "01.02.2024", "é024-01-01"] {
            assert_eq!(shifted_text(bad, 1), None);
        }
    }

    #[test]
    fn too_few_shifts_are_refused() {
        let of = |days_max, step_days| DateShift { key: "k".into(), days_max, step_days }.check();
        assert!(of(70, 7).is_ok() && of(10, 1).is_ok());
        assert!(of(69, 7).is_err() && of(9, 1).is_err() && of(5, 0).is_err() && of(40_000, 7).is_err());
    }
}
