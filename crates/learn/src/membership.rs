//! Membership inference: can somebody who has the model and a person's row tell whether the model learned from it?
//!
//! The plan is run again on half of the rows, drawn by a digest of each row, and the attacker is told the loss of every row
//! under that model: rows it learned from fit better, if it remembers them (Yeom et al. 2018, section 3.2). A model of half of
//! the rows remembers each of them rather more than the model of all does, so the test errs to the safe side. For a Cox model
//! the loss uses the steps of its baseline hazard: an event at a time without a step was surely not learned from.

use acequia_types::{Timestamp, digest_named};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::extraction::{Extraction, extraction};
use crate::local::{Architecture, run_here};
use crate::model::{Form, Model, Score};
use crate::plan::{Link, Plan, PrivacyRule, Protection, Task};
use crate::protocol::SeededEntropy;
use crate::sovereignty::SiteRules;
use crate::table::Data;
use crate::tasks::{Outcome, contribution};
use crate::validate::area_under_curve;

/// What a membership-inference test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Membership {
    /// The attack was run.
    LossThreshold {
        /// Rows the attacked model learned from.
        rows_in: u64,
        /// Rows it did not see.
        rows_out: u64,
        /// Probability that a row of the first has a smaller loss than one of the second; one half is guessing.
        auc: f64,
        /// Its 95 % interval (DeLong et al. 1988).
        interval: (f64, f64),
        /// Largest difference of true and false positives over all thresholds (the advantage of Yeom et al. 2018).
        advantage: f64,
        /// Share of members found where one other row in a hundred is taken for one (Carlini et al. 2022).
        found_at_one_percent: f64,
        /// Whether a person's missing column can be told, and better if the model learned from her.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extraction: Option<Extraction>,
    },
    /// Each site attacked a model of half of its own rows, which remembers each of them more than the model of all does, and none
    /// was told better than the plan allows. What each found stays there.
    AtSites {
        /// Sites that attacked.
        sites: u64,
        /// Largest area under the curve that the plan allows, at the lower end of its 95 % interval.
        allowed: f64,
        /// Sites among them where the attack could not be run, by name: half of their rows give no model.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_run: Vec<String>,
    },
    /// The attack was run on a model that was trained with noise, and stayed within. What it found was computed without noise, and
    /// is not told.
    Within {
        /// Largest area under the curve that the plan allows, at the lower end of its 95 % interval.
        allowed: f64,
    },
    /// The attack could not be run: half of the rows give no model.
    NotRun {
        /// Why.
        reason: String,
    },
}

impl Membership {
    /// The finding in a sentence.
    pub fn words(&self) -> String {
        match self {
            Self::LossThreshold { auc, interval, advantage, found_at_one_percent, rows_in, rows_out, extraction } => {
                format!(
                    "An attacker with the model and a row guesses from the row's loss whether it was learned from: area under the curve {auc:.3} (95 % interval {:.3} to {:.3}; 0.5 is guessing). At the best threshold, true alarms exceed false ones by {:.1} % of rows; at one false alarm in a hundred, {:.1} % of members are found.{} Measured on a model of {rows_in} rows against {rows_out} others.",
                    interval.0,
                    interval.1,
                    advantage * 100.0,
                    found_at_one_percent * 100.0,
                    extraction.as_ref().map_or(String::new(), |found| format!(" {}", found.words()))
                )
            }
            Self::AtSites { sites, allowed, not_run } => format!(
                "Each of {sites} sites attacked a model of half of its own rows, which remembers each of them more than this model does. At none was the lower end of the area's 95 % interval above {allowed:.3}; what each found stays there.{}",
                match not_run.as_slice() {
                    [] => String::new(),
                    some => format!(" But at {} it could not be run: half of the rows give no model.", some.join(", ")),
                }
            ),
            Self::Within { allowed } => format!(
                "An attacker with the model and a row guessed whether it was learned from. The lower end of the area's 95 % interval was not above {allowed:.3}; the figures would tell of the rows without noise, and stay out."
            ),
            Self::NotRun { reason } => format!("Not run: {reason}."),
        }
    }
}

/// Attacks what a plan makes of tables that are in this process.
pub fn membership_test(plan: &Plan, tables: &[Data]) -> Membership {
    attack(plan, tables).unwrap_or_else(|error| Membership::NotRun { reason: error.to_string() })
}

fn attack(plan: &Plan, tables: &[Data]) -> Result<Membership, LearnError> {
    let mut half = plan.clone();
    // Nothing leaves: these are rules for answers to others.
    half.aggregation.protection = Protection::None;
    half.privacy = PrivacyRule { minimum_rows: 1, minimum_sites: 1, ..half.privacy };
    half.last_day = None;
    let digest = plan.digest();
    let is_in = |mark: u64| {
        let row = mark.to_le_bytes();
        let parts = [("plan", digest.as_bytes().as_slice()), ("row", row.as_slice())];
        digest_named("acequia membership 1", parts).as_bytes()[0] % 2 == 0
    };
    let split = |table: &Data, wanted: bool| {
        let rows: Vec<usize> = (0..table.rows).filter(|row| is_in(table.marks[*row]) == wanted).collect();
        table.pick(&rows)
    };
    let learned: Vec<Data> = tables.iter().map(|table| split(table, true)).collect();
    let others: Vec<Data> = tables.iter().map(|table| split(table, false)).collect();
    let now = Timestamp::from_unix_s(0);
    let run = run_here(
        &half,
        learned.clone(),
        Architecture::Centralised,
        &SiteRules::own(),
        now,
        &mut SeededEntropy::new(0),
    )?;
    let Outcome::Model(model) = run.outcome else {
        return Err(LearnError::Estimate { reason: "the result is no model" });
    };
    let fit = |tables: &[Data]| -> Vec<f64> {
        tables.iter().flat_map(|table| losses(plan, &model, table)).map(|loss| -loss).collect()
    };
    let (members, strangers) = (fit(&learned), fit(&others));
    if members.len() < 2 || strangers.len() < 2 {
        return Err(LearnError::Estimate { reason: "there are too few rows to tell members from others" });
    }
    let (auc, error) = area_under_curve(&members, &strangers);
    let (advantage, found_at_one_percent) = thresholds(members, strangers);
    let extraction = extraction(&model, &learned, &others, &|table| losses(plan, &model, table));
    let count = |tables: &[Data]| -> u64 { tables.iter().map(|table| table.rows as u64).sum() };
    Ok(Membership::LossThreshold {
        rows_in: count(&learned),
        rows_out: count(&others),
        auc,
        interval: ((auc - 1.96 * error).max(0.0), (auc + 1.96 * error).min(1.0)),
        advantage,
        found_at_one_percent,
        extraction,
    })
}

/// Negative log-likelihood of each row, up to what all rows share.
fn losses(plan: &Plan, model: &Model, data: &Data) -> Vec<f64> {
    let (predictor, values, event) = data.predicted(model);
    (0..data.rows)
        .map(|row| {
            let (lp, value, event) = (predictor[row], values[row], event[row]);
            match &model.form {
                Form::Linear { .. } => (value - lp) * (value - lp),
                Form::Logistic { .. } | Form::Boosting { .. } | Form::Network { score: Score::LogOdds, .. } => {
                    -contribution(Link::Logit, lp, event).log_likelihood
                }
                Form::Network { score: Score::LogRelativeHazard, .. } => {
                    if event {
                        -lp
                    } else {
                        lp
                    }
                }
                Form::Cox { baseline, .. } if baseline.is_empty() => {
                    // Only the ranking is given away.
                    if event { -lp } else { lp }
                }
                Form::Cox { baseline, .. } => {
                    let width = match &plan.task {
                        Task::Cox { time_grid, .. } => time_grid.days,
                        _ => 1.0,
                    };
                    let cut = plan.outcome.as_ref().and_then(crate::PlanOutcome::cut_days).unwrap_or(f64::INFINITY);
                    let days = ((value / width).ceil() * width).min(cut);
                    let upto = baseline.partition_point(|(at, _)| *at <= days + 1e-9);
                    let hazard = |steps: usize| if steps == 0 { 0.0 } else { baseline[steps - 1].1 };
                    let has_step = upto > 0 && (baseline[upto - 1].0 - days).abs() < 1e-6;
                    let step = if has_step { hazard(upto) - hazard(upto - 1) } else { 0.0 };
                    let cumulative = hazard(upto) * libm::exp(lp);
                    if event { cumulative - libm::log(step) - lp } else { cumulative }
                }
                Form::DiscreteTime { link, ends_days, intercepts, .. } => {
                    let mut begin = 0.0;
                    let mut loss = 0.0;
                    for (end, intercept) in ends_days.iter().zip(intercepts) {
                        if value <= begin {
                            break;
                        }
                        loss -= contribution(*link, intercept + lp, event && value <= *end).log_likelihood;
                        begin = *end;
                    }
                    loss
                }
            }
        })
        .collect()
}

/// Best difference of true and false positives, and true positives where false ones are at most one in a hundred.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn thresholds(mut members: Vec<f64>, mut strangers: Vec<f64>) -> (f64, f64) {
    members.sort_by(|a, b| b.total_cmp(a));
    strangers.sort_by(|a, b| b.total_cmp(a));
    let above = |sorted: &[f64], bound: f64| sorted.partition_point(|score| *score > bound);
    let from = |sorted: &[f64], bound: f64| sorted.partition_point(|score| *score >= bound);
    let share = |count: usize, of: &[f64]| count as f64 / of.len() as f64;
    let advantage = members
        .iter()
        .map(|bound| share(from(&members, *bound), &members) - share(from(&strangers, *bound), &strangers))
        .fold(0.0, f64::max);
    let found = share(above(&members, strangers[strangers.len() / 100]), &members);
    (advantage, found)
}

/// Area under the curve of the attack that only asks whether the loss is below the best threshold, and what is left of it
/// when chance is taken off (the 95 % point of Kolmogorov and Smirnov's distance). It finds what a few rows give away for certain,
/// such as an event on a day without a step of the baseline, where the curve as a whole looks harmless.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn one_threshold(advantage: f64, rows_in: u64, rows_out: u64) -> (f64, f64) {
    let chance = 1.36 * (1.0 / rows_in as f64 + 1.0 / rows_out as f64).sqrt();
    (0.5 + advantage / 2.0, 0.5 + (advantage - chance).max(0.0) / 2.0)
}

impl Model {
    /// The model with the finding of its membership-inference test.
    ///
    /// # Errors
    /// [`LearnError::Tells`] when even the lower end of an attack's interval is above what the plan allows. A model that could not be
    /// attacked says so, and is not published.
    pub fn tested(mut self, membership: Membership, rule: &PrivacyRule) -> Result<Self, LearnError> {
        match membership.within(rule) {
            Ok(()) | Err(LearnError::Untested { .. }) => {}
            Err(error) => return Err(error),
        }
        self.membership = Some(match membership {
            Membership::LossThreshold { .. } if self.differential_privacy.is_some() => {
                Membership::Within { allowed: rule.membership_auc }
            }
            found => found,
        });
        Ok(self)
    }
}

impl Membership {
    /// Whether a plan allows a model with this finding.
    ///
    /// # Errors
    /// [`LearnError::Tells`] when it does not; [`LearnError::Untested`] when nobody knows.
    pub fn within(&self, rule: &PrivacyRule) -> Result<(), LearnError> {
        match self {
            // It was held against the same plan before the figures were left out.
            Self::AtSites { not_run, .. } if !not_run.is_empty() => Err(unattacked(not_run)),
            Self::AtSites { .. } | Self::Within { .. } => Ok(()),
            found => found.at_most(rule.membership_auc),
        }
    }

    /// Whether an attack succeeds no more than this, at the lower end of its 95 % interval.
    ///
    /// # Errors
    /// [`LearnError::Tells`] when it does; [`LearnError::Untested`] when nobody knows.
    pub(crate) fn at_most(&self, allowed: f64) -> Result<(), LearnError> {
        let (auc, low) = match self {
            Self::LossThreshold { auc, interval, advantage, rows_in, rows_out, extraction, .. } => {
                let missing = extraction
                    .as_ref()
                    .map(|found| (0.5 + (found.found_in - found.found_out) / 2.0, 0.5 + found.low / 2.0));
                let attacks = [Some((*auc, interval.0)), Some(one_threshold(*advantage, *rows_in, *rows_out)), missing];
                let best = attacks.into_iter().flatten().max_by(|a, b| a.1.total_cmp(&b.1));
                best.unwrap_or((*auc, interval.0))
            }
            Self::AtSites { not_run, .. } if !not_run.is_empty() => return Err(unattacked(not_run)),
            Self::AtSites { allowed, .. } | Self::Within { allowed } => (*allowed, *allowed),
            Self::NotRun { reason } => return Err(LearnError::Untested { reason: reason.clone() }),
        };
        if low > allowed { Err(LearnError::Tells { auc, low, allowed }) } else { Ok(()) }
    }
}

fn unattacked(sites: &[String]) -> LearnError {
    LearnError::Untested { reason: format!("at {} the attack could not be run", sites.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_attacked_did_not_pass() {
        let rule = crate::Plan::from_toml(
            "schema = \"acequia-plan/1\"\ntitle = \"A\"\ntask = { kind = \"count\" }\nprivacy = { minimum_rows = 10 }\naggregation = { protection = \"none\" }\n",
        );
        let rule = rule.unwrap().privacy;
        let at_sites = |not_run: &[&str]| Membership::AtSites {
            sites: 3,
            allowed: 0.6,
            not_run: not_run.iter().map(|site| (*site).to_owned()).collect(),
        };
        assert!(at_sites(&[]).within(&rule).is_ok());
        for found in [at_sites(&["north"]), Membership::NotRun { reason: "there are no events".to_owned() }] {
            assert!(matches!(found.within(&rule), Err(LearnError::Untested { .. })), "{found:?}");
            assert!(matches!(found.at_most(1.0), Err(LearnError::Untested { .. })), "{found:?}");
        }
        assert!(at_sites(&["north"]).words().contains("at north it could not be run"));
    }

    #[test]
    fn members_that_stand_out_are_found_and_others_are_not() {
        let strangers: Vec<f64> = (0..200).map(f64::from).collect();
        let (advantage, found) =
            thresholds((0..200).map(|score| f64::from(score) + 500.0).collect(), strangers.clone());
        assert_eq!((advantage, found), (1.0, 1.0));
        let (advantage, found) = thresholds(strangers.clone(), strangers);
        assert_eq!(advantage, 0.0);
        assert!(found <= 0.01, "{found}");
    }
}
