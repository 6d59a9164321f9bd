//! Attacks on the released table, run by ourselves before anybody else can.
//!
//! Each knows the answers, so it can count how often the attacker is right. One file each: what the attacker has, what he
//! does, and what counts as success. After ISO/IEC 27559:2022 (adversarial testing) and Giomi et al., "A unified framework
//! for quantifying privacy risk in synthetic data", PoPETs 2023(2), whose criteria are those of the Article 29 Working
//! Party's opinion 05/2014: singling out, linkability, inference.
//!
//! *Control.* What an attacker learns about somebody who is not in the data either is knowledge about people, not about
//! that person. So inference and linkability are run a second time with the person's own row taken out; only what the row
//! adds is counted as excess.
//!
//! *Order.* Targets and guesses are drawn from a seed, over persons ordered by what they hold: the same table gives the
//! same numbers in whatever order its rows come.

mod downcoding;
mod inference;
mod linkability;
mod matching;
mod scene;
mod singling_out;

use acequia_privacy::{Interval, Risk, clopper_pearson};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::DeidentifyError;
use crate::engine::Recoded;
use crate::policy::Policy;
use crate::verify::Recount;
pub(crate) use scene::{Kept, Scene, sample};

/// Confidence of all intervals.
const CONFIDENCE: f64 = 0.95;

/// `[attacks]` of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttackSettings {
    /// Whether attacks are run.
    pub enabled: bool,
    /// Which are run. The gate needs few; a report needs all.
    pub extent: Extent,
    /// Persons that are attacked where attacking all would take long.
    pub targets: u64,
    /// Where targets and guesses are drawn from.
    pub seed: u64,
    /// Highest allowed chance of re-identification of anybody, 0 to 1; the policy's `maximum_risk` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// Highest allowed excess of inference over the control, 0 to 1; no limit without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_maximum: Option<f64>,
    /// Highest allowed excess of linkability over the control, 0 to 1; no limit without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linkability_maximum: Option<f64>,
}

impl Default for AttackSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            extent: Extent::Gate,
            targets: 2_000,
            seed: 1,
            maximum: None,
            inference_maximum: None,
            linkability_maximum: None,
        }
    }
}

impl AttackSettings {
    pub(crate) fn check(&self) -> Result<(), DeidentifyError> {
        let wrong = |problem: &str| Err(DeidentifyError::Policy { message: format!("attacks: {problem}") });
        if self.targets == 0 {
            return wrong("targets must be at least 1");
        }
        let limits = [self.maximum, self.inference_maximum, self.linkability_maximum];
        if limits.into_iter().flatten().any(|limit| !(0.0..=1.0).contains(&limit)) {
            return wrong("limits must be from 0 to 1");
        }
        Ok(())
    }
}

/// Which attacks are run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Matching and inference of sensitive columns: what may refuse a release.
    #[default]
    Gate,
    /// All.
    Full,
}

/// Which attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackKind {
    /// Finds the row of a person.
    Matching,
    /// Makes a description that fits one person only.
    SinglingOut,
    /// Joins two halves of a record.
    Linkability,
    /// Guesses what a person's row holds.
    Inference,
    /// Undoes the recoding.
    Downcoding,
}

/// Results of all attacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attacks {
    /// Which were run.
    pub extent: Extent,
    /// Where targets and guesses were drawn from.
    pub seed: u64,
    /// What the intervals are.
    pub interval: String,
    /// Each attack.
    pub results: Vec<Attack>,
}

/// Result of one attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// Which.
    pub attack: AttackKind,
    /// Under which attacker, or on which column.
    pub variant: String,
    /// What the attacker has, does and wants.
    pub attacker: String,
    /// Attempts.
    pub attempts: u64,
    /// Whether every person was attacked; otherwise those attempted are a sample.
    pub census: bool,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Successes over attempts.
    pub rate: f64,
    /// 95 % interval of the rate.
    pub interval: Interval,
    /// For matching: the chance of success of the attacked person who is easiest to find, counted and not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<f64>,
    /// Rate without the release, or without the person's row in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// (rate − control) / (1 − control), at least 0: the share of what the control leaves that the attack gains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excess: Option<f64>,
    /// Further numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// What may not be exceeded; only reported without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Whether the limit holds.
    pub held: bool,
    /// What follows.
    pub conclusion: String,
}

/// What an attack is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Its rate, 0 to 1.
    pub rate: f64,
    /// What it is.
    pub what: String,
}

/// A further number of an attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What.
    pub name: String,
    /// Number.
    pub value: f64,
}

/// Journalist risk of the released classes against the rows of a population table.
pub(crate) use matching::against_population;

/// Runs the attacks. Where one exceeds its limit, the release is refused.
///
/// # Errors
/// [`DeidentifyError::Attacked`].
pub(crate) fn attack(
    policy: &Policy,
    recoded: &Recoded,
    kept: &[Kept],
    recount: &Recount,
    extent: Extent,
) -> Result<Option<(Attacks, Option<Risk>)>, DeidentifyError> {
    let settings = &policy.attacks;
    if !settings.enabled || recount.rows == 0 {
        return Ok(None);
    }
    let scene = Scene::new(recoded, kept);
    let maximum = settings.maximum.unwrap_or(policy.maximum_risk);
    let mut results = vec![matching::prosecutor(&scene, settings, maximum)];
    let population = against_population(&scene, policy.maximum_risk);
    if let Some(population) = &population {
        results.push(matching::journalist(&scene, settings, maximum, population));
    }
    if extent == Extent::Full {
        let order = scene.in_order();
        results.extend(matching::with_less(&scene, settings, &order));
        results.extend(matching::with_more(&scene, settings));
        results.extend(singling_out::run(&scene, settings, &order));
        results.extend(linkability::run(&scene, settings));
        results.extend(inference::of_kept(&scene, settings));
        results.extend(inference::of_quasi_identifiers(&scene, settings, &order));
        results.extend(downcoding::run(&scene, settings, &order));
    } else {
        results.extend(inference::of_recount(recount, settings));
    }
    results.sort_by_key(|result| result.attack);
    refuse_broken(&results)?;
    let interval = "Clopper-Pearson, two-sided, 95 %".to_owned();
    let attacks = Attacks { extent, seed: settings.seed, interval, results };
    Ok(Some((attacks, population.map(|population| population.risk))))
}

fn refuse_broken(results: &[Attack]) -> Result<(), DeidentifyError> {
    match results.iter().find(|result| !result.held) {
        None => Ok(()),
        Some(broken) => Err(DeidentifyError::Attacked {
            attack: broken.named(),
            found: broken.limited(),
            maximum: broken.limit.unwrap_or(0.0),
        }),
    }
}

impl Attacks {
    /// Adds further attacks, unless one exceeds its limit.
    pub(crate) fn add(&mut self, results: Vec<Attack>) -> Result<(), DeidentifyError> {
        refuse_broken(&results)?;
        self.results.extend(results);
        self.results.sort_by_key(|result| result.attack);
        Ok(())
    }
}

impl Attack {
    pub(crate) fn new(attack: AttackKind, variant: &str, attacker: String, attempts: u64, successes: u64) -> Self {
        Self {
            attack,
            variant: variant.to_owned(),
            attacker,
            attempts,
            census: false,
            successes,
            rate: share(successes, attempts),
            interval: clopper_pearson(successes, attempts, CONFIDENCE),
            highest: None,
            control: None,
            excess: None,
            measures: Vec::new(),
            limit: None,
            held: true,
            conclusion: String::new(),
        }
    }

    /// Compares with a control, and with a limit on the upper bound of the excess.
    fn against(mut self, rate: f64, what: &str, limit: Option<f64>) -> Self {
        self.control = Some(Control { rate, what: what.to_owned() });
        self.excess = Some(beyond(self.rate, rate));
        self.limit = limit;
        self.held = limit.is_none_or(|limit| beyond(self.interval.upper, rate) <= limit);
        self
    }

    /// Number that the limit is compared with.
    fn limited(&self) -> f64 {
        match (&self.control, self.highest) {
            (_, Some(highest)) => highest,
            (Some(control), None) => beyond(self.interval.upper, control.rate),
            (None, None) => self.interval.upper,
        }
    }

    /// The attack and its variant, in words.
    pub fn named(&self) -> String {
        let name = match self.attack {
            AttackKind::Matching => "matching",
            AttackKind::SinglingOut => "singling out",
            AttackKind::Linkability => "linkability",
            AttackKind::Inference => "inference",
            AttackKind::Downcoding => "downcoding",
        };
        format!("{name}, {}", self.variant)
    }

    pub(crate) fn measure(&mut self, name: &str, value: f64) {
        self.measures.push(Measure { name: name.to_owned(), value });
    }
}

/// Share of what a control leaves that an attack gains (Giomi et al. 2023, section 4.4).
fn beyond(rate: f64, control: f64) -> f64 {
    if control < 1.0 { ((rate - control) / (1.0 - control)).max(0.0) } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { real(part) / real(whole) }
}

/// A share in words.
pub(crate) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.001 { "less than 0.1 %".to_owned() } else { format!("{:.1} %", share * 100.0) }
}

/// Numbers for one attack: another attack's draws do not move them.
pub(crate) fn numbers(settings: &AttackSettings, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    rng.set_stream(stream);
    rng
}
