//! The command line: words in, text out, exit codes. stdout is data, stderr is talk.

mod access;
mod account;
mod among;
mod args;
mod bars;
mod blobs;
mod catalogue;
mod cleanse;
#[cfg(feature = "cluster")]
mod cluster;
mod demo_network;
mod deposit;
mod diversity;
mod events;
mod explain;
mod files;
mod hierarchy;
mod link;
mod network;
mod papers;
mod publish;
mod read;
mod relay;
mod rights;
mod risk;
mod shift_dates;
mod show;
mod train;
mod unify;
mod validate;
mod vocabulary;

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use acequia_deidentify::{
    Beside, Extent, deidentify_events, deidentify_file, events_path, read_policy, recount_beside, recount_events,
    risk_report,
};
use acequia_node::{DonateOptions, DonorId, Exit, Failure, Holder, Node, NodeError, Progress, Recipe, Serving, Silent};
use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command, ConsentCommand, ReleaseCommand};
use crate::network::NetworkCommand;
use crate::show::Out;

/// What is told on stderr. A relay's server would tell of every stranger who knocks.
const LOGGED: &str = "warn,acequia_node=info,acequia_net::relay=info,iroh_relay::server=off";

fn main() -> ExitCode {
    // Models of other programs run in a process of their own, which is this program again.
    if let Some(exit) = acequia_inference::confinable() {
        return exit;
    }
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("ACEQUIA_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    // Not `init`, which would take in what libraries tell the crate `log`, too.
    let talk = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = tracing::subscriber::set_global_default(talk.with_target(false).with_ansi(false).finish());
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let out = Out { json: args.json };
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(command(&args, threads, &out)),
        Err(error) => {
            eprintln!("error: the threads cannot be started: {}", error.kind());
            return ExitCode::from(Exit::Temporary.code());
        }
    };
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

async fn command(args: &Args, threads: usize, out: &Out) -> Result<ExitCode, Failure> {
    let home = args.home.as_path();
    let bars = bars::Bars::new();
    let progress: &dyn Progress = if args.json || args.quiet { &Silent } else { &bars };
    match &args.command {
        Command::Init => {
            Node::init(home, threads).await?;
            out.initialised(home);
        }
        Command::Donate { paths, mapping, consent } => {
            let options = DonateOptions { mapping: mapping.clone(), consent: consent.clone() };
            let report = Node::open(home, threads).await?.donate(paths, &options, progress).await?;
            out.donated(&report);
        }
        Command::Read(read) => return read.run(out),
        // Whoever thinks about giving has no node yet.
        Command::Consent { command: ConsentCommand::Notice { language, to } } => {
            let notice = match Node::open(home, threads).await {
                Ok(node) => node.notice(language).await?,
                Err(failure) if failure.exit == Exit::NotFound => acequia_node::bundled_notice(language)?,
                Err(failure) => return Err(failure),
            };
            if let Some(to) = to {
                acequia_blobs::write_file_atomically(to, format!("{}\n", notice.text).as_bytes())?;
            }
            out.notice(&notice, to.as_deref());
        }
        Command::Consent { command } => {
            let node = Node::open(home, threads).await?;
            match command {
                ConsentCommand::List => out.consents(&node.consents().await?),
                // Parsed here: a word that is no account must not be repeated by the parser of the command line.
                ConsentCommand::Show { donor } => out.consent(&node.consent(&DonorId::parse(donor)?).await?),
                ConsentCommand::Timeline { donor, language } => {
                    let happened = node.timeline(&DonorId::parse(donor)?).await?;
                    out.happened(&happened, &node.texts(language)?);
                }
                ConsentCommand::Report { donor, language, to } => {
                    let report = node.withdrawal(&DonorId::parse(donor)?).await?;
                    if let Some(to) = to {
                        let page = report.page(&node.texts(language)?);
                        acequia_blobs::write_file_atomically(to, page.as_bytes())?;
                    }
                    out.withdrawal(&report, to.as_deref());
                }
                other => {
                    if let Some((donor, change)) = other.change() {
                        if change.gives_unshown() && !args.quiet {
                            eprintln!(
                                "note: open publication cannot be undone; show the donor `acequia consent notice`, and record it with --shown LANGUAGE"
                            );
                        }
                        out.consent(&node.change_consent(&DonorId::parse(donor)?, change).await?);
                    }
                }
            }
        }
        Command::Rights { command } => rights::run(&Node::open(home, threads).await?, command, out).await?,
        Command::Papers { command } => papers::run(&Node::open(home, threads).await?, command, out).await?,
        Command::Run { recipe } => {
            let recipe = Recipe::read(recipe)?;
            let report = Node::open(home, threads).await?.run(&recipe, progress).await?;
            out.ran(&report);
        }
        Command::Publish(args) => publish::run(args, home, threads, progress, out).await?,
        Command::Release { command } => {
            let node = Node::open(home, threads).await?;
            match command {
                ReleaseCommand::List => out.releases(&node.published().await?),
                ReleaseCommand::Export { dataset, to } => {
                    let files = node.export(&dataset.dataset, dataset.version.as_deref(), to).await?;
                    out.exported(&dataset.dataset, files, to);
                }
                ReleaseCommand::TakeDown { dataset, reason } => {
                    let Some(version) = &dataset.version else {
                        return Err(NodeError::NotFound { what: "published version" }.into());
                    };
                    let new = node.take_down(&dataset.dataset, version, *reason).await?;
                    out.taken_down(&dataset.dataset, version, new);
                }
            }
        }
        Command::Verify { what, key } => return verify(home, threads, (what, key.as_deref()), out).await,
        Command::Serve { address, public_address } => {
            let node = Node::open(home, threads).await?;
            serve(node, *address, public_address.as_deref(), |serving| out.serving(serving)).await?;
        }
        Command::Doctor { mend } => {
            let findings = Node::open(home, threads).await?.doctor(*mend).await?;
            let held = findings.iter().all(|finding| finding.held);
            out.doctor(&findings);
            return Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(Exit::Integrity.code()) });
        }
        Command::Explain { code } => explain::run(code, out)?,
        Command::Blobs { command } => {
            return blobs::run(&Node::open(home, threads).await?, command, progress, out).await;
        }
        Command::Account { command } => {
            account::run(&Node::open(home, threads).await?, command, args.quiet, out).await?
        }
        Command::Access { command } => access::run(&Node::open(home, threads).await?, command, out).await?,
        Command::Token { command } => deposit::token(&Node::open(home, threads).await?, command, out).await?,
        Command::Deposit { command } => deposit::run(&Node::open(home, threads).await?, command, out).await?,
        Command::Demo { address, no_serve, network } => {
            let node = match Node::open(home, threads).await {
                Ok(node) => node,
                Err(failure) if failure.exit == Exit::NotFound => Node::init(home, threads).await?,
                Err(failure) => return Err(failure),
            };
            let files = acequia_node::write_demo_files(&home.join("demo"))?;
            let given: Vec<_> = files.cohorts.iter().cloned().chain([files.donors.clone()]).collect();
            let donated = node.donate(&given, &DonateOptions::default(), progress).await?;
            let report = node.run(&Recipe::read(&files.recipe)?, progress).await?;
            let shown = match network {
                true => {
                    let folders = (home.join("demo/example"), home.join("demo/network"));
                    Some(demo_network::show(&node, (&folders.0, &folders.1), progress).await?)
                }
                false => None,
            };
            if *no_serve {
                out.demo(&donated, &report, shown.as_ref(), None);
            } else {
                // A simulated donor, so that whoever looks at the demo can be one.
                let donor = Holder::Donor(DonorId::parse(DEMO_DONOR)?);
                let invitation = node.invite(&donor, "demo").await?;
                serve(node, address.unwrap_or_else(usual_or_free), None, |serving| {
                    out.demo(&donated, &report, shown.as_ref(), Some((serving, &invitation)))
                })
                .await?;
            }
        }
        Command::Cleanse(words) => cleanse::run(words, out)?,
        #[cfg(feature = "cluster")]
        Command::Cluster { command } => cluster::run(command, threads).await?,
        Command::Diversity(words) => diversity::run(words, out)?,
        Command::Deidentify { table, policy, out: to, population, events, report, memory_mb } => {
            let (mut policy, hierarchies) = read_policy(policy)?;
            if report.is_some() {
                policy.attacks.extent = Extent::Full;
            }
            let memory_bytes = memory_mb.saturating_mul(1 << 20);
            let receipt = match events {
                Some(events) => deidentify_events(table, Some(events), &policy, &hierarchies, to)?,
                None => deidentify_file(table, population.as_deref(), &policy, &hierarchies, to, memory_bytes)?,
            };
            if let Some(report) = report {
                files::write_aside(report, &risk_report(&files::title(table), None, Some(&receipt)))?;
            }
            out.deidentified(&receipt, to);
        }
        Command::Risk(args) => risk::run(args, out)?,
        Command::CheckAnonymity { table, policy, population } => {
            let (policy, hierarchies) = read_policy(policy)?;
            if policy.events.is_some() {
                let (recount, events) = recount_events(table, &events_path(table), &policy, &hierarchies, None)?;
                out.recounted(&recount, Some(&events), &policy);
            } else {
                let population = population.as_deref();
                let beside = Beside { hierarchy_files: Some(&hierarchies), population, ..Beside::default() };
                out.recounted(&recount_beside(table, &policy, &beside)?, None, &policy);
            }
        }
        Command::Hierarchy(args) => hierarchy::run(args, out)?,
        Command::ShiftDates(args) => shift_dates::run(args, out)?,
        Command::Link(args) => link::run(args, threads, out)?,
        Command::Vocabulary { command } => return vocabulary::run(command, home, args.quiet, out),
        Command::Unify(words) => return unify::run(words, threads, out),
        Command::Train(args) => train::run(args, home, threads, progress, out).await?,
        Command::Network { command: NetworkCommand::Catalogue { command } } => {
            return catalogue::run(home, threads, command, progress, out).await;
        }
        Command::Network { command } => network::network(home, command, out).await?,
        Command::Site { command } => network::site(home, threads, command, out).await?,
        Command::Validate(args) => validate::run(args, home, out).await?,
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "acequia", &mut std::io::stdout());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A donor whom the demo simulates.
const DEMO_DONOR: &str = "donor-0001";

/// The usual address, or a free port where another program has it: whoever tries the demo should see it.
fn usual_or_free() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let free = std::net::TcpListener::bind(usual).is_ok();
    if free { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}

async fn verify(
    home: &Path,
    threads: usize,
    (what, key): (&str, Option<&str>),
    out: &Out,
) -> Result<ExitCode, Failure> {
    let folder = Path::new(what);
    let (manifest, verification) = if folder.join("manifest.json").is_file() {
        acequia_node::verify_folder(folder, key)?
    } else {
        let Ok(named) = what.parse::<args::Versioned>() else {
            return Err(NodeError::NotFound { what: "published version or folder" }.into());
        };
        Node::open(home, threads).await?.verify(&named.dataset, named.version.as_deref()).await?
    };
    let failed = verification.checks.iter().filter(|check| !check.held).count();
    let (dataset, version, checks) = (manifest.dataset.to_string(), manifest.version, verification.checks.len());
    let named = (dataset.clone(), version.clone());
    let failure = (failed > 0).then(|| Failure::from(NodeError::Verification { dataset, version, failed, checks }));
    out.verified(&named.0, &named.1, &verification, failure.as_ref());
    Ok(failure.map_or(ExitCode::SUCCESS, |failure| ExitCode::from(failure.exit.code())))
}

/// Waits for Ctrl-C, or for whoever stops services.
async fn until_stopped() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    // Without signals the process is stopped from outside.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn serve(
    node: Node,
    address: SocketAddr,
    public_address: Option<&str>,
    ready: impl FnOnce(&Serving),
) -> Result<(), Failure> {
    let terminal = std::io::stderr().is_terminal();
    let ready = |serving: Serving| {
        ready(&serving);
        if terminal {
            eprintln!("Press Ctrl-C to stop.");
        }
    };
    node.serve(address, public_address, ready, until_stopped()).await
}
