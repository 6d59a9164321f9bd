//! A run in one process: the same sites, questions and sums as over a network.

use std::collections::VecDeque;
use std::sync::Arc;

use acequia_types::Timestamp;
use serde::Serialize;

use crate::LearnError;
use crate::peer::{Envelope, Peer, PeerMessage};
use crate::plan::{Plan, PrivacyRule, Protection};
use crate::protocol::{Aggregator, Entropy, Progress, Roster, Run, ShareKey, Site, StillAllowed};
use crate::sovereignty::{ExitLog, Ledger, SiteRules};
use crate::table::Data;
use crate::tasks::Outcome;

/// How a run is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// All tables at one site.
    Centralised,
    /// One site for each table.
    Federated,
    /// One site for each table, and no fixed coordinator.
    Decentralised,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The result.
    pub outcome: Outcome,
    /// Rounds it took.
    pub rounds: u32,
    /// Bytes that left all sites together.
    pub bytes_out: u64,
    /// What left each site.
    pub logs: Vec<(String, ExitLog)>,
}

/// Runs a plan over tables in this process.
///
/// # Errors
/// What a site refuses, or what the estimator finds.
pub fn run_here(
    plan: &Plan,
    tables: Vec<Data>,
    architecture: Architecture,
    rules: &SiteRules,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Report, LearnError> {
    run_while_allowed(plan, tables, architecture, rules, None, now, entropy)
}

/// Runs a plan over tables in this process, of which one (named) is of people who may withdraw meanwhile: the site that holds
/// it asks before each answer.
///
/// # Errors
/// As [`run_here`]; [`LearnError::Withdrawn`] as soon as the answer is no. Nothing of the run is told then.
pub fn run_while_allowed(
    plan: &Plan,
    tables: Vec<Data>,
    architecture: Architecture,
    rules: &SiteRules,
    still_allowed: Option<(&str, &StillAllowed)>,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Report, LearnError> {
    let mut names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
    names.sort_unstable();
    let digest = plan.digest();
    // Whoever holds all rows has no other site to hide a sum from.
    let alone = (architecture == Architecture::Centralised && plan.privacy.minimum_sites > 1)
        .then(|| Plan { privacy: PrivacyRule { minimum_sites: 1, ..plan.privacy.clone() }, ..plan.clone() });
    let plan = alone.as_ref().unwrap_or(plan);
    let groups: Vec<(String, Vec<Data>)> = match architecture {
        Architecture::Centralised => vec![("centre".to_owned(), tables)],
        Architecture::Federated | Architecture::Decentralised => {
            tables.into_iter().map(|table| (table.name.clone(), vec![table])).collect()
        }
    };
    let roster = Roster::new(groups.iter().map(|(name, _)| name.clone()))?;
    let mut sites = groups
        .into_iter()
        .map(|(name, tables)| {
            let asks = still_allowed.filter(|(table, _)| tables.iter().any(|own| own.name == *table));
            let key = ShareKey::drawn(entropy)?;
            let site = Site::join(&name, plan, &roster, tables, rules.clone(), &mut Ledger::default(), key)?;
            Ok(match asks {
                Some((_, still_allowed)) => site.asking(Arc::clone(still_allowed)),
                None => site,
            })
        })
        .collect::<Result<Vec<_>, LearnError>>()?;
    if architecture == Architecture::Decentralised && roster.sites().len() > 1 {
        return peers(plan, &roster, sites, now);
    }
    let mut run = Run::new(plan, &roster);
    let mut aggregators = [Aggregator::new(plan, &roster), Aggregator::new(plan, &roster)];
    let mut bytes_out = 0;
    loop {
        let ask = run.ask();
        let is_masked = plan.aggregation.protection == Protection::TwoAggregators;
        if is_masked {
            for aggregator in &mut aggregators {
                aggregator.open(&ask)?;
            }
        }
        for site in &mut sites {
            for update in site.answer(&ask, now)? {
                bytes_out += update.bytes().len() as u64;
                if is_masked {
                    let index = usize::from(update.to() == plan.aggregation.aggregators[1]);
                    aggregators[index].receive(update.site(), update.bytes())?;
                } else {
                    run.receive(update.site(), update.bytes())?;
                }
            }
        }
        let rounds = run.round();
        let progress = if is_masked {
            let present = aggregators[0].present();
            let (one, other) = (aggregators[0].close(&present)?, aggregators[1].close(&present)?);
            run.close_masked(&one, &other)?
        } else {
            run.close()?
        };
        if let Progress::Done(outcome) = progress {
            let mut outcome = *outcome;
            if let (Outcome::Model(model), Architecture::Centralised) = (&mut outcome, architecture) {
                // One site holds all tables; the model says which, and names the plan as it was read.
                model.sites = names;
                model.plan = digest;
            }
            let logs = sites.iter().map(|site| (site.name().to_owned(), site.log().clone())).collect();
            return Ok(Report { outcome, rounds, bytes_out, logs });
        }
    }
}

/// Sites that add up in turns. Messages arrive in the order they were sent; time passes when none is on its way.
fn peers(plan: &Plan, roster: &Roster, sites: Vec<Site>, now: Timestamp) -> Result<Report, LearnError> {
    let mut peers: Vec<Peer> = sites.into_iter().map(|site| Peer::new(site, plan, roster)).collect();
    let mut waiting: VecDeque<Envelope> = VecDeque::new();
    for peer in &mut peers {
        waiting.extend(peer.shares(now)?);
    }
    let mut bytes_out = 0;
    loop {
        while let Some(envelope) = waiting.pop_front() {
            if let PeerMessage::Share { share, .. } = &envelope.body {
                bytes_out += share.bytes().len() as u64;
            }
            let Some(peer) = peers.iter_mut().find(|peer| peer.name() == envelope.to) else { continue };
            waiting.extend(peer.receive(envelope.arrived(), now)?);
        }
        if let Some(outcome) = peers[0].outcome().cloned()
            && peers.iter().all(|peer| peer.outcome().is_some())
        {
            let logs = peers.iter().map(|peer| (peer.name().to_owned(), peer.log().clone())).collect();
            return Ok(Report { outcome, rounds: peers[0].round(), bytes_out, logs });
        }
        for peer in &mut peers {
            waiting.extend(peer.tick(now)?);
            waiting.extend(peer.shares(now)?);
        }
    }
}
