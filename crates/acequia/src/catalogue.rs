//! `acequia network catalogue`: what neighbours publish.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use acequia_node::{Failure, FetchReport, KnownLine, Node, NodeError, Progress, SyncReport};
use clap::Subcommand;
use serde_json::json;

use crate::args::Versioned;
use crate::show::Out;

#[derive(Subcommand)]
pub(crate) enum CatalogueCommand {
    /// Ask neighbours what they published or took down since
    ///
    /// What contradicts what a neighbour told before is refused and said. A version that a neighbour took down is not served here any
    /// more either, and what `mirror` in settings.toml names is mirrored.
    #[command(
        after_help = "Examples:\n  acequia network catalogue sync\n  acequia network catalogue sync --from trustee --json"
    )]
    Sync {
        /// Ask these only
        #[arg(long, value_name = "MEMBER")]
        from: Vec<String>,
    },
    /// List what neighbours publish, as far as they were asked
    #[command(after_help = "Examples:\n  acequia network catalogue list\n  acequia network catalogue list --json")]
    List,
    /// Fetch a version of a neighbour into a folder, every byte checked
    ///
    /// Whoever published it is asked first, then others who mirror it. A fetch that broke off goes on where it was.
    #[command(
        after_help = "Examples:\n  acequia network catalogue fetch acequia/breast-cancer-survival@1.0.0 --into copy\n  acequia network catalogue fetch acequia/breast-cancer-survival --from leiden --into copy"
    )]
    Fetch {
        /// NAMESPACE/NAME, or NAMESPACE/NAME@VERSION
        #[arg(value_name = "NAME@VERSION")]
        dataset: Versioned,
        /// Ask this member only
        #[arg(long, value_name = "MEMBER")]
        from: Option<String>,
        /// Where the files go
        #[arg(long, value_name = "FOLDER")]
        into: PathBuf,
    },
    /// Serve a version of a neighbour here, too: the same bytes under the same name
    #[command(
        after_help = "Examples:\n  acequia network catalogue mirror acequia/breast-cancer-survival@1.0.0\n  acequia network catalogue mirror acequia/breast-cancer-survival@1.0.0 --stop"
    )]
    Mirror {
        /// NAMESPACE/NAME, or NAMESPACE/NAME@VERSION
        #[arg(value_name = "NAME@VERSION")]
        dataset: Versioned,
        /// Ask this member only
        #[arg(long, value_name = "MEMBER", conflicts_with = "stop")]
        from: Option<String>,
        /// End the mirror, and remove its files
        #[arg(long)]
        stop: bool,
    },
}

pub(crate) async fn run(
    home: &Path,
    threads: usize,
    command: &CatalogueCommand,
    progress: &dyn Progress,
    out: &Out,
) -> Result<ExitCode, Failure> {
    let node = Node::open(home, threads).await?;
    match command {
        CatalogueCommand::Sync { from } => {
            let report = node.sync_catalogues(from, progress).await?;
            out.print(|| json!(report), || told(&report));
            if let Some(exit) = report.exit() {
                return Ok(ExitCode::from(exit.code()));
            }
        }
        CatalogueCommand::List => {
            let lines = node.known_versions().await?;
            out.print(|| json!(lines), || listed(&lines));
        }
        CatalogueCommand::Fetch { dataset, from, into } => {
            let (name, version) = (&dataset.dataset, dataset.version.as_deref());
            let report = node.fetch_version(name, version, from.as_deref(), into, progress).await?;
            let into = into.display().to_string();
            out.print(
                || json!({ "fetched": report, "into": into }),
                || format!("{}\nThey are in {into}; `acequia verify {into}` rechecks them.", fetched(&report)),
            );
        }
        CatalogueCommand::Mirror { dataset, stop: true, .. } => {
            let Some(version) = &dataset.version else {
                return Err(NodeError::NotFound { what: "mirrored version" }.into());
            };
            let new = node.stop_mirror(&dataset.dataset, version).await?;
            let words = if new { "is not mirrored any more" } else { "was not mirrored any more before" };
            out.print(
                || json!({ "dataset": dataset.dataset, "version": version, "stopped": new }),
                || format!("{} {version} {words}.", dataset.dataset),
            );
        }
        CatalogueCommand::Mirror { dataset, from, .. } => {
            let (name, version) = (&dataset.dataset, dataset.version.as_deref());
            let report = node.mirror(name, version, from.as_deref(), progress).await?;
            let of = format!("{} {}", report.fetched.dataset, report.fetched.version);
            out.print(
                || json!(report),
                || match report.new {
                    true => format!("{}\n{of} is mirrored here.", fetched(&report.fetched)),
                    false => format!("{of} was mirrored before."),
                },
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fetched(report: &FetchReport) -> String {
    let names = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "{} {} of {}: {} files, {} fetched and {} there before; {} bytes",
        report.dataset, report.version, report.published_by, report.files, report.fetched, report.present, report.bytes
    );
    if !report.from.is_empty() {
        text += &format!(" from {}", names(&report.from));
    }
    if !report.liars.is_empty() {
        text += &format!("\n{} gave other bytes than asked for, which were thrown away.", names(&report.liars));
    }
    text
}

fn told(report: &SyncReport) -> String {
    let mut text = String::new();
    for one in &report.neighbours {
        text += &format!(
            "{:<20} {} new entries; {} versions: {} known, {} without manifest, {} taken down\n",
            one.member, one.new_entries, one.versions, one.known, one.without_manifest, one.taken_down
        );
        for problem in &one.problems {
            text += &format!("  {problem}\n");
        }
    }
    let mirrors = &report.mirrors;
    text += &format!(
        "mirrors: {} wanted, {} there before, {} new, {} failed; {} taken down\n",
        mirrors.wanted, mirrors.already, mirrors.mirrored, mirrors.failed, mirrors.taken_down
    );
    for problem in &mirrors.problems {
        text += &format!("  {problem}\n");
    }
    text
}

fn listed(lines: &[KnownLine]) -> String {
    let line = |line: &KnownLine| {
        let state = match (&line.taken_down, line.mirrored) {
            (Some(reason), _) => format!(" taken down ({reason})"),
            (None, true) => " mirrored here".to_owned(),
            (None, false) => String::new(),
        };
        let title = line.title.as_deref().unwrap_or_default();
        format!("{:<20} {} {} {} {title}{state}\n", line.member, line.dataset, line.version, line.published_at)
    };
    match lines {
        [] => "Nothing is known of neighbours yet; `acequia network catalogue sync` asks them.".to_owned(),
        lines => lines.iter().map(line).collect(),
    }
}
