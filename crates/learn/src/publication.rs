//! What must hold of a model before anybody outside may have it.

use acequia_types::{Digest, digest_named};

use crate::LearnError;
use crate::model::Model;
use crate::validate::Record;

/// Largest area under the curve, at the lower end of its 95 % interval, that a membership-inference attack may have on a model
/// that is published, whatever its plan allowed. One half is guessing.
pub const MOST_TOLD: f64 = 0.6;

/// Rows, and events, below which a published record may not speak of a group.
pub const FEWEST_TOLD: u64 = 10;

/// Proof that a model was attacked and told no more about its rows than may be told, with records of what it is worth that are
/// about exactly this model. Only [`TestedModel::new`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct TestedModel {
    model: Model,
    records: Vec<Record>,
    digest: Digest,
}

impl TestedModel {
    /// Checks a model and its records. Records are kept in the order of their digests.
    ///
    /// # Errors
    /// [`LearnError::Untested`] when the model was not attacked, [`LearnError::Tells`] when the attack succeeded,
    /// [`LearnError::Record`] when a record is about another model, is there twice, or speaks of few people, [`LearnError::Model`].
    pub fn new(model: Model, mut records: Vec<Record>) -> Result<Self, LearnError> {
        // What was put together in memory keeps the rules of what is read.
        let model = Model::from_json(&model.to_json())?;
        let untested = |reason: &str| LearnError::Untested { reason: reason.to_owned() };
        match &model.membership {
            None => return Err(untested("no test is on record")),
            Some(found) => found.at_most(MOST_TOLD)?,
        }
        let digest = model.digest();
        records.sort_by_key(Record::digest);
        for record in &records {
            is_sound(record, &model, digest)?;
        }
        if records.windows(2).any(|pair| pair[0].digest() == pair[1].digest()) {
            return Err(unfit("it is there twice"));
        }
        let digests: Vec<Digest> = records.iter().map(Record::digest).collect();
        let parts = [("model", digest.as_bytes().as_slice())].into_iter();
        let parts = parts.chain(digests.iter().map(|record| ("record", record.as_bytes().as_slice())));
        let digest = digest_named("acequia tested model 1", parts);
        Ok(Self { model, records, digest })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What it is worth, in the order of the records' digests.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Names model and records: what an approval is about.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

fn unfit(problem: &'static str) -> LearnError {
    LearnError::Record { problem }
}

fn is_sound(record: &Record, model: &Model, digest: Digest) -> Result<(), LearnError> {
    if record.model != digest {
        return Err(unfit("it is about another model"));
    }
    // Everything but what sites measured and signed and people answered and stated follows from that: the level of evidence above all.
    let mut again = Record::new(model, record.sites.clone(), &record.settings, record.measured_on);
    again.program.clone_from(&record.program);
    again.signatures.clone_from(&record.signatures);
    again.statements.clone_from(&record.statements);
    for (own, stated) in again.headings.iter_mut().zip(&record.headings) {
        if let (Some(own), Some(stated)) = (&mut own.person, &stated.person) {
            own.answer.clone_from(&stated.answer);
        }
    }
    if record.sites.is_empty() || again != *record {
        return Err(unfit("it does not say what follows from what its sites measured"));
    }
    let few = |count: u64| count < FEWEST_TOLD;
    let all = record.sites.iter().flat_map(|site| {
        let groups = site.subgroups.iter().map(|group| (group.rows, group.events));
        groups.chain([(Some(site.rows), Some(site.events))])
    });
    let told = |(rows, events): (Option<u64>, Option<u64>)| {
        let without = rows.zip(events).map(|(rows, events)| rows.saturating_sub(events));
        [rows, events, without].into_iter().flatten().any(few)
    };
    if record.settings.minimum_count < FEWEST_TOLD || all.into_iter().any(told) {
        return Err(unfit("it speaks of fewer than 10 rows, events or rows without the event"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Membership;
    use crate::validate::Validation;
    use crate::{Cohort, Fit, Form, SiteEvaluation, Ties};
    use acequia_types::parse_day;

    fn model(membership: Option<Membership>) -> Model {
        Model {
            schema: "acequia-model/1".to_owned(),
            title: "A model".to_owned(),
            plan: Digest::of(b"plan"),
            program: "acequia 0.1.0".to_owned(),
            cohort: Cohort::default(),
            outcome: None,
            variables: Vec::new(),
            form: Form::Cox {
                ties: Ties::Efron,
                coefficients: Vec::new(),
                standard_errors: Vec::new(),
                baseline: vec![(7.0, 0.1)],
            },
            fit: Fit { rows: 100, events: 50, iterations: 3, log_likelihood_null: None, log_likelihood: None },
            sites: vec!["north".to_owned()],
            differential_privacy: None,
            learned_from: Vec::new(),
            membership,
        }
    }

    fn attacked(low: f64) -> Option<Membership> {
        Some(Membership::LossThreshold {
            rows_in: 1_000,
            rows_out: 1_000,
            auc: low + 0.01,
            interval: (low, low + 0.02),
            advantage: 0.01,
            found_at_one_percent: 0.01,
            extraction: None,
        })
    }

    fn record(model: &Model, rows: u64, minimum_count: u64) -> Record {
        let site = SiteEvaluation {
            site: "south".to_owned(),
            rows,
            events: rows / 2,
            dropped: 0,
            estimates: Vec::new(),
            fifths: Vec::new(),
            calibration_curve: Vec::new(),
            net_benefit: Vec::new(),
            roc: Vec::new(),
            subgroups: Vec::new(),
            unlike_training: Vec::new(),
            bootstraps_failed: 0,
        };
        let settings = Validation { minimum_count, ..Validation::usual(model) };
        Record::new(model, vec![site], &settings, parse_day("2026-11-23").unwrap())
    }

    #[test]
    fn a_model_leaves_only_when_an_attack_failed_on_it() {
        assert!(TestedModel::new(model(attacked(0.5)), Vec::new()).is_ok());
        let kind = |membership| match TestedModel::new(model(membership), Vec::new()) {
            Err(error) => acequia_types::Coded::code(&error),
            Ok(_) => "",
        };
        assert_eq!(kind(None), "LE017");
        assert_eq!(kind(Some(Membership::NotRun { reason: "few".to_owned() })), "LE017");
        assert_eq!(kind(attacked(0.61)), "LE015");
        // A plan that allowed more at its sites than may be published.
        assert_eq!(kind(Some(Membership::AtSites { sites: 3, allowed: 0.9, not_run: Vec::new() })), "LE015");
        assert_eq!(kind(Some(Membership::AtSites { sites: 3, allowed: 0.6, not_run: Vec::new() })), "");
        let one = vec!["north".to_owned()];
        assert_eq!(kind(Some(Membership::AtSites { sites: 3, allowed: 0.6, not_run: one })), "LE017");
        assert_eq!(kind(Some(Membership::Within { allowed: 0.9 })), "LE015");
        assert_eq!(kind(Some(Membership::Within { allowed: 0.6 })), "");
    }

    #[test]
    fn records_are_about_the_model_and_about_many() {
        let own = model(attacked(0.5));
        let other = Model { title: "Another".to_owned(), ..own.clone() };
        let with = |records: Vec<Record>| TestedModel::new(own.clone(), records);
        let good = record(&own, 100, 10);
        assert!(with(vec![good.clone()]).is_ok());
        assert!(with(vec![record(&other, 100, 10)]).is_err());
        assert!(with(vec![record(&own, 9, 10)]).is_err(), "few rows");
        assert!(with(vec![record(&own, 100, 9)]).is_err(), "a lower bound");
        assert!(with(vec![good.clone(), good.clone()]).is_err(), "twice");
        let raised = Record { evidence: crate::Evidence::L5, ..good.clone() };
        assert!(with(vec![raised]).is_err(), "a level that nobody measured");
        let mut answered = good.clone();
        answered.headings.iter_mut().filter_map(|one| one.person.as_mut()).for_each(|field| {
            field.answer = Some("Written by a person.".to_owned());
        });
        assert!(with(vec![answered]).is_ok(), "what people write");
        let stated = crate::Statement {
            level: crate::Evidence::L3,
            by: "A person".to_owned(),
            reference: "doi:10.1000/1".to_owned(),
            says: None,
            on: parse_day("2026-11-24").unwrap(),
            key: String::new(),
            signature: String::new(),
        };
        assert!(with(vec![good.clone().stating(stated.clone()).unwrap()]).is_ok(), "what people state, as stated");
        assert!(
            good.clone().stating(crate::Statement { level: crate::Evidence::L2, ..stated }).is_err(),
            "it is measured"
        );
        let mut certain = good.clone();
        certain.sites[0].events = 97;
        assert!(with(vec![certain]).is_err(), "few without the event");
        let second = record(&own, 200, 10);
        let one = with(vec![good.clone(), second.clone()]).unwrap();
        assert_eq!(one.digest(), with(vec![second, good]).unwrap().digest(), "in any order");
    }
}
