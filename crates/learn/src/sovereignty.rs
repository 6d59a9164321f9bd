//! What a site decides for itself: its own rules, what would leave in plain words, a ledger against differencing, and a log of
//! everything that left.

use std::collections::{BTreeMap, BTreeSet};

use acequia_privacy::{NoisySteps, epsilon};
use acequia_types::{Digest, Timestamp, digest_named};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::double_masking::threshold;
use crate::few::{Bounds, People, dominated, few};
use crate::overlap::tells_of_few;
use crate::plan::{DELTAS, Guarantee, Plan, Protection, Task};
use crate::table::Data;
use crate::tasks::{Block, Question, shape};

/// Who sums, seen from the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coordinator {
    /// The site's own organisation: it may see the site's sums.
    Own,
    /// Somebody else.
    Other,
}

/// What a site does with a model that it cannot attack, for half of its rows give none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unattacked {
    /// The model says so, and nobody publishes it.
    #[default]
    Mark,
    /// It is told to nobody.
    Refuse,
}

/// A site's standing rules. Where the plan is stricter, the plan counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteRules {
    /// Who sums.
    pub coordinator: Coordinator,
    /// Kinds of task that are answered without asking a person; empty for all.
    #[serde(default)]
    pub tasks: BTreeSet<String>,
    /// Rows that must be behind every answer.
    pub minimum_rows: u64,
    /// Sites that must take part.
    pub minimum_sites: usize,
    /// Smallest count that leaves without a mask.
    pub minimum_count: u64,
    /// Largest share of one row in a sum.
    pub dominance: f64,
    /// Rows per coefficient that an answer without a mask needs.
    pub rows_per_coefficient: u64,
    /// Rows by which two cohorts that were answered must differ, if they differ.
    pub minimum_difference: u64,
    /// What all runs with noise together may give away; none for no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Guarantee>,
    /// What becomes of a model that cannot be attacked here.
    #[serde(default)]
    pub unattacked: Unattacked,
}

impl SiteRules {
    /// Rules for a site that answers somebody else: ten rows behind everything.
    pub fn cautious() -> Self {
        Self {
            coordinator: Coordinator::Other,
            tasks: BTreeSet::new(),
            minimum_rows: 10,
            minimum_sites: 2,
            minimum_count: 10,
            dominance: 0.5,
            rows_per_coefficient: 5,
            minimum_difference: 10,
            budget: None,
            unattacked: Unattacked::Mark,
        }
    }

    /// Rules within one organisation, which sees its own data anyway.
    pub fn own() -> Self {
        Self {
            coordinator: Coordinator::Own,
            tasks: BTreeSet::new(),
            minimum_rows: 1,
            minimum_sites: 1,
            minimum_count: 1,
            dominance: 1.0,
            rows_per_coefficient: 0,
            minimum_difference: 0,
            budget: None,
            unattacked: Unattacked::Mark,
        }
    }
}

/// What would leave if the site said yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leaving {
    /// The plan's own sentence.
    pub title: String,
    /// Kind of task.
    pub task: String,
    /// Which round.
    pub round: u32,
    /// Rows behind it.
    pub rows: u64,
    /// What is summed, block by block.
    pub blocks: Vec<Block>,
    /// How it is protected on its way.
    pub protection: String,
    /// Everything in sentences.
    pub words: String,
}

/// Says what would leave. `adders` add up in turns, where nobody coordinates.
pub(crate) fn leaving(
    plan: &Plan,
    question: &Question,
    round: u32,
    rows: u64,
    sites: usize,
    adders: Option<&[String]>,
) -> Leaving {
    let blocks: Vec<Block> = shape(plan, question).into_iter().filter(|block| block.numbers > 0).collect();
    let protection = match (plan.aggregation.protection, adders) {
        (Protection::TwoAggregators, None) => format!(
            "split in two: {} and {} each get random numbers, and only the sum over all sites can be read",
            plan.aggregation.aggregators[0], plan.aggregation.aggregators[1]
        ),
        (Protection::DoubleMasking, None) => format!(
            "masked: the coordinator gets random numbers, and masks come off only the sum, once {} of the sites signed whose sums are in it",
            threshold(sites)
        ),
        (Protection::Proven, None) => format!(
            "split in two, with a proof that each number is within what the plan states: {} and {} each get random numbers, and only the sum over all sites can be read",
            plan.aggregation.aggregators[0], plan.aggregation.aggregators[1]
        ),
        (Protection::TwoAggregators | Protection::DoubleMasking | Protection::Proven, Some(adders)) => format!(
            "split in two: no coordinator exists, {} add up in turns; two of them each get random numbers, and only the sum over all sites can be read, by every site",
            adders.join(", ")
        ),
        (Protection::None, None) => "not protected: the coordinator sees this site's sums".to_owned(),
        (Protection::None, Some(adders)) => format!(
            "not protected: no coordinator exists, {} add up in turns, and whoever does sees this site's sums",
            adders.join(", ")
        ),
    };
    let numbers: usize = blocks.iter().map(|block| block.numbers).sum();
    let listed: Vec<String> = blocks.iter().map(|block| format!("{} ({})", block.what, block.numbers)).collect();
    let noise = plan.task.guarantee().map_or(String::new(), |guarantee| format!(" {}", guarantee.words()));
    let words = format!(
        "{}. Round {round}: {numbers} numbers, each {} this site's {rows} rows. They are: {}. {sites} sites are asked. Sent {protection}.{noise} No row, name or date of a person leaves.",
        plan.title,
        if matches!(plan.task, Task::Averaging(_)) { "learned from" } else { "a sum over" },
        listed.join("; ")
    );
    Leaving { title: plan.title.clone(), task: plan.task.kind().to_owned(), round, rows, blocks, protection, words }
}

fn withheld(site: &str, reason: impl Into<String>) -> LearnError {
    LearnError::Withheld { site: site.to_owned(), reason: reason.into() }
}

/// A site's rows for the rules, which are asked again in every round.
pub(crate) struct Judged {
    people: People,
    /// Whether no variable of the plan is about few: found once, for rows and plan stay what they are.
    is_about_many: bool,
}

impl Judged {
    pub(crate) fn new(tables: &[Data]) -> Self {
        Self { people: People::new(tables), is_about_many: false }
    }
}

/// The rules about rows, sites, tasks and shapes.
///
/// # Errors
/// [`LearnError::Withheld`] with the rule; [`LearnError::Few`].
pub(crate) fn check(
    site: &str,
    plan: &Plan,
    rules: &SiteRules,
    (tables, judged): (&[Data], &mut Judged),
    sites: usize,
    question: &Question,
) -> Result<(), LearnError> {
    if !rules.tasks.is_empty() && !rules.tasks.contains(plan.task.kind()) {
        return Err(withheld(site, format!("its standing rules do not allow {}", plan.task.kind())));
    }
    let rows: u64 = tables.iter().map(|table| table.rows as u64).sum();
    let needed = plan.privacy.minimum_rows.max(rules.minimum_rows);
    // Copies of a row make a cohort no larger.
    let counted = if rules.coordinator == Coordinator::Other { judged.people.count() } else { rows };
    if counted < needed {
        return Err(withheld(
            site,
            format!("fewer than {needed} of its rows are in the cohort, where each person counts once"),
        ));
    }
    let needed = plan.privacy.minimum_sites.max(rules.minimum_sites);
    if sites < needed {
        return Err(withheld(site, format!("fewer than {needed} sites take part")));
    }
    if rules.coordinator == Coordinator::Other && plan.aggregation.protection == Protection::None {
        if let Some(block) = shape(plan, question).iter().find(|block| block.fine) {
            return Err(withheld(site, format!("{} could show single persons without a mask", block.what)));
        }
        let coefficients = plan.network().map_or(plan.variables.len(), |network| network.len()) as u64;
        if rows < coefficients * rules.rows_per_coefficient {
            return Err(withheld(site, "it has too few rows for so many coefficients without a mask"));
        }
    }
    if rules.coordinator == Coordinator::Other
        && let Task::Averaging(settings) = &plan.task
        && settings.noise.is_none()
    {
        // A step over few rows from weights of choice gives their columns away.
        let count = plan.privacy.minimum_count.max(rules.minimum_count);
        if (settings.batch as u64) < count {
            return Err(withheld(site, format!("fewer than {count} rows are behind a step")));
        }
    }
    let is_noisy = plan.task.guarantee().is_some();
    if rules.coordinator == Coordinator::Other && !is_noisy {
        let share = plan.privacy.dominance.min(rules.dominance);
        let least = plan.privacy.minimum_count.max(rules.minimum_count);
        if !judged.is_about_many {
            few(site, plan, tables, &judged.people, Bounds { least, share })?;
            judged.is_about_many = true;
        }
        dominated(site, plan, tables, &judged.people, share, question)?;
    }
    Ok(())
}

/// Which rows earlier answers were about. Stays inside the site.
///
/// Two answers about cohorts that differ by one person tell about that person (DataSHIELD's issues on leave-one-out means
/// show it). So a cohort that differs a little from one that was answered is refused, and one that with several earlier ones leaves
/// few persons over; the same cohort is not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Marks of the persons of each cohort that was answered. A mark is a digest, cut to 64 bits: of what names the person in the
    /// site's table, or of the whole row where nothing does.
    cohorts: BTreeMap<Digest, BTreeSet<u64>>,
    /// Steps of each run with noise, by the digest of its plan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    noisy: BTreeMap<Digest, NoisySteps>,
}

impl Ledger {
    /// Enters a cohort.
    ///
    /// # Errors
    /// [`LearnError::Withheld`] when it differs from an earlier one, or a combination of earlier ones, by fewer than `minimum` persons.
    pub fn enter(&mut self, site: &str, tables: &[Data], minimum: u64) -> Result<(), LearnError> {
        let marks: BTreeSet<u64> = tables.iter().flat_map(|table| table.persons.iter().copied()).collect();
        let bytes: Vec<u8> = marks.iter().flat_map(|mark| mark.to_le_bytes()).collect();
        let name = digest_named("acequia cohort 1", [("marks", bytes.as_slice())]);
        if self.cohorts.contains_key(&name) {
            return Ok(());
        }
        if (1..minimum).contains(&(marks.len() as u64)) {
            return Err(withheld(site, format!("the cohort is of fewer than {minimum} persons")));
        }
        for earlier in self.cohorts.values() {
            let different =
                marks.symmetric_difference(earlier).take(usize::try_from(minimum).unwrap_or(usize::MAX)).count() as u64;
            if different > 0 && different < minimum {
                return Err(withheld(
                    site,
                    format!("the cohort differs from an earlier one by fewer than {minimum} persons"),
                ));
            }
        }
        let earlier: Vec<&BTreeSet<u64>> = self.cohorts.values().collect();
        let all: Vec<&BTreeSet<u64>> = earlier.iter().copied().chain([&marks]).collect();
        // What earlier ones tell by themselves, under other rules, is told already.
        if tells_of_few(&all, minimum) && !tells_of_few(&earlier, minimum) {
            return Err(withheld(
                site,
                format!("the cohort and earlier ones together tell of fewer than {minimum} persons"),
            ));
        }
        self.cohorts.insert(name, marks);
        Ok(())
    }

    /// Enters what a run with noise gives away. All runs are counted together, at the delta of the budget, whatever theirs are.
    ///
    /// # Errors
    /// [`LearnError::Withheld`] when it would be more than the budget.
    pub(crate) fn spend(&mut self, site: &str, plan: &Plan, budget: Option<Guarantee>) -> Result<(), LearnError> {
        let Task::Averaging(settings) = &plan.task else { return Ok(()) };
        let Some(steps) = settings.steps() else { return Ok(()) };
        let run = plan.digest();
        let others = self.noisy.iter().filter(|(other, _)| **other != run).map(|(_, steps)| *steps);
        let all: Vec<NoisySteps> = others.chain([steps]).collect();
        if let Some(budget) = budget {
            // A budget that is no number allows nothing.
            let is_sound = DELTAS.contains(&budget.delta) && budget.epsilon.is_finite();
            let spent = if is_sound { epsilon(&all, budget.delta) } else { f64::INFINITY };
            if !is_sound || spent > budget.epsilon {
                return Err(withheld(
                    site,
                    format!(
                        "with it, runs would have given away epsilon {spent:.3} at delta {:e}, which is more than its budget",
                        budget.delta
                    ),
                ));
            }
        }
        self.noisy.insert(run, steps);
        Ok(())
    }

    /// Epsilon that all runs with noise gave away together, at this delta, and how many runs they were.
    pub fn spent(&self, delta: f64) -> (f64, usize) {
        let all: Vec<NoisySteps> = self.noisy.values().copied().collect();
        let epsilon = if all.is_empty() { 0.0 } else { epsilon(&all, delta) };
        (epsilon, all.len())
    }

    /// Cohorts that were answered.
    pub fn len(&self) -> usize {
        self.cohorts.len()
    }

    /// Whether nothing was answered yet.
    pub fn is_empty(&self) -> bool {
        self.cohorts.is_empty()
    }
}

/// One thing that left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// When.
    pub at: Timestamp,
    /// Digest of the run plan.
    pub plan: Digest,
    /// Digest of plan, roster, round and question.
    pub context: Digest,
    /// Which round.
    pub round: u32,
    /// How often somebody had taken over in it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub attempt: u32,
    /// To whom.
    pub to: Vec<String>,
    /// In sentences.
    pub words: String,
    /// Digest of the bytes that left, one for each recipient.
    pub sent: Vec<Digest>,
    /// What this was told in answer to, where sums are masked between sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned: Option<Turned>,
}

/// A step of double masking that a site took; see [`crate::Turn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turned {
    /// Which step.
    pub step: String,
    /// Digest of the question whose answers are summed.
    pub question: Digest,
    /// Digest of what the site was told.
    pub told: Digest,
    /// Whose sums are in the sum, where the site signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(times: &u32) -> bool {
    *times == 0
}

/// An entry of the log: what left, chained to everything before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// What left.
    pub left: Left,
    /// Digest of this entry and, through the one before, of all earlier ones.
    pub chain: Digest,
}

/// Everything that left a site, as a hash chain: no entry can be changed, left out or moved without a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExitLog(Vec<LogEntry>);

impl ExitLog {
    fn link(before: Digest, left: &Left) -> Digest {
        let bytes = serde_json::to_vec(left).unwrap_or_default();
        digest_named("acequia exit log 1", [("before", before.as_bytes().as_slice()), ("left", bytes.as_slice())])
    }

    /// Digest of the whole log, to be witnessed by others.
    pub fn head(&self) -> Digest {
        self.0.last().map_or_else(|| Digest::of(b"acequia exit log 1"), |entry| entry.chain)
    }

    /// Adds what is about to leave.
    pub fn record(&mut self, left: Left) {
        let chain = Self::link(self.head(), &left);
        self.0.push(LogEntry { left, chain });
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[LogEntry] {
        &self.0
    }

    /// One JSON document per line.
    pub fn to_lines(&self) -> String {
        self.0.iter().map(|entry| serde_json::to_string(entry).unwrap_or_default() + "\n").collect()
    }

    /// Reads a log and checks its chain.
    ///
    /// # Errors
    /// [`LearnError::Log`] with the first entry that does not fit.
    pub fn from_lines(text: &str) -> Result<Self, LearnError> {
        let mut log = Self::default();
        for (at, line) in text.lines().enumerate() {
            let broken = || LearnError::Log { entry: at + 1 };
            let entry: LogEntry = serde_json::from_str(line).map_err(|_| broken())?;
            if Self::link(log.head(), &entry.left) != entry.chain {
                return Err(broken());
            }
            log.0.push(entry);
        }
        Ok(log)
    }
}

/// One thing that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// Who asked.
    pub from: String,
    /// What was asked, in a word: `offer`, `ask`, `share`.
    pub what: String,
    /// Digest of the run plan, or of the request, as far as it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Digest>,
    /// In which round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// Code of the error (docs/errors.md).
    pub code: String,
    /// Why, for the people here. Places and rules, never a value of a record.
    pub reason: String,
    /// How often the same was refused since the entry before, without an entry each.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_nothing(times: &u64) -> bool {
    *times == 0
}

/// An entry of the log of what was refused, chained to everything before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalEntry {
    /// What was refused.
    pub refused: Refused,
    /// Digest of this entry and, through the one before, of all earlier ones.
    pub chain: Digest,
}

impl RefusalEntry {
    /// The entry that follows an earlier one; none is before the first.
    pub fn after(before: Option<Digest>, refused: Refused) -> Self {
        let chain = Self::link(before, &refused);
        Self { refused, chain }
    }

    fn link(before: Option<Digest>, refused: &Refused) -> Digest {
        let before = before.unwrap_or_else(|| Digest::of(b"acequia refusals 1"));
        let bytes = serde_json::to_vec(refused).unwrap_or_default();
        digest_named("acequia refusals 1", [("before", before.as_bytes().as_slice()), ("refused", bytes.as_slice())])
    }

    /// Reads a log, one JSON document per line, and checks its chain.
    ///
    /// # Errors
    /// [`LearnError::Log`] with the first entry that does not fit.
    pub fn from_lines(text: &str) -> Result<Vec<Self>, LearnError> {
        let mut entries: Vec<Self> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let broken = || LearnError::Log { entry: at + 1 };
            let entry: Self = serde_json::from_str(line).map_err(|_| broken())?;
            if Self::link(entries.last().map(|before| before.chain), &entry.refused) != entry.chain {
                return Err(broken());
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_changed_does_not_verify() {
        let mut log = ExitLog::default();
        for round in 1..=3 {
            log.record(Left {
                at: Timestamp::from_unix_s(0),
                plan: Digest::of(b"plan"),
                context: Digest::of(b"context"),
                round,
                attempt: 0,
                to: vec!["a".to_owned()],
                words: format!("round {round}"),
                sent: vec![Digest::of(b"x")],
                turned: None,
            });
        }
        let text = log.to_lines();
        assert_eq!(ExitLog::from_lines(&text).unwrap(), log);
        assert!(ExitLog::from_lines(&text.replace("\"round\":2", "\"round\":5")).is_err());
        let without: String =
            text.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| format!("{line}\n")).collect();
        assert!(matches!(ExitLog::from_lines(&without), Err(LearnError::Log { entry: 2 })));
    }

    #[test]
    fn what_was_refused_cannot_be_changed_or_left_out() {
        let mut lines = String::new();
        let mut before = None;
        for round in 1..=3 {
            let refused = Refused {
                at: Timestamp::from_unix_s(0),
                from: "trustee".to_owned(),
                what: "ask".to_owned(),
                about: None,
                round: Some(round),
                code: "LE009".to_owned(),
                reason: "no".to_owned(),
                more: 0,
            };
            let entry = RefusalEntry::after(before, refused);
            before = Some(entry.chain);
            lines += &format!("{}\n", serde_json::to_string(&entry).unwrap());
        }
        assert_eq!(RefusalEntry::from_lines(&lines).unwrap().len(), 3);
        let changed = lines.replace("\"round\":2", "\"round\":5");
        assert!(matches!(RefusalEntry::from_lines(&changed), Err(LearnError::Log { entry: 2 })));
        let without = lines.lines().skip(1).collect::<Vec<_>>().join("\n");
        assert!(matches!(RefusalEntry::from_lines(&without), Err(LearnError::Log { entry: 1 })));
    }
}
