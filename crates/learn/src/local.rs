//! A run in one process: the same sites, questions and sums as over a network.

use std::collections::VecDeque;
use std::sync::Arc;

use acequia_types::{Digest, Timestamp, digest_named};
use serde::Serialize;

use crate::LearnError;
use crate::double_masking::{MaskedSum, Signatures, Vouching};
use crate::peer::{Envelope, Peer, PeerMessage};
use crate::plan::{Aggregation, Plan, PrivacyRule, Protection};
use crate::protocol::{
    Aggregator, Entropy, NO_PROOFS_AMONG_SITES, Progress, Roster, Run, ShareKey, Site, StillAllowed,
};
use crate::proven::VerifyKey;
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
    let unmasked = matches!(plan.aggregation.protection, Protection::DoubleMasking | Protection::Proven);
    let is_alone = plan.privacy.minimum_sites > 1 || unmasked;
    let alone = (architecture == Architecture::Centralised && is_alone).then(|| Plan {
        privacy: PrivacyRule { minimum_sites: 1, ..plan.privacy.clone() },
        aggregation: match unmasked {
            true => Aggregation { protection: Protection::None, proof: None, ..plan.aggregation.clone() },
            false => plan.aggregation.clone(),
        },
        ..plan.clone()
    });
    let plan = alone.as_ref().unwrap_or(plan);
    let groups: Vec<(String, Vec<Data>)> = match architecture {
        Architecture::Centralised => vec![("centre".to_owned(), tables)],
        Architecture::Federated | Architecture::Decentralised => {
            tables.into_iter().map(|table| (table.name.clone(), vec![table])).collect()
        }
    };
    if architecture == Architecture::Decentralised && plan.aggregation.protection == Protection::Proven {
        return Err(LearnError::Plan { message: NO_PROOFS_AMONG_SITES.to_owned() });
    }
    let roster = Roster::new(groups.iter().map(|(name, _)| name.clone()))?;
    let secret = ShareKey::drawn(entropy)?;
    let mut sites = groups
        .into_iter()
        .map(|(name, tables)| {
            let asks = still_allowed.filter(|(table, _)| tables.iter().any(|own| own.name == *table));
            let key = ShareKey::drawn(entropy)?;
            let site = Site::join(&name, plan, &roster, tables, rules.clone(), &mut Ledger::default(), key)?;
            let site = site.vouching(Arc::new(OneProcess { name, secret: secret.clone() }));
            Ok(match asks {
                Some((_, still_allowed)) => site.asking(Arc::clone(still_allowed)),
                None => site,
            })
        })
        .collect::<Result<Vec<_>, LearnError>>()?;
    if architecture == Architecture::Decentralised && roster.sites().len() > 1 {
        return peers(plan, &roster, sites, now);
    }
    let vouching = OneProcess { name: "coordinator".to_owned(), secret };
    let mut run = Run::new(plan, &roster);
    let mut aggregators = [Aggregator::new(plan, &roster), Aggregator::new(plan, &roster)];
    let is_proven = plan.aggregation.protection == Protection::Proven;
    if is_proven {
        let key = VerifyKey::drawn(entropy)?;
        aggregators.iter_mut().enumerate().for_each(|(own, aggregator)| aggregator.verifies(own, key.clone()));
    }
    let mut bytes_out = 0;
    loop {
        let ask = run.ask();
        let is_masked = plan.aggregation.protection.is_shared();
        let mut sum = MaskedSum::new(plan, &roster, &ask);
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
                } else if plan.aggregation.protection == Protection::DoubleMasking {
                    sum.receive(update.site(), update.bytes(), &vouching)?;
                } else {
                    run.receive(update.site(), update.bytes())?;
                }
            }
        }
        let rounds = run.round();
        let progress = if is_masked {
            let present = aggregators[0].present();
            if is_proven {
                let said = [aggregators[0].verify(&present)?, aggregators[1].verify(&present)?];
                let refused = [aggregators[0].settle(&said[1])?, aggregators[1].settle(&said[0])?].concat();
                if let Some(site) = refused.into_iter().next() {
                    return Err(LearnError::Unproven { site, round: rounds });
                }
            }
            let (one, other) = (aggregators[0].close(&present)?, aggregators[1].close(&present)?);
            run.close_masked(&one, &other)?
        } else if plan.aggregation.protection == Protection::DoubleMasking {
            bytes_out += unmask(&mut sum, &mut sites, &ask.context(), &vouching, now)?;
            run.close_summed(&sum)?
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

/// All turns of double masking after the question was answered, with every site. Bytes that left.
fn unmask(
    sum: &mut MaskedSum,
    sites: &mut [Site],
    context: &Digest,
    signatures: &dyn Signatures,
    now: Timestamp,
) -> Result<u64, LearnError> {
    let mut bytes_out = 0;
    while !sum.is_done() {
        sum.close_step()?;
        for (site, turn) in sum.turns() {
            let Some(site) = sites.iter_mut().find(|own| own.name() == site) else { continue };
            let Some(update) = site.turn(context, &turn, now)? else { continue };
            bytes_out += update.bytes().len() as u64;
            sum.receive(update.site(), update.bytes(), signatures)?;
        }
    }
    Ok(bytes_out)
}

/// Sites of one process believe one another: a secret that they have in common stands for signatures.
struct OneProcess {
    name: String,
    secret: ShareKey,
}

impl OneProcess {
    fn signed(&self, site: &str, statement: &Digest) -> String {
        let parts = [("site", site.as_bytes()), ("statement", statement.as_bytes().as_slice())];
        self.secret.marked(&digest_named("acequia in one process 1", parts)).to_string()
    }
}

impl Vouching for OneProcess {
    fn sign(&self, statement: &Digest) -> String {
        self.signed(&self.name, statement)
    }
}

impl Signatures for OneProcess {
    fn has_signed(&self, site: &str, statement: &Digest, signature: &str) -> bool {
        self.signed(site, statement) == signature
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
