//! `acequia network` and `acequia site`: this node among others.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acequia_learn::{
    Evidence, LearnError, Plan, Record, SiteEvaluation, SiteRules, SiteSignature, ValidationRequest, validation_page,
};
use acequia_net::{
    AggregatorDesk, Coordinator, CoordinatorSettings, Held, HeldForValidation, Holdings, Member, MemberFolder,
    MemberKey, Members, NetError, Network, NetworkReport, Queue, QueuedRun, Role, Roster, RunEvent, SiteAgent,
    SiteEvent, SiteSettings, Watch, authorities_of_pem, check_record, listens_at, state,
};
use acequia_node::Failure;
use acequia_types::{Clock, Day, Digest, SystemClock};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use crate::among::RunAmongArgs;
use crate::catalogue::CatalogueCommand;
use crate::files::write_aside;
use crate::relay::RelayArgs;
use crate::show::Out;
use crate::train::{DonorRows, NamedTable, read_site, text_of};
use crate::until_stopped;

#[derive(Subcommand)]
pub(crate) enum NetworkCommand {
    /// Print this node's key, by which others know it
    #[command(after_help = "Example:\n  acequia network key")]
    Key,
    /// Write this node's card: what whoever keeps the roster must know of it
    #[command(
        after_help = "Examples:\n  acequia network card north --role site -o north.card.json\n  acequia network card university --role coordinator --role aggregator --address net.university.example:7700 -o university.card.json\n  acequia network card trustee --catalogue net.trustee.example:7720 --web https://data.trustee.example -o trustee.card.json"
    )]
    Card {
        /// Its name in the network, of small letters, digits and hyphens
        name: String,
        /// What it does in runs: site, coordinator, aggregator
        #[arg(long, value_name = "ROLE", value_parser = role, required_unless_present = "catalogue")]
        role: Vec<Role>,
        /// Where others dial it, host:port (UDP); a site needs none
        #[arg(long, value_name = "ADDRESS")]
        address: Vec<String>,
        /// Where others ask what it published, host:port (UDP), when `acequia serve` runs; not one of the addresses above
        #[arg(long, value_name = "ADDRESS")]
        catalogue: Option<String>,
        /// Where people read its pages, http(s)://host
        #[arg(long, value_name = "URL")]
        web: Option<String>,
        /// Its name for people
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
        /// Where the card goes
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign the roster of all members with this node's key
    ///
    /// Compare each card's key with its owner, by telephone, before you sign: whoever is in the roster is heard.
    #[command(
        after_help = "Examples:\n  acequia network sign north.card.json south.card.json university.card.json --title \"Breast cancer network\" -o roster.json\n  acequia network sign *.card.json --title \"Breast cancer network\" --relay https://relay.university.example --relay-authority authority.pem -o roster.json"
    )]
    Sign {
        /// Cards of all members
        #[arg(required = true, value_name = "CARD")]
        cards: Vec<PathBuf>,
        /// What the network is for
        #[arg(long, value_name = "TEXT")]
        title: String,
        /// Last day on which the roster is believed
        #[arg(long, value_name = "DAY", value_parser = crate::args::day)]
        until: Option<Day>,
        /// A relay of the network's own (https), for members who cannot reach one another directly; `acequia network relay` is one
        #[arg(long, value_name = "URL")]
        relay: Vec<String>,
        /// Certificates (PEM) of an authority of the network's own, which members believe about relays, beside those whom browsers believe
        #[arg(long, value_name = "FILE", requires = "relay")]
        relay_authority: Vec<PathBuf>,
        /// Where the signed roster goes
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    /// Join the network of a signed roster, or take in its newer version
    #[command(
        after_help = "Examples:\n  acequia network join roster.json --trust university.card.json\n  acequia network join newer-roster.json"
    )]
    Join {
        /// The signed roster (JSON)
        roster: PathBuf,
        /// Key of whoever signs it, or the card with it, got by another way than the roster; needed the first time
        #[arg(long, value_name = "KEY|CARD")]
        trust: Option<String>,
    },
    /// List the members of the network
    #[command(after_help = "Example:\n  acequia network members")]
    Members,
    /// Check that every site of a validation record signed what stands there
    #[command(after_help = "Example:\n  acequia network check record.json")]
    Check {
        /// The record (JSON), as `acequia validate --network` wrote it
        record: PathBuf,
    },
    /// State in a validation record how far the evidence goes beyond what was measured, signed with this node's key
    ///
    /// L0 to L2 are measured. That a record is of another country or period and team (L3), ahead of time (L4) or a trial (L5) is for a named
    /// person to state, with where to look it up. It stands in the record and on its page as stated, and changes no measured level.
    #[command(
        after_help = "Example:\n  acequia network state record.json --level L3 --by 'Dr. Anna Weber' --reference https://doi.org/10.1186/1471-2288-13-33 -o stated.json --page stated.html"
    )]
    State {
        /// The record (JSON), as `acequia validate` wrote it
        record: PathBuf,
        /// L3, L4 or L5
        #[arg(long, value_name = "LEVEL", value_parser = stated_level)]
        level: Evidence,
        /// Who states it
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Where it can be looked up: a publication, a registration
        #[arg(long, value_name = "TEXT")]
        reference: String,
        /// What that person says about it
        #[arg(long, value_name = "TEXT")]
        says: Option<String>,
        /// Where the record with the statement goes
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
        /// Write it as a page that can be printed, too
        #[arg(long, value_name = "FILE.html")]
        page: Option<PathBuf>,
    },
    /// Run a plan among sites, without a coordinator
    ///
    /// The sites add up in turns; those do that have an address in the roster. At each site `acequia site serve` runs, and people
    /// decide there before anything leaves. One site gives this command, or each does, for the same plan: it is one run, and every
    /// site gets the result.
    #[command(
        after_help = "Examples:\n  acequia network run survival.plan.toml --offer\n  acequia network run survival.plan.toml --by anna -o model.json\n  acequia network run survival.plan.toml --only north --only south --only west -o model.json"
    )]
    Run(RunAmongArgs),
    /// See, fetch and mirror what neighbours publish
    #[command(
        after_help = "Examples:\n  acequia network catalogue sync\n  acequia network catalogue fetch acequia/breast-cancer-survival@1.0.0 --into copy"
    )]
    Catalogue {
        #[command(subcommand)]
        command: CatalogueCommand,
    },
    /// Show what left this node and what it refused, with the hash chains checked
    ///
    /// What left is listed by run; what was refused by what this node does in the network: as a site, as an aggregator, as a
    /// coordinator. A chain that somebody changed is an error.
    #[command(after_help = "Examples:\n  acequia network log\n  acequia network log --json")]
    Log,
    /// Add up shares of sums for others; ends with Ctrl-C
    ///
    /// An aggregator sees numbers that are noise by themselves. Of the two that a run names, one must not be in the hands of the
    /// other.
    #[command(after_help = "Example:\n  acequia network aggregate")]
    Aggregate {
        /// Where to listen [default: the port of its address in the roster]
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
    },
    /// Let members meet here who cannot reach one another directly; ends with Ctrl-C
    ///
    /// A relay serves members of the roster and nobody else, and passes on what is encrypted between their keys: it sees who meets whom,
    /// from where, when and how much, and no content. The roster names it, with `acequia network sign --relay`. Certificate and roster
    /// are looked at every minute, so that a newer one needs no restart.
    #[command(
        after_help = "Examples:\n  acequia network relay --address 0.0.0.0:443 --certificate chain.pem --key key.pem\n  acequia network relay --address 0.0.0.0:443 --certificate chain.pem --key key.pem --roster roster.json --trust university.card.json"
    )]
    Relay(RelayArgs),
}

#[derive(Subcommand)]
pub(crate) enum SiteCommand {
    /// Answer runs of the network over a table; ends with Ctrl-C
    ///
    /// The site dials out, and opens no port unless the roster gives it an address: other sites then dial it, and it adds up in turns
    /// where nobody coordinates. A run that is offered waits until somebody here allows it, but for kinds of task that the rules
    /// name. Only sums leave, and only after the rules were checked.
    #[command(
        after_help = "Examples:\n  acequia site serve --table register.csv\n  acequia site serve --table register.parquet --rules site-rules.toml"
    )]
    Serve(ServeArgs),
    /// List the runs that were offered here
    #[command(after_help = "Examples:\n  acequia site runs\n  acequia site runs --json")]
    Runs,
    /// Show one run: what would leave in plain words, who decided, and what left
    #[command(after_help = "Example:\n  acequia site show 3fa9")]
    Show {
        /// The first digits of its name, four at least, or words of its title
        run: String,
    },
    /// Allow a run
    #[command(after_help = "Example:\n  acequia site approve 3fa9 --by anna --until 2026-12-31")]
    Approve {
        /// The first digits of its name, four at least, or words of its title
        run: String,
        /// Who decides
        #[arg(long, value_name = "STAFF")]
        by: String,
        /// Last day on which it may run here
        #[arg(long, value_name = "DAY", value_parser = crate::args::day)]
        until: Option<Day>,
    },
    /// Refuse a run; one that goes on gets no answer any more
    #[command(after_help = "Example:\n  acequia site refuse 3fa9 --by anna")]
    Refuse {
        /// The first digits of its name, four at least, or words of its title
        run: String,
        /// Who decides
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Show what runs with noise gave away together, and what is left of the budget
    #[command(after_help = "Example:\n  acequia site budget --rules site-rules.toml")]
    Budget {
        /// The site's own rules (TOML), for their budget
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
    },
    /// Answer nothing any more, at once
    #[command(after_help = "Example:\n  acequia site stop")]
    Stop,
    /// Answer again, after a stop
    #[command(after_help = "Example:\n  acequia site resume")]
    Resume,
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The table, CSV or Parquet; beside `name.csv`, `name.site.toml` says how its columns become those of plans
    #[arg(long, value_name = "TABLE", required_unless_present = "donors")]
    table: Option<PathBuf>,
    /// Instead of a table, a cohort (TOML) of this node's donors, each of whom must allow it before every round
    #[arg(long, value_name = "COHORT", conflicts_with = "table")]
    donors: Option<PathBuf>,
    /// The site's own rules (TOML); docs/network.md shows them
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Where to listen for other sites [default: the port of its address in the roster, or nowhere]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Without a coordinator: seconds that a sum waits for a silent site, before the run goes on without it if the plan says so
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    answer_within: u64,
}

/// A site's own rules, as a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    /// Kinds of task that nobody is asked about.
    #[serde(default)]
    standing: BTreeSet<String>,
    rules: Option<SiteRules>,
}

struct TableHoldings(NamedTable);

impl Holdings for TableHoldings {
    fn rows(&self, plan: &Plan) -> Result<Held, LearnError> {
        Ok(Held { tables: vec![read_site(&self.0, &plan.needs())?], still_allowed: None, approve: None })
    }

    fn for_validation(&self, request: &ValidationRequest) -> Result<HeldForValidation, LearnError> {
        Ok(HeldForValidation { data: read_site(&self.0, &request.reading().needs())?, approve: None })
    }
}

/// Where a member listens that others dial: at the port of its first address, on loopback where that is loopback.
fn listen_at(roster: &Roster, folder: &MemberFolder, listen: Option<SocketAddr>) -> Result<SocketAddr, NetError> {
    if let Some(listen) = listen {
        return Ok(listen);
    }
    let key = folder.identity()?.key();
    let own =
        roster.of_key(&key).ok_or_else(|| NetError::NotAMember { who: format!("the key {key}"), role: "a member" })?;
    Ok(listens_at(own.addresses.first().map_or("0.0.0.0:0", String::as_str)))
}

/// A role by its word.
fn role(text: &str) -> Result<Role, String> {
    serde_json::from_value(json!(text)).map_err(|_| "site, coordinator or aggregator".to_owned())
}

/// A level that a person may state.
fn stated_level(text: &str) -> Result<Evidence, String> {
    let level = serde_json::from_value(json!(text)).ok().filter(|level: &Evidence| *level >= Evidence::L3);
    level.ok_or_else(|| "L3, L4 or L5: the others are measured".to_owned())
}

/// A key by its digits, or by the card that has it.
pub(crate) fn trusted(text: &str) -> Result<MemberKey, Failure> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(_) => Ok(Member::from_json(&text_of(Path::new(text), "the card of whoever signs")?)?.key),
    }
}

pub(crate) fn say(line: &str) {
    // A reader that went away wants to hear nothing.
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = std::io::stdout().flush();
}

pub(crate) async fn network(home: &Path, command: &NetworkCommand, out: &Out) -> Result<(), Failure> {
    let folder = MemberFolder::of_node(home);
    match command {
        NetworkCommand::Key => {
            let key = folder.identity()?.key();
            out.print(|| json!({ "key": key }), || key.to_string());
        }
        NetworkCommand::Card { name, role, address, catalogue, web, title, out: to } => {
            let key = folder.identity()?.key();
            let roles = role.iter().copied().collect();
            let (name, title, addresses) = (name.clone(), title.clone(), address.clone());
            let card = Member { name, title, key, roles, addresses, catalogue: catalogue.clone(), web: web.clone() };
            card.check()?;
            acequia_blobs::write_file_atomically(to, card.to_json().as_bytes())?;
            out.print(|| json!(card), || format!("The card of {} has the key {key}", card.name));
        }
        NetworkCommand::Sign { cards, title, until, relay, relay_authority, out: to } => {
            let cards = cards
                .iter()
                .map(|card| Ok(Member::from_json(&text_of(card, "a card")?)?))
                .collect::<Result<Vec<_>, Failure>>()?;
            let mut authorities = Vec::new();
            for file in relay_authority {
                authorities.extend(authorities_of_pem(&text_of(file, "the certificate of an authority of relays")?)?);
            }
            let members = Members::new(title, cards, *until, relay.clone())?.with_relay_authorities(authorities)?;
            let signed = members.sign(&folder.identity()?);
            acequia_blobs::write_file_atomically(to, signed.to_json().as_bytes())?;
            let (key, count) = (signed.signed_by(), signed.document().members.len());
            out.print(
                || json!({ "members": count, "signed_by": key, "roster": signed.digest() }),
                || format!("Signed for {count} members. They join with --trust {key}"),
            );
        }
        NetworkCommand::Join { roster, trust } => {
            let trust = trust.as_deref().map(trusted).transpose()?;
            let roster = folder.join(&text_of(roster, "the signed roster")?, trust)?;
            let key = folder.identity()?.key();
            let own = roster.of_key(&key).map(|own| own.name.clone()).unwrap_or_default();
            out.print(
                || json!({ "name": own, "members": roster.document().members.len(), "roster": roster.digest() }),
                || format!("This node is {own} in \"{}\".", roster.document().title),
            );
        }
        NetworkCommand::Members => {
            let roster = folder.roster()?;
            out.print(
                || {
                    let document = roster.document();
                    json!({ "title": document.title, "roster": roster.digest(), "members": document.members, "relays": document.relays })
                },
                || {
                    let mut text = format!("{}\n", roster.document().title);
                    for member in &roster.document().members {
                        let roles: Vec<String> =
                            member.roles.iter().filter_map(|role| json!(role).as_str().map(str::to_owned)).collect();
                        let catalogue = member.catalogue.iter().map(|at| format!("catalogue at {at}"));
                        let addresses: Vec<String> = member.addresses.iter().cloned().chain(catalogue).collect();
                        text += &format!("{:<20} {:<34} {}\n", member.name, roles.join(", "), addresses.join(", "));
                    }
                    for relay in &roster.document().relays {
                        text += &format!("{:<20} {:<34} {relay}\n", "", "relay");
                    }
                    text
                },
            );
        }
        NetworkCommand::Check { record } => {
            let record = Record::from_json(&text_of(record, "the record")?)?;
            check_record(&record, &*folder.roster()?)?;
            let sites: Vec<&str> = record.sites.iter().map(|site| site.site.as_str()).collect();
            out.print(
                || json!({ "record": record.digest(), "signed_by": sites }),
                || format!("Signed by {}.", sites.join(", ")),
            );
        }
        NetworkCommand::State { record, level, by, reference, says, out: to, page } => {
            let record = Record::from_json(&text_of(record, "the record")?)?;
            let said = (*level, by.clone(), reference.clone(), says.clone());
            let record = state(&folder, record, said, SystemClock.now().day())?;
            write_aside(to, &record.to_json())?;
            if let Some(page) = page {
                write_aside(page, &validation_page(&record))?;
            }
            out.print(|| json!(record), || crate::validate::words(&record));
        }
        NetworkCommand::Log => log(&folder, out)?,
        // Needs an open node, which the others do not.
        NetworkCommand::Catalogue { .. } => {}
        NetworkCommand::Run(args) => crate::among::run(args, home, out).await?,
        NetworkCommand::Relay(args) => crate::relay::run(args, folder, out).await?,
        NetworkCommand::Aggregate { listen } => {
            let roster = folder.roster()?;
            let listen = listen_at(&roster, &folder, *listen)?;
            let network = Network::open(&folder.identity()?, roster, Some(listen)).await?;
            let desk = AggregatorDesk::new(&network, folder.aggregator(), Arc::new(SystemClock))?;
            let at: Vec<String> = network.addresses().iter().map(ToString::to_string).collect();
            say(&format!("Adding up as {} on {}", network.own().name, at.join(", ")));
            tokio::select! {
                () = desk.serve(&network) => {}
                () = until_stopped() => {}
            }
            network.close().await;
        }
    }
    Ok(())
}

/// Everything that left, and everything that was refused.
fn log(folder: &MemberFolder, out: &Out) -> Result<(), Failure> {
    let (queue, refused) = (folder.queue(), folder.refused()?);
    let left =
        queue.list()?.into_iter().map(|run| Ok((queue.log(&run.run)?, run))).collect::<Result<Vec<_>, NetError>>()?;
    out.print(
        || {
            let left = left.iter().map(|(log, run)| json!({ "run": run.run, "title": run.offer.title, "left": log.entries(), "head": log.head() }));
            let refused = refused.iter().map(|(role, entries)| json!({ "as": role, "refused": entries }));
            json!({ "left": left.collect::<Vec<_>>(), "refused": refused.collect::<Vec<_>>() })
        },
        || {
            let mut text = String::new();
            for (log, run) in left.iter().filter(|(log, _)| !log.entries().is_empty()) {
                text += &format!("{} ({})\n", run.offer.title, run.run.short(12));
                for entry in log.entries() {
                    let to = entry.left.to.join(", ");
                    text += &format!("  {} round {} to {to}: {}\n", entry.left.at, entry.left.round, entry.left.words);
                }
            }
            for (role, entries) in &refused {
                for entry in entries {
                    let refused = &entry.refused;
                    let about = refused.about.map_or(String::new(), |about| format!(" of {}", about.short(12)));
                    let round = refused.round.map_or(String::new(), |round| format!(", round {round}"));
                    let more = if refused.more > 0 { format!(" ({} times more before)", refused.more) } else { String::new() };
                    text += &format!(
                        "{} refused as {role}: {}{about}{round} from {}, {}: {}{more}\n",
                        refused.at, refused.what, refused.from, refused.code, refused.reason
                    );
                }
            }
            let (left, refused): (usize, usize) =
                (left.iter().map(|(log, _)| log.entries().len()).sum(), refused.iter().map(|(_, entries)| entries.len()).sum());
            text + &format!("{left} answers left, {refused} entries of what was refused; all chains hold")
        },
    );
    Ok(())
}

pub(crate) async fn site(home: &Path, threads: usize, command: &SiteCommand, out: &Out) -> Result<(), Failure> {
    let folder = MemberFolder::of_node(home);
    let queue = folder.queue();
    match command {
        SiteCommand::Serve(args) => serve(args, home, threads, out).await?,
        SiteCommand::Runs => {
            let (runs, stopped) = (queue.list()?, queue.is_stopped());
            out.print(
                || json!({ "runs": runs, "stopped": stopped }),
                || {
                    let lines = runs.iter().map(|run| {
                        format!(
                            "{:<12} {:<10} {:<16} {}\n",
                            run.run.short(12),
                            standing(run),
                            run.offer.from,
                            run.offer.title
                        )
                    });
                    let note =
                        if stopped { "This site is stopped: nothing is answered. `acequia site resume`\n" } else { "" };
                    lines.collect::<String>() + note + &format!("{} runs", runs.len())
                },
            );
        }
        SiteCommand::Show { run } => show(&queue, run, out)?,
        SiteCommand::Approve { run, by, until } => {
            let found = queue.find(run)?;
            let decision = queue.decide(&found.run, true, by, *until, SystemClock.now())?;
            out.print(|| json!(decision), || format!("{} is allowed.", found.offer.title));
        }
        SiteCommand::Refuse { run, by } => {
            let found = queue.find(run)?;
            let decision = queue.decide(&found.run, false, by, None, SystemClock.now())?;
            out.print(|| json!(decision), || format!("{} is refused.", found.offer.title));
        }
        SiteCommand::Budget { rules } => budget(&queue, rules.as_deref(), out)?,
        SiteCommand::Stop => {
            queue.stop(true)?;
            out.print(
                || json!({ "stopped": true }),
                || "Nothing is answered any more. `acequia site resume` ends that.".to_owned(),
            );
        }
        SiteCommand::Resume => {
            queue.stop(false)?;
            out.print(|| json!({ "stopped": false }), || "Runs that are allowed are answered again.".to_owned());
        }
    }
    Ok(())
}

/// What was spent of the budget. Without one, at the delta that is used most.
fn budget(queue: &Queue, rules: Option<&Path>, out: &Out) -> Result<(), Failure> {
    let budget = rules_of(rules)?.rules.unwrap_or_else(SiteRules::cautious).budget;
    let delta = budget.map_or(1e-6, |budget| budget.delta);
    let (spent, runs) = queue.spent(delta)?;
    let left = budget.map(|budget| (budget.epsilon - spent).max(0.0));
    out.print(
        || json!({ "spent": spent, "delta": delta, "runs": runs, "budget": budget, "left": left }),
        || {
            let of = match (budget, left) {
                (Some(budget), Some(left)) => format!(" The budget is {}, so that {left:.3} is left.", budget.epsilon),
                _ => " There is no budget; a rules file sets one.".to_owned(),
            };
            format!("{runs} runs with noise gave away epsilon {spent:.3} at delta {delta:e} together, whoever offered them.{of}")
        },
    );
    Ok(())
}

/// Where a run stands, in a word.
fn standing(run: &QueuedRun) -> &'static str {
    match &run.decision {
        _ if run.finished => "finished",
        _ if run.failed.is_some() => "ended",
        None => "waits",
        Some(decision) if !decision.allowed => "refused",
        Some(_) if run.begun.is_some() => "running",
        Some(_) => "allowed",
    }
}

fn show(queue: &Queue, run: &str, out: &Out) -> Result<(), Failure> {
    let run = queue.find(run)?;
    let log = queue.log(&run.run)?;
    let plan = queue.plan(&run.run)?;
    out.print(
        || json!({ "run": run, "left": log.entries(), "head": log.head(), "plan": serde_json::from_str::<serde_json::Value>(&plan).unwrap_or_default() }),
        || {
            let offered = if run.among.is_some() { "Proposed, without a coordinator," } else { "Offered" };
            let mut text = format!("{} ({})\n{offered} by {} at {}.\n{}\n", run.offer.title, run.run, run.offer.from, run.offer.at, run.offer.words);
            text += &match &run.decision {
                None => format!("Nobody decided yet: acequia site approve {} --by YOU\n", run.run.short(8)),
                Some(decision) => {
                    let what = if decision.allowed { "Allowed" } else { "Refused" };
                    let until = decision.last_day.map_or(String::new(), |day| format!(", until {day}"));
                    format!("{what} by {} at {}{until}.\n", decision.by, decision.at)
                }
            };
            if run.offer.signature.is_some() {
                text += &format!("{} signed the plan with its key of the roster.\n", run.offer.from);
            }
            if let Some(among) = &run.among {
                text += &format!("Among {}; {} signed so far.\n", among.sites.join(", "), run.agreed.len());
            }
            if let Some(begun) = &run.begun {
                text += &format!("With {}.\n", begun.sites.join(", "));
            }
            if let Some(failed) = &run.failed {
                text += &format!("Ended without a result: {}.\n", failed.reason);
            }
            for entry in log.entries() {
                text += &format!("{} round {}: {}\n", entry.left.at, entry.left.round, entry.left.words);
            }
            text + &format!("{} answers left; the chain ends in {}", log.entries().len(), log.head().short(16))
        },
    );
    Ok(())
}

fn rules_of(path: Option<&Path>) -> Result<RulesFile, Failure> {
    let Some(path) = path else { return Ok(RulesFile { standing: BTreeSet::new(), rules: None }) };
    let text = text_of(path, "the rules of the site")?;
    let read = toml::from_str(&text);
    Ok(read.map_err(|error| LearnError::Plan { message: format!("the rules of the site: {}", error.message()) })?)
}

async fn serve(args: &ServeArgs, home: &Path, threads: usize, out: &Out) -> Result<(), Failure> {
    let folder = MemberFolder::of_node(home);
    let file = rules_of(args.rules.as_deref())?;
    let (identity, roster) = (folder.identity()?, folder.roster()?);
    let _serving = folder.serve()?;
    let has_address = roster.of_key(&identity.key()).is_some_and(|own| !own.addresses.is_empty());
    let listen = match args.listen {
        None if has_address => Some(listen_at(&roster, &folder, None)?),
        listen => listen,
    };
    let network = Network::open(&identity, roster, listen).await?;
    let name = network.own().name.clone();
    let holdings: Arc<dyn Holdings> = match (&args.table, &args.donors) {
        (Some(table), _) => {
            // A table that is not there should be said now, not when somebody asks.
            text_or_table(table)?;
            Arc::new(TableHoldings(NamedTable { name: name.clone(), path: table.clone() }))
        }
        (None, Some(cohort)) => Arc::new(DonorRows::open(home, threads, cohort).await?),
        (None, None) => return Err(LearnError::Plan { message: "a site needs --table or --donors".to_owned() }.into()),
    };
    let settings = SiteSettings {
        folder: folder.site(),
        rules: file.rules.unwrap_or_else(SiteRules::cautious),
        standing: file.standing,
        answer_within: Duration::from_secs(args.answer_within),
    };
    let json = out.json;
    let watch: Watch = Arc::new(move |event| {
        let line = match &event {
            SiteEvent::Connected(name) => format!("connected to {name}"),
            SiteEvent::Lost(name) => format!("lost {name}; dialling again"),
            SiteEvent::Waits(run, words) => {
                format!("waits for a decision: {words}\n  acequia site approve {} --by YOU", run.short(8))
            }
            SiteEvent::Begun(run) => format!("run {} began", run.short(12)),
            SiteEvent::Answered(run, round) => format!("run {}: answered round {round}", run.short(12)),
            SiteEvent::AddsUp(run, round, names) => {
                let verb = if names.len() == 1 { "adds up" } else { "add up" };
                format!("run {}: round {round}, {} {verb}", run.short(12), names.join(" and "))
            }
            SiteEvent::Refused(reason) => format!("refused: {reason}"),
            SiteEvent::Finished(run) => format!("run {} is finished", run.short(12)),
        };
        if json {
            say(&json!({ "event": line }).to_string());
        } else {
            eprintln!("{line}");
        }
    });
    let agent = SiteAgent::new(network.clone(), &identity, settings, holdings, Arc::new(SystemClock), watch)?;
    if !json {
        say(&format!("Answering as {name}"));
    }
    tokio::select! {
        () = agent.serve() => {}
        () = until_stopped() => {}
    }
    network.close().await;
    Ok(())
}

fn text_or_table(table: &Path) -> Result<(), LearnError> {
    std::fs::File::open(table)
        .map(drop)
        .map_err(|error| LearnError::File { what: "the table of the site".to_owned(), problem: error.kind() })
}

/// Who of the network is asked.
#[derive(Args)]
pub(crate) struct Reach {
    /// Ask the sites of the network that this node joined, instead of tables here
    #[arg(long)]
    pub(crate) network: bool,
    /// Ask only this site of the network; once for each [default: all]
    #[arg(long, value_name = "NAME", requires = "network")]
    only: Vec<String>,
    /// Only offer it to the sites, and say who allows it
    #[arg(long, requires = "network", conflicts_with = "out")]
    pub(crate) offer: bool,
    /// Where to listen [default: the port of its address in the roster]
    #[arg(long, value_name = "ADDRESS", requires = "network")]
    listen: Option<SocketAddr>,
    /// Seconds that people at the sites have to decide
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "network")]
    decide_within: u64,
}

/// How a run over the network is coordinated.
#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Seconds that a site has for one answer, before the run goes on without it
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "network")]
    answer_within: u64,
}

/// Opens this node's end of the network, to coordinate.
async fn open(reach: &Reach, answer_within: u64, home: &Path, talk: bool) -> Result<(Network, Coordinator), NetError> {
    let folder = MemberFolder::of_node(home);
    let identity = folder.identity()?;
    let roster = folder.roster()?;
    let listen = listen_at(&roster, &folder, reach.listen)?;
    let network = Network::open(&identity, roster, Some(listen)).await?;
    let settings = CoordinatorSettings {
        folder: folder.runs(),
        aggregator: folder.aggregator(),
        decide_within: Duration::from_secs(reach.decide_within),
        answer_within: Duration::from_secs(answer_within),
        sites: reach.only.iter().cloned().collect(),
    };
    let watch = Arc::new(move |event: RunEvent| {
        let line = match event {
            RunEvent::Connected(_) => return,
            RunEvent::Offered(site, what) => format!("{site} {what}"),
            RunEvent::Round(round, sites) => format!("round {round}: {sites} sites"),
            RunEvent::LeftOut(site, reason) => format!("{site} is left out: {reason}"),
        };
        if talk {
            eprintln!("{line}");
        }
    });
    let coordinator = Coordinator::new(network.clone(), settings, Arc::new(SystemClock), watch)?;
    Ok((network, coordinator))
}

/// Runs a plan over the network; `own` are rows of this node, which take part as one more site.
pub(crate) async fn coordinate(
    args: &RunArgs,
    home: &Path,
    plan: &Plan,
    own: Option<Arc<dyn Holdings>>,
    talk: bool,
) -> Result<NetworkReport, Failure> {
    let (network, mut coordinator) = open(&args.reach, args.answer_within, home, talk).await?;
    if let Some(holdings) = own {
        let folder = MemberFolder::of_node(home);
        // Whoever gives the command allows it for the node's own rows; their donors are asked besides.
        let standing = BTreeSet::from([plan.task.kind().to_owned()]);
        let answer_within = Duration::from_secs(args.answer_within);
        let settings = SiteSettings { folder: folder.site(), rules: SiteRules::own(), standing, answer_within };
        let watch: Watch = Arc::new(|event| {
            if let SiteEvent::Refused(reason) = event {
                eprintln!("own rows: refused: {reason}");
            }
        });
        let identity = folder.identity()?;
        let agent = SiteAgent::new(network.clone(), &identity, settings, holdings, Arc::new(SystemClock), watch)?;
        coordinator = coordinator.with_own_site(agent);
    }
    let report = coordinator.run(plan).await;
    network.close().await;
    Ok(report?)
}

/// Forgets where a run stands, once its result is kept.
pub(crate) fn forget(home: &Path, plan: &Plan) -> Result<(), Failure> {
    Ok(Coordinator::forget(&MemberFolder::of_node(home).runs(), plan)?)
}

/// Offers a plan to the sites of the network, and says what they say.
pub(crate) async fn offer(args: &RunArgs, home: &Path, plan: &Plan, out: &Out) -> Result<(), Failure> {
    let (network, coordinator) = open(&args.reach, args.answer_within, home, false).await?;
    let offered = coordinator.offer_only(plan).await;
    network.close().await;
    told(plan.digest(), &offered?, out);
    Ok(())
}

/// Offers a validation, and says what the sites say.
pub(crate) async fn offer_validation(
    reach: &Reach,
    home: &Path,
    request: &ValidationRequest,
    out: &Out,
) -> Result<(), Failure> {
    let (network, coordinator) = open(reach, 0, home, false).await?;
    let offered = coordinator.offer_validation(request).await;
    network.close().await;
    told(request.digest(), &offered?, out);
    Ok(())
}

fn told(digest: Digest, offered: &[(String, Option<&'static str>)], out: &Out) {
    let said = |said: Option<&str>| said.unwrap_or("cannot be reached").to_owned();
    let listed =
        || offered.iter().map(|(site, answer)| json!({ "site": site, "says": said(*answer) })).collect::<Vec<_>>();
    out.print(
        || json!({ "run": digest, "sites": listed() }),
        || offered.iter().map(|(site, answer)| format!("{site:<20} {}\n", said(*answer))).collect(),
    );
}

/// Asks the sites of the network what a model is worth there.
pub(crate) async fn findings(
    reach: &Reach,
    home: &Path,
    request: &ValidationRequest,
    talk: bool,
) -> Result<(Vec<SiteEvaluation>, Vec<SiteSignature>), Failure> {
    let (network, coordinator) = open(reach, 0, home, talk).await?;
    let found = coordinator.validate(request).await;
    network.close().await;
    Ok(found?)
}
