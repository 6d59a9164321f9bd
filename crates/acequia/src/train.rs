//! `acequia train`: a run plan over tables of sites and rows of donors, in this process.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use acequia_learn::{
    Architecture, Data, Form, LearnError, Ledger, Membership, Model, Needs, Outcome, Plan, Protection, Report, Roster,
    Run, ShareKey, Site, SiteMap, SiteRules, StillAllowed, SystemEntropy, ValidationRequest, membership_test,
    run_while_allowed,
};
use acequia_net::{Approve, Held, HeldForValidation, Holdings};
use acequia_node::{CohortDefinition, DONORS_SITE, Failure, Node, Progress, Silent, TrainingRows, published_source};
use acequia_types::{Clock, Coded, Digest, SystemClock};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::files::write_aside;
use crate::network::{RunArgs, coordinate, forget, offer};
use crate::show::Out;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  acequia train examples/breast-cancer/survival.plan.toml --site rotterdam=examples/breast-cancer/rotterdam.csv -o model.json\n  acequia train survival.plan.toml --site north=north.csv --site south=south.parquet --donated pool.csv -o model.json --log left\n  acequia train survival.plan.toml --site north=north.csv --site south=south.csv --look\n  acequia train survival.plan.toml --donors donors.cohort.toml --site north=north.csv -o model.json\n  acequia train survival.plan.toml --network -o model.json"
)]
pub(crate) struct TrainArgs {
    /// The run plan (TOML, or JSON). Its key `aggregation.protection` says how sums are protected: `two-aggregators`, `proven` (the same,
    /// with a proof that each number is in the plan's range), `double-masking` or `none`
    plan: PathBuf,
    /// A site and its table, CSV or Parquet; beside `name.csv`, `name.site.toml` says how its columns become the plan's
    #[arg(long = "site", required_unless_present_any = ["donors", "network"], conflicts_with = "network", value_name = "NAME=TABLE")]
    sites: Vec<NamedTable>,
    /// Table of donated rows, which take part as one more site
    #[arg(long, value_name = "TABLE", conflicts_with = "network")]
    donated: Option<PathBuf>,
    /// Cohort (TOML) of this node's donors, whose rows take part as the site `donors`; each of them must allow it before every
    /// round, and the run begins anew without who withdraws
    #[arg(long, value_name = "COHORT")]
    donors: Option<PathBuf>,
    /// Where rows are: a site for each table, or all tables at one site
    #[arg(long, value_enum, default_value_t = Mode::Federated, conflicts_with = "network")]
    mode: Mode,
    /// Sum without masks, whatever the plan says: for tables of one owner
    #[arg(long, conflicts_with = "network")]
    unmasked: bool,
    /// Write the model, or the result, as JSON
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Folder for the logs of what left each site
    #[arg(long, value_name = "FOLDER", conflicts_with = "network")]
    log: Option<PathBuf>,
    /// Only say what would leave each site in the first round
    #[arg(long, conflicts_with_all = ["out", "log", "mode", "network"])]
    look: bool,
    #[command(flatten)]
    over: RunArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// All tables at one site
    Centralised,
    /// A site for each table
    Federated,
    /// A site for each table, adding up in turns
    Decentralised,
}

impl Mode {
    fn architecture(self) -> Architecture {
        match self {
            Self::Centralised => Architecture::Centralised,
            Self::Federated => Architecture::Federated,
            Self::Decentralised => Architecture::Decentralised,
        }
    }
}

/// A site's name and its table.
#[derive(Clone)]
pub(crate) struct NamedTable {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl FromStr for NamedTable {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, path) = text.split_once('=').ok_or("NAME=TABLE, for instance north=north.csv")?;
        // A log's file is named after its site.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return Err("the name of a site is of letters, digits, - and _");
        }
        if path.is_empty() {
            return Err("NAME=TABLE, for instance north=north.csv");
        }
        Ok(Self { name: name.to_owned(), path: PathBuf::from(path) })
    }
}

/// Refuses two sites of one name: a result could not tell them apart.
pub(crate) fn distinct(sites: &[NamedTable]) -> Result<(), LearnError> {
    Roster::new(sites.iter().map(|site| site.name.clone())).map(drop)
}

pub(crate) fn text_of(path: &Path, what: &str) -> Result<String, LearnError> {
    std::fs::read_to_string(path).map_err(|error| LearnError::File { what: what.to_owned(), problem: error.kind() })
}

/// Reads a run plan, in TOML or JSON.
pub(crate) fn plan_of(path: &Path) -> Result<Plan, LearnError> {
    let text = text_of(path, "the run plan")?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json { Plan::from_json(&text) } else { Plan::from_toml(&text) }
}

/// Reads a site's table with the map that lies beside it, if there is one.
pub(crate) fn read_site(site: &NamedTable, needs: &Needs<'_>) -> Result<Data, LearnError> {
    let beside = site.path.with_extension("site.toml");
    let map = match beside.is_file() {
        true => SiteMap::from_toml(&text_of(&beside, &format!("the map of {}", site.name))?)?,
        false => SiteMap::default(),
    };
    Data::read(&site.name, &site.path, needs, &map)
}

/// Rows of the node's donors in a run.
struct Donors {
    node: Arc<Node>,
    rows: Arc<TrainingRows>,
    /// What went wrong when consent was to be asked.
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Donors {
    /// Whether every one of them allows this step.
    async fn allow(&self, step: &str) -> Result<bool, Failure> {
        self.node.use_for_training(&self.rows, step).await
    }

    /// Whether every one of them allows that the outcome of the run is told.
    async fn allow_telling(&self, outcome: &Outcome) -> Result<bool, Failure> {
        match model_digest(outcome) {
            Some(model) => self.node.tell_model(&self.rows, model).await,
            None => self.allow("result").await,
        }
    }

    /// Asks before each round. A run waits for the answer; where there is none, nothing is allowed.
    fn still_allowed(&self) -> StillAllowed {
        let (node, rows, kept) = (Arc::clone(&self.node), Arc::clone(&self.rows), Arc::clone(&self.failure));
        Arc::new(move |round| {
            let step = format!("round {round}");
            let ask = node.use_for_training(&rows, &step);
            let answer = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(ask));
            answer.unwrap_or_else(|failure| {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                false
            })
        })
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(crate) async fn run(
    args: &TrainArgs,
    home: &Path,
    threads: usize,
    progress: &dyn Progress,
    out: &Out,
) -> Result<(), Failure> {
    let mut plan = plan_of(&args.plan)?;
    if args.unmasked {
        plan.aggregation.protection = Protection::None;
        plan.aggregation.proof = None;
    }
    if args.over.reach.network {
        return over_network(args, home, threads, &plan, out).await;
    }
    let mut sites = args.sites.clone();
    sites.extend(args.donated.iter().map(|path| NamedTable { name: "donated".to_owned(), path: path.clone() }));
    let own = args.donors.iter().map(|_| DONORS_SITE.to_owned());
    Roster::new(sites.iter().map(|site| site.name.clone()).chain(own)).map(drop)?;
    let tables = sites.iter().map(|site| read_site(site, &plan.needs())).collect::<Result<Vec<_>, _>>()?;
    let node = match &args.donors {
        Some(path) => Some((Arc::new(Node::open(home, threads).await?), CohortDefinition::read(path)?)),
        None => None,
    };
    let mut begun_again = 0_u64;
    loop {
        let mut tables = tables.clone();
        let donors = match &node {
            Some((node, cohort)) => {
                let rows = Arc::new(node.training_rows(DONORS_SITE, cohort, &plan, progress).await?);
                tables.push(rows.data.clone());
                Some(Donors { node: Arc::clone(node), rows, failure: Arc::default() })
            }
            None => None,
        };
        if args.look {
            return Ok(look(&plan, tables, out)?);
        }
        if let Some(report) = finished(args, &plan, &tables, donors.as_ref()).await? {
            return told(args, &plan, &tables, &report, begun_again, out);
        }
        // Nothing of that run was told to anybody. The next one is on the rows of those who still allow it.
        progress.start("train", 1);
        progress.finish("somebody withdrew; the run begins again without the rows");
        begun_again += 1;
    }
}

/// Rows of the node's donors as one of the network's sites.
pub(crate) struct DonorRows {
    node: Arc<Node>,
    cohort: CohortDefinition,
    runtime: tokio::runtime::Handle,
    /// The rows that answered last.
    answered: Mutex<Option<Arc<TrainingRows>>>,
}

impl DonorRows {
    /// Those of a cohort of this node.
    pub(crate) async fn open(home: &Path, threads: usize, cohort: &Path) -> Result<Self, Failure> {
        let (node, cohort) = (Arc::new(Node::open(home, threads).await?), CohortDefinition::read(cohort)?);
        Ok(Self { node, cohort, runtime: tokio::runtime::Handle::current(), answered: Mutex::default() })
    }
}

impl Holdings for DonorRows {
    fn for_validation(&self, _: &ValidationRequest) -> Result<HeldForValidation, LearnError> {
        // Donors are asked for training; measuring a model on their rows is a use of its own.
        let reason = "its donors were asked for training only".to_owned();
        Err(LearnError::Withheld { site: DONORS_SITE.to_owned(), reason })
    }

    fn tell(&self, outcome: &Outcome) -> Result<(), LearnError> {
        let rows = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(rows) = rows else { return Ok(()) };
        let donors = Donors { node: Arc::clone(&self.node), rows, failure: Arc::default() };
        let withheld =
            |failure: Failure| LearnError::Withheld { site: DONORS_SITE.to_owned(), reason: failure.to_string() };
        match self.runtime.block_on(donors.allow_telling(outcome)).map_err(withheld)? {
            true => Ok(()),
            false => Err(LearnError::Withdrawn { site: DONORS_SITE.to_owned() }),
        }
    }

    fn rows(&self, plan: &Plan) -> Result<Held, LearnError> {
        let withheld =
            |failure: Failure| LearnError::Withheld { site: DONORS_SITE.to_owned(), reason: failure.to_string() };
        let made = self.node.training_rows(DONORS_SITE, &self.cohort, plan, &Silent);
        let rows = Arc::new(self.runtime.block_on(made).map_err(withheld)?);
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&rows));
        let donors = Donors { node: Arc::clone(&self.node), rows: Arc::clone(&rows), failure: Arc::default() };
        let (node, runtime, behind) = (Arc::clone(&self.node), self.runtime.clone(), Arc::clone(&rows));
        let approve: Approve = Arc::new(move |answer| runtime.block_on(node.approve_answer(&behind, answer)));
        let still_allowed = Some(donors.still_allowed());
        Ok(Held { tables: vec![rows.data.clone()], still_allowed, approve: Some(approve) })
    }
}

async fn over_network(args: &TrainArgs, home: &Path, threads: usize, plan: &Plan, out: &Out) -> Result<(), Failure> {
    if args.over.reach.offer {
        return offer(&args.over, home, plan, out).await;
    }
    let own: Option<Arc<dyn Holdings>> = match &args.donors {
        Some(path) => Some(Arc::new(DonorRows::open(home, threads, path).await?)),
        None => None,
    };
    let report = match coordinate(&args.over, home, plan, own, !out.json).await {
        Err(failure) if failure.code == LearnError::Withdrawn { site: String::new() }.code() => {
            // Its rounds were with rows that may not take part any more.
            forget(home, plan)?;
            return Err(failure);
        }
        report => report?,
    };
    if let Some(path) = &args.out {
        write_aside(path, &document(&report.outcome))?;
    }
    forget(home, plan)?;
    out.print(
        || {
            json!({
                "plan": plan.digest(), "architecture": "network", "rounds": report.rounds, "sites": report.sites,
                "left_out": report.left_out, "bytes_sent": report.bytes_sent, "bytes_received": report.bytes_received,
                "outcome": report.outcome, "model": model_digest(&report.outcome),
            })
        },
        || {
            let protection = protection_words(plan);
            let mut text = format!(
                "{} rounds with {}, {} bytes sent and {} received here, {protection}.\n",
                report.rounds,
                report.sites.join(", "),
                report.bytes_sent,
                report.bytes_received
            );
            if !report.left_out.is_empty() {
                text += &format!("Left out on the way: {}.\n", report.left_out.join(", "));
            }
            text + &outcome_words(&report.outcome)
        },
    );
    Ok(())
}

/// The run with its membership test, up to the moment before anything is written; `None` as soon as a donor does not allow
/// it any more.
async fn finished(
    args: &TrainArgs,
    plan: &Plan,
    tables: &[Data],
    donors: Option<&Donors>,
) -> Result<Option<Report>, Failure> {
    let architecture = args.mode.architecture();
    let still_allowed = donors.map(Donors::still_allowed);
    let asked = still_allowed.as_ref().map(|still_allowed| (DONORS_SITE, still_allowed));
    let now = SystemClock.now();
    let run = run_while_allowed(plan, tables.to_vec(), architecture, &SiteRules::own(), asked, now, &mut SystemEntropy);
    if let Some(failure) = donors.and_then(Donors::failure) {
        return Err(failure);
    }
    let mut report = match run {
        Err(LearnError::Withdrawn { .. }) => return Ok(None),
        run => run?,
    };
    if let Outcome::Model(model) = report.outcome {
        if let Some(donors) = donors
            && !donors.allow("membership test").await?
        {
            return Ok(None);
        }
        // Before anything is written: a model that gives its rows away stays here.
        let tested = model.tested(membership_test(plan, tables), &plan.privacy)?;
        let tables = args.sites.iter().map(|site| &site.path).chain(&args.donated);
        let tested = tested.learned(tables.filter_map(|path| published_source(path)).collect());
        report.outcome = Outcome::Model(Box::new(tested));
    }
    match donors {
        Some(donors) if !donors.allow_telling(&report.outcome).await? => Ok(None),
        _ => Ok(Some(report)),
    }
}

/// Writes what was asked for, and tells the rest.
fn told(
    args: &TrainArgs,
    plan: &Plan,
    tables: &[Data],
    report: &Report,
    begun_again: u64,
    out: &Out,
) -> Result<(), Failure> {
    if let Some(path) = &args.out {
        write_aside(path, &document(&report.outcome))?;
    }
    if let Some(folder) = &args.log {
        std::fs::create_dir_all(folder)
            .map_err(|error| LearnError::File { what: "the folder for logs".to_owned(), problem: error.kind() })?;
        for (site, log) in &report.logs {
            write_aside(&folder.join(format!("{site}.left.jsonl")), &log.to_lines())?;
        }
    }
    let architecture = args.mode.architecture();
    let counts = |table: &Data| {
        json!({
            "site": table.name(), "rows": table.rows(), "events": table.events(), "dropped": table.dropped(),
            "outside_cohort": table.outside(),
        })
    };
    out.print(
        || {
            json!({
                "plan": plan.digest(), "architecture": architecture, "rounds": report.rounds,
                "bytes_out": report.bytes_out, "sites": tables.iter().map(counts).collect::<Vec<Value>>(),
                "outcome": report.outcome, "model": model_digest(&report.outcome), "begun_again": begun_again,
            })
        },
        || words(plan, architecture, report),
    );
    Ok(())
}

pub(crate) fn model_digest(outcome: &Outcome) -> Option<Digest> {
    match outcome {
        Outcome::Model(model) => Some(model.digest()),
        _ => None,
    }
}

fn document(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Model(model) => model.to_json(),
        other => format!("{:#}\n", json!(other)),
    }
}

fn look(plan: &Plan, tables: Vec<Data>, out: &Out) -> Result<(), LearnError> {
    let roster = Roster::new(tables.iter().map(|table| table.name().to_owned()))?;
    let ask = Run::new(plan, &roster).ask();
    let mut leaving = Vec::new();
    for table in tables {
        let name = table.name().to_owned();
        let key = ShareKey::drawn(&mut SystemEntropy)?;
        let site = Site::join(&name, plan, &roster, vec![table], SiteRules::own(), &mut Ledger::default(), key)?;
        leaving.push((name, site.look(&ask)?));
    }
    out.print(
        || json!(leaving.iter().map(|(site, leaving)| json!({ "site": site, "leaving": leaving })).collect::<Vec<_>>()),
        || leaving.iter().map(|(site, leaving)| format!("{site}: {}\n", leaving.words)).collect(),
    );
    Ok(())
}

fn words(plan: &Plan, architecture: Architecture, report: &Report) -> String {
    let protection = protection_words(plan);
    let where_from = match architecture {
        Architecture::Centralised => "were summed at one site",
        Architecture::Federated => "left the sites",
        Architecture::Decentralised => "left the sites, who added up in turns",
    };
    let how = format!("{} rounds, {} bytes {where_from}, {protection}.\n", report.rounds, report.bytes_out);
    how + &outcome_words(&report.outcome)
}

fn protection_words(plan: &Plan) -> &'static str {
    match plan.aggregation.protection {
        Protection::TwoAggregators => "masked between two aggregators",
        Protection::Proven => "masked between two aggregators, with proofs",
        Protection::DoubleMasking => "masked between the sites",
        Protection::None => "not masked",
    }
}

pub(crate) fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Model(model) => model_words(model),
        other => format!("{:#}\n", json!(other)),
    }
}

fn model_words(model: &Model) -> String {
    let mut text =
        format!("{}: {}, {}, from {}.\n", model.title, model.kind(), model.learned_words(), model.sites.join(", "));
    if let Form::Boosting { trees, .. } = &model.form {
        text += &format!("{} trees\n", trees.len());
    } else if let Form::Network { weights, .. } = &model.form {
        text += &format!("{} weights\n", weights.len());
    } else {
        text += &format!("{:<24} {:>12} {:>12}\n", "variable", "coefficient", "std. error");
        for (at, (variable, b)) in model.variables.iter().zip(model.coefficients()).enumerate() {
            let error =
                model.standard_errors().get(at).map_or_else(|| "none".to_owned(), |error| format!("{error:.5}"));
            text += &format!("{:<24} {b:>12.5} {error:>12}\n", variable.variable.name);
        }
    }
    if let Some(guarantee) = &model.differential_privacy {
        text += &format!("{}\n", guarantee.words());
    }
    let membership = model.membership.as_ref().map_or(String::new(), Membership::words);
    text + &format!("Membership inference: {membership}\nmodel {}\n", model.digest())
}
