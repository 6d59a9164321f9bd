//! `acequia network run`: a run among sites, without a coordinator. The command writes the proposal into the node's queue and waits
//! for what the node's `acequia site serve` makes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use acequia_learn::{Model, Outcome, Plan};
use acequia_net::{Among, MemberFolder, NetError, Queue, QueuedRun, Role};
use acequia_node::Failure;
use acequia_types::{Clock, Digest, SystemClock};
use clap::Args;
use serde_json::json;
use tokio::time::Instant;

use crate::files::write_aside;
use crate::show::Out;
use crate::train::{model_digest, outcome_words, plan_of};

/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(200);
/// How long the node's site may be away.
const STARTED_WITHIN: Duration = Duration::from_secs(10);
/// How long this node's site has to read its table and say what would leave.
const SHOWN_WITHIN: Duration = Duration::from_secs(600);

#[derive(Args)]
pub(crate) struct RunAmongArgs {
    /// The run plan (TOML, or JSON)
    plan: PathBuf,
    /// Run it among these sites only, and this one; once for each [default: all sites of the network]
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Allow it for this site, as this person; without, it waits for `acequia site approve`
    #[arg(long, value_name = "STAFF")]
    by: Option<String>,
    /// Only propose it, and say what would leave this site
    #[arg(long, conflicts_with = "out")]
    offer: bool,
    /// Write the model, or the result, as JSON
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Seconds to wait for the result; the run goes on without this command
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    within: u64,
}

pub(crate) async fn run(args: &RunAmongArgs, home: &Path, out: &Out) -> Result<(), Failure> {
    let plan = plan_of(&args.plan)?;
    let (run, folder) = (plan.digest(), MemberFolder::of_node(home));
    let (roster, queue, key) = (folder.roster()?, folder.queue(), folder.identity()?.key());
    let own = roster.of_key(&key).map(|own| own.name.clone());
    let own = own.ok_or_else(|| NetError::NotAMember { who: format!("the key {key}"), role: "a site" })?;
    roster.expect(&own, Role::Site)?;
    let mut sites: Vec<String> = match args.only.is_empty() {
        true => roster.with_role(Role::Site).into_iter().map(|member| member.name.clone()).collect(),
        false => args.only.iter().cloned().chain([own.clone()]).collect(),
    };
    sites.sort_unstable();
    sites.dedup();
    for site in &sites {
        roster.expect(site, Role::Site)?;
    }
    queue.propose(&run, &plan.to_json(), &Among { by: own, sites, roster: roster.digest(), signature: None })?;
    if queue.result(&run)?.is_none() {
        let shown = shown(&folder, &queue, &run).await?;
        if shown.decision.is_none() && !out.json {
            eprintln!("{}", shown.offer.words);
        }
        match &args.by {
            Some(by) if shown.decision.is_none() => {
                queue.decide(&run, true, by, None, SystemClock.now())?;
            }
            None if shown.decision.is_none() && !args.offer && !out.json => {
                eprintln!("waits for the people here: acequia site approve {} --by YOU", run.short(8));
            }
            _ => {}
        }
        if args.offer {
            out.print(
                || json!({ "run": run, "words": shown.offer.words, "sites": shown.among.map(|among| among.sites) }),
                || format!("Proposed as {}.", run.short(12)),
            );
            return Ok(());
        }
    }
    let text = result(&folder, &queue, &run, Duration::from_secs(args.within), !out.json).await?;
    if let Some(path) = &args.out {
        write_aside(path, &text)?;
    }
    let outcome = match Model::from_json(&text) {
        Ok(model) => Outcome::Model(Box::new(model)),
        Err(_) => serde_json::from_str(&text)
            .map_err(|_| NetError::File { what: "the result of the run", problem: std::io::ErrorKind::InvalidData })?,
    };
    told(&plan, &queue.find(&run.to_string())?, queue.summed(&run)?, &outcome, out);
    Ok(())
}

/// Sees that the node's site runs; it may be starting just now.
struct Served<'f> {
    folder: &'f MemberFolder,
    seen: Instant,
}

impl<'f> Served<'f> {
    fn new(folder: &'f MemberFolder) -> Self {
        Self { folder, seen: Instant::now() }
    }

    fn look(&mut self) -> Result<(), NetError> {
        if self.folder.is_served()? {
            self.seen = Instant::now();
        }
        if self.seen.elapsed() < STARTED_WITHIN { Ok(()) } else { Err(NetError::NotServed) }
    }
}

/// The proposal, once this node's site said what would leave.
async fn shown(folder: &MemberFolder, queue: &Queue, run: &Digest) -> Result<QueuedRun, NetError> {
    let (until, mut served) = (Instant::now() + SHOWN_WITHIN, Served::new(folder));
    loop {
        match queue.find(&run.to_string()) {
            Err(NetError::NoRun { .. }) if Instant::now() < until => {}
            found => return found,
        }
        served.look()?;
        tokio::time::sleep(LOOK).await;
    }
}

/// The result, once it is there.
async fn result(
    folder: &MemberFolder,
    queue: &Queue,
    run: &Digest,
    within: Duration,
    talk: bool,
) -> Result<String, NetError> {
    let (until, mut served) = (Instant::now() + within, Served::new(folder));
    let (mut agreed, mut began, mut left) = (Vec::new(), false, 0);
    loop {
        if let Some(text) = queue.result(run)? {
            return Ok(text);
        }
        let found = queue.find(&run.to_string())?;
        if found.decision.as_ref().is_some_and(|decision| !decision.allowed) {
            let reason = "its people decided against it".to_owned();
            return Err(NetError::Refused { member: "this site".to_owned(), reason });
        }
        if talk {
            for site in found.agreed.iter().filter(|site| !agreed.contains(*site)) {
                eprintln!("{site} takes part");
            }
            if found.begun.is_some() && !began {
                eprintln!("all take part; the run began");
            }
            if found.left > left && found.begun.is_some() {
                eprintln!("{} answers left this site", found.left);
            }
        }
        (began, left) = (found.begun.is_some(), found.left);
        agreed = found.agreed;
        served.look()?;
        if Instant::now() >= until {
            let needed = found.among.map_or(0, |among| among.sites.len());
            return Err(match began {
                true => NetError::Unreachable {
                    member: "the result".to_owned(),
                    reason: "the run goes on; give the same command again".to_owned(),
                },
                false => NetError::NotAllowed { allowed: agreed.len(), needed, waiting: needed - agreed.len() },
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn told(plan: &Plan, run: &QueuedRun, summed: Option<(u32, Vec<String>)>, outcome: &Outcome, out: &Out) {
    let all = run.among.as_ref().map_or_else(Vec::new, |among| among.sites.clone());
    let (rounds, sites) = summed.unwrap_or_else(|| (0, all.clone()));
    let left_out: Vec<&String> = all.iter().filter(|site| !sites.contains(site)).collect();
    out.print(
        || {
            json!({
                "plan": plan.digest(), "architecture": "decentralised", "rounds": rounds, "sites": sites,
                "left_out": left_out, "agreed": run.agreed, "outcome": outcome, "model": model_digest(outcome),
            })
        },
        || {
            let masked = plan.aggregation.protection.is_masked();
            let protection = if masked { "masked between two of them in each round" } else { "not masked" };
            let mut text = format!(
                "{rounds} rounds with {}, who added up in turns without a coordinator, {protection}.\n",
                sites.join(", ")
            );
            if !left_out.is_empty() {
                let names: Vec<&str> = left_out.iter().map(|site| site.as_str()).collect();
                text += &format!("Left out on the way: {}.\n", names.join(", "));
            }
            text + &outcome_words(outcome)
        },
    );
}
