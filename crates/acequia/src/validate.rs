//! `acequia validate`: what a frozen model is worth at other sites.

use std::path::{Path, PathBuf};

use acequia_learn::{
    FrozenModel, ImportedModel, LearnError, Missing, Model, ModelManifest, Record, Validation, ValidationRequest,
    evaluate, validation_page,
};
use acequia_net::{MemberFolder, signed_here};
use acequia_node::Failure;
use acequia_types::{Clock, SystemClock};
use clap::Args;
use serde_json::json;

use crate::files::write_aside;
use crate::network::{Reach, findings, offer_validation};
use crate::show::Out;
use crate::train::{NamedTable, distinct, read_site};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  acequia validate model.json --at gbsg=examples/breast-cancer/gbsg.csv\n  acequia validate model.json --at gbsg=examples/breast-cancer/gbsg.csv --by meno --by hormon -o record.json --page record.html\n  acequia validate theirs.onnx --manifest theirs.import.toml --at gbsg=gbsg.csv\n  acequia validate model.json --network -o record.json"
)]
pub(crate) struct ValidateArgs {
    /// The model: JSON as `acequia train` wrote it, the ONNX or safetensors file of a published one, or ONNX of another program
    model: PathBuf,
    /// What the maker of a model of another program says about it (TOML) [default: NAME.import.toml beside NAME.onnx]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A site and its table; beside `name.csv`, `name.site.toml` says how its columns become the model's
    #[arg(long = "at", required_unless_present = "network", conflicts_with = "network", value_name = "NAME=TABLE")]
    sites: Vec<NamedTable>,
    /// Also measure in subgroups by this column; once for each
    #[arg(long = "by", value_name = "COLUMN")]
    by: Vec<String>,
    /// Days at which risks are compared [default: the model's own horizon]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    horizon_days: Option<f64>,
    /// Risks from which on somebody would act [default: 0.1,0.2,0.3,0.4,0.5,0.6]
    #[arg(long, value_delimiter = ',', value_name = "RISK,…", value_parser = risk)]
    thresholds: Vec<f64>,
    /// Bootstrap samples for intervals
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(..=100_000))]
    bootstraps: u32,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Subgroups with fewer rows or events are not shown
    #[arg(long, default_value_t = 10, value_name = "N")]
    minimum: u64,
    /// Measure on the persons whom the model's plan held out (cohort.held_out), at sites it learned from
    #[arg(long)]
    held_out: bool,
    /// Leave out rows that lack a value, and count them, instead of stopping
    #[arg(long)]
    drop_missing: bool,
    /// Write the record (JSON)
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the record as a page that can be printed
    #[arg(long, value_name = "FILE.html")]
    page: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

fn days(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|days: &f64| days.is_finite() && *days > 0.0).ok_or("a number of days above 0")
}

fn risk(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|risk: &f64| *risk > 0.0 && *risk < 1.0).ok_or("a risk between 0 and 1")
}

pub(crate) async fn run(args: &ValidateArgs, home: &Path, out: &Out) -> Result<(), Failure> {
    if !args.reach.network {
        distinct(&args.sites)?;
    }
    let model = frozen(&args.model, args.manifest.as_deref())?;
    let mut settings = Validation::usual(&model);
    if let Some(days) = args.horizon_days {
        settings = settings.at(days, &model);
    }
    if !args.thresholds.is_empty() {
        settings.thresholds.clone_from(&args.thresholds);
        settings.thresholds.sort_by(f64::total_cmp);
    }
    (settings.bootstraps, settings.seed, settings.minimum_count) = (args.bootstraps, args.seed, args.minimum);
    settings.held_out = args.held_out;
    let missing = if args.drop_missing { Missing::Drop } else { model.cohort().missing };
    let request = ValidationRequest::new(model, settings, args.by.clone(), missing);
    if args.reach.offer {
        return offer_validation(&args.reach, home, &request, out).await;
    }
    let (sites, signatures) = match args.reach.network {
        true => findings(&args.reach, home, &request, !out.json).await?,
        false => {
            let reading = request.reading();
            let evaluated =
                |site| evaluate(&request.model, &read_site(site, &reading.needs())?, &args.by, &request.settings);
            let evaluations = args.sites.iter().map(evaluated).collect::<Result<Vec<_>, LearnError>>()?;
            let signatures = signed_here(&MemberFolder::of_node(home), &request, &evaluations)?;
            (evaluations, signatures)
        }
    };
    let record = Record::new(&request.model, sites, &request.settings, SystemClock.now().day()).signed(signatures);
    if let Some(path) = &args.out {
        write_aside(path, &record.to_json())?;
    }
    if let Some(path) = &args.page {
        write_aside(path, &validation_page(&record))?;
    }
    out.print(|| json!(record), || words(&record));
    Ok(())
}

/// The model of a file: one of this program, or one of another with its manifest.
fn frozen(path: &Path, manifest: Option<&Path>) -> Result<FrozenModel, LearnError> {
    let read = |path: &Path, what: &str| {
        std::fs::read(path).map_err(|error| LearnError::File { what: what.to_owned(), problem: error.kind() })
    };
    let bytes = read(path, "the model")?;
    let beside = path.with_extension("import.toml");
    let Some(manifest) = manifest.or_else(|| beside.is_file().then_some(beside.as_path())) else {
        return Ok(Model::from_bytes(&bytes)?.into());
    };
    let text = String::from_utf8(read(manifest, "the manifest of the model")?);
    let text = text.map_err(|_| LearnError::Manifest { message: "it is not UTF-8".to_owned() })?;
    Ok(ImportedModel::new(ModelManifest::from_toml(&text)?, bytes)?.into())
}

pub(crate) fn words(record: &Record) -> String {
    let mut text = format!("{}\n{}\n{}\n", record.title, record.statement, record.evidence_words);
    for statement in &record.statements {
        text += &format!("{}\n", statement.words());
    }
    if let Some(import) = &record.imported {
        text += &format!(
            "{} {} by {}, under {}; {} of its maker's examples came out the same\n",
            import.name,
            import.version,
            import.creators.join(", "),
            import.license,
            import.examples
        );
    }
    for site in &record.sites {
        text += &format!("\n{}: {} rows, {} events, {} left out\n", site.site, site.rows, site.events, site.dropped);
        for one in &site.estimates {
            let range = one.interval.map_or(String::new(), |(low, high)| format!("  ({low:.4} to {high:.4})"));
            text += &format!("  {:<30} {:>8.4}{range}\n", one.name.replace('_', " "), one.value);
        }
        for group in site.subgroups.iter().filter(|group| !group.estimates.is_empty()) {
            let measures: Vec<String> =
                group.estimates.iter().map(|one| format!("{} {:.4}", one.name.replace('_', " "), one.value)).collect();
            let value = group.value.as_deref().unwrap_or_default();
            text += &format!("  {} = {value}: {}\n", group.column, measures.join(", "));
        }
    }
    if record.sites.len() > 1 {
        text += "\nall sites, pooled by random effects\n";
        for one in &record.pooled {
            let range = one.interval.map_or(String::new(), |(low, high)| format!("  ({low:.4} to {high:.4})"));
            let next = one.prediction.map_or(String::new(), |(low, high)| format!("  next site {low:.4} to {high:.4}"));
            text += &format!("  {:<30} {:>8.4}{range}{next}\n", one.name.replace('_', " "), one.value);
        }
    }
    text
}
