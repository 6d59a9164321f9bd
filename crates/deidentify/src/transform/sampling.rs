//! Sampling: a part of the persons is drawn, and nobody outside knows who.
//!
//! Whether a person is drawn is a keyed hash of the person. Without a key file the key comes from the seed and the table
//! itself, so whoever lacks the table cannot tell; with one, the same persons are drawn from every later version of the table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Transformation, real, shift_step, wrong};
use crate::DeidentifyError;
use crate::file::Rows;
use crate::policy::{Policy, Role};
use crate::shift::recovery::Survey;
use crate::shift::{PersonShift, ShiftKey, day_of, shifted_text, since_epoch};

/// `[sample]` of a policy. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Chance of every person to be drawn, above 0 and at most 1.
    pub share: f64,
    /// Another seed draws others.
    #[serde(default)]
    pub seed: u64,
    /// File of a key; the table's own content without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Sample {
    pub(super) fn check(&self) -> Result<(), DeidentifyError> {
        if self.share > 0.0 && self.share <= 1.0 {
            Ok(())
        } else {
            Err(wrong("sample: share must be above 0 and at most 1".to_owned()))
        }
    }

    /// `content`: 32 bytes that nobody knows who does not have the table.
    pub(crate) fn sampler(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        content: impl FnOnce() -> Result<[u8; 32], DeidentifyError>,
    ) -> Result<Sampler, DeidentifyError> {
        let secret = match &self.key {
            Some(name) => *ShiftKey::of_file(name, files)?.bytes(),
            None => content()?,
        };
        let mut material = secret.to_vec();
        material.extend(self.seed.to_le_bytes());
        Ok(Sampler { key: blake3::derive_key("acequia sample v1", &material), share: self.share })
    }

    /// What is stated of the sample.
    pub(crate) fn stated(&self, rows: u64, drawn: u64) -> Sampling {
        let keyed = match &self.key {
            Some(_) => "a key of the trustee: the same persons in every version",
            None => "the seed and the content of the table",
        };
        let share = if rows == 0 { self.share } else { real(drawn) / real(rows) };
        Sampling { share: self.share, seed: self.seed, keyed_by: keyed.to_owned(), rows, drawn, drawn_share: share }
    }
}

/// What was drawn, for the receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Chance of every person to be drawn.
    pub share: f64,
    /// The seed.
    pub seed: u64,
    /// What keeps others from knowing who was drawn.
    pub keyed_by: String,
    /// Rows there were.
    pub rows: u64,
    /// Rows that were drawn.
    pub drawn: u64,
    /// `drawn` over `rows`.
    pub drawn_share: f64,
}

/// Draws persons.
#[derive(Clone)]
pub(crate) struct Sampler {
    key: [u8; 32],
    share: f64,
}

impl Sampler {
    pub(crate) fn draws(&self, person: &[u8]) -> bool {
        let hash = blake3::keyed_hash(&self.key, person);
        let first = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"));
        // 2^64 as a float; the rounding of 53 bits moves the share by less than 1e-15.
        real(first) < self.share * 18_446_744_073_709_551_616.0
    }
}

/// What is done to rows while they are read.
pub(crate) struct RowWork {
    sampler: Option<Sampler>,
    shift: Option<PersonShift>,
    /// Where the person is.
    person: Option<usize>,
    /// For each column, its name when its days are shifted.
    shifted: Vec<Option<String>>,
    /// How shifted days are spread, for the attack.
    survey: Survey,
    pub(crate) rows: u64,
    pub(crate) drawn: u64,
}

impl RowWork {
    /// Nothing when rows are read as they are.
    pub(crate) fn new(
        policy: &Policy,
        files: &BTreeMap<String, Vec<u8>>,
        headers: &[String],
        table: &Path,
    ) -> Result<Option<Self>, DeidentifyError> {
        let is_shifted = |name: &String| {
            policy
                .columns
                .get(name)
                .and_then(|column| column.transform.as_ref())
                .is_some_and(|transform| transform.shift)
        };
        let shifted: Vec<Option<String>> = headers.iter().map(|name| is_shifted(name).then(|| name.clone())).collect();
        let shift = match &policy.date_shift {
            Some(spec) if shifted.iter().any(Option::is_some) => {
                Some(spec.shift(&ShiftKey::of_file(&spec.key, files)?))
            }
            _ => None,
        };
        let sampler = policy.sample.as_ref().map(|sample| sample.sampler(files, || digest(table))).transpose()?;
        if sampler.is_none() && shift.is_none() {
            return Ok(None);
        }
        let person = policy.of_role(Role::PersonId).next();
        let person = person.and_then(|(name, _)| headers.iter().position(|header| header == name));
        Ok(Some(Self { sampler, shift, person, shifted, survey: Survey::default(), rows: 0, drawn: 0 }))
    }

    /// Whether the row that was just read is drawn.
    pub(crate) fn draws(&mut self, rows: &Rows) -> bool {
        self.rows += 1;
        let drawn = self.sampler.as_ref().is_none_or(|sampler| match self.person.and_then(|at| rows.field(at)) {
            Some(person) => sampler.draws(person.as_bytes()),
            None => sampler.draws(&self.rows.to_le_bytes()),
        });
        self.drawn += u64::from(drawn);
        drawn
    }

    /// What was drawn, and what was shifted, once all rows are read.
    ///
    /// # Errors
    /// [`DeidentifyError::Recovered`] when an attacker finds the shifts of kept days too often.
    pub(crate) fn finish(self, policy: &Policy) -> Result<(Option<Sampling>, Vec<Transformation>), DeidentifyError> {
        let sampling = policy.sample.as_ref().map(|sample| sample.stated(self.rows, self.drawn));
        let columns: Vec<String> = self.shifted.into_iter().flatten().collect();
        let Some((shift, spec)) = self.shift.zip(policy.date_shift.as_ref()) else { return Ok((sampling, Vec::new())) };
        Ok((sampling, vec![shift_step(spec, &shift, &self.survey, columns)?]))
    }

    /// A field of the row that was just read.
    pub(crate) fn field<'r>(&mut self, rows: &'r Rows, at: usize) -> Result<Option<Cow<'r, str>>, DeidentifyError> {
        let Some(text) = rows.field(at) else { return Ok(None) };
        let (Some(shift), Some(column)) = (&self.shift, &self.shifted[at]) else { return Ok(Some(text.into())) };
        let day = day_of(text).map(|(day, _)| since_epoch(day));
        let row = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let refused = |problem| DeidentifyError::Value { row, column: column.clone(), problem };
        let person = self.person.and_then(|at| rows.field(at)).ok_or_else(|| refused("of a row without a person"))?;
        let shifted = shifted_text(text, shift.days(person)).ok_or_else(|| refused("not a day (YYYY-MM-DD)"))?;
        if let Some(day) = day {
            self.survey.event(person, day, None);
        }
        Ok(Some(shifted.into()))
    }
}

/// Digest of a file.
fn digest(path: &Path) -> Result<[u8; 32], DeidentifyError> {
    let failed = |error: std::io::Error| crate::file::wrong(path, format!("cannot be read: {}", error.kind()));
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(failed)?).map_err(failed)?;
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn_and_another_key_draws_others() {
        let sample = Sample { share: 0.3, seed: 1, key: None };
        let drawn = |sample: &Sample, content| {
            let sampler = sample.sampler(&BTreeMap::new(), || Ok([content; 32])).unwrap();
            (0..20_000_u32).map(|person| sampler.draws(&person.to_le_bytes())).collect::<Vec<bool>>()
        };
        let first = drawn(&sample, 1);
        let share = first.iter().filter(|drawn| **drawn).count() as f64 / 20_000.0;
        // Six standard deviations: fails by chance less than once in 10^8 keys.
        assert!((share - 0.3).abs() < 6.0 * (0.3_f64 * 0.7 / 20_000.0).sqrt(), "{share}");
        assert_eq!(first, drawn(&sample, 1));
        for other in [drawn(&sample, 2), drawn(&Sample { seed: 2, ..sample }, 1)] {
            let both = first.iter().zip(&other).filter(|(a, b)| **a && **b).count() as f64 / 20_000.0;
            assert!((both - 0.09).abs() < 0.02, "draws are independent: {both}");
        }
    }
}
