//! `acequia demo --network`: the Rotterdam cohort in three hospitals, each a process of its own that talks over the network.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use acequia_learn::{
    Architecture, Data, Model, Outcome, Plan, Protection, Record, SiteMap, SiteRules, SystemEntropy, Validation,
    ValidationRequest, evaluate, run_here, validation_page,
};
use acequia_net::{Coordinator, CoordinatorSettings, Member, MemberFolder, Members, NetError, Network, Role};
use acequia_node::{Failure, ModelRecipe, ModelReport, Node, Progress};
use acequia_types::{Clock, SystemClock};
use serde::Serialize;

use crate::files::write_aside;
use crate::train::{NamedTable, read_site, text_of};

const HOSPITALS: [&str; 3] = ["hospital-a", "hospital-b", "hospital-c"];
/// Every other organisation than the hospitals; names as in the plan of the example.
const TRUSTEE: &str = "university";
const ADDER: &str = "patients-association";
const CARD: &str = "survival.model.toml";
/// Columns of the other cohort whose values are subgroups.
const GROUPS: [&str; 2] = ["meno", "hormon"];
const RULES: &str = "standing = [\"cox\"]\n";

/// What the hospitals showed.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// Rounds over the network.
    rounds: u32,
    /// Whose rows are in the model.
    sites: Vec<String>,
    /// Largest difference of a coefficient from the one of all rows in one table.
    largest_difference: f64,
    /// Discrimination on the other cohort (Harrell et al. 1996).
    concordance: f64,
    /// Where model and record are.
    model: PathBuf,
    record: PathBuf,
    /// The model as it was published.
    published: Option<ModelReport>,
}

impl Shown {
    pub(crate) fn words(&self) -> String {
        format!(
            "\nThree hospitals with a third of the Rotterdam cohort each trained a model over the network in {} rounds; only masked sums left them.\n\
             All rows in one table give the same coefficients: the largest difference is {:.1e}.\n\
             On the German trial the model's concordance is {:.4}.\n\
             Model: {}\nWhat it is worth elsewhere: {}\n{}",
            self.rounds,
            self.largest_difference,
            self.concordance,
            self.model.display(),
            self.record.display(),
            match &self.published {
                Some(report) => format!("Published as {} {}.\n", report.model, report.version),
                None => "It is published already.\n".to_owned(),
            }
        )
    }
}

/// Processes that end with the demo.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn file(what: &'static str) -> impl Fn(std::io::Error) -> NetError {
    move |error| NetError::File { what, problem: error.kind() }
}

/// An address on loopback that is free now.
fn free() -> Result<SocketAddr, NetError> {
    let taken = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    taken.map_err(|error| NetError::Bind { address: "127.0.0.1:0".to_owned(), reason: error.kind().to_string() })
}

/// Runs it, and publishes the model with the trustee's node. `example` holds the files of the example, `folder` gets everything
/// that is made.
pub(crate) async fn show(
    node: &Node,
    (example, folder): (&Path, &Path),
    progress: &dyn Progress,
) -> Result<Shown, Failure> {
    progress.start("network", 1);
    let what = "the folder of the hospitals";
    // Sites answer a run with one roster only, and the ports of this one are new.
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file(what)(error).into()),
        _ => std::fs::create_dir_all(folder).map_err(file(what))?,
    }
    let (trustee_at, adder_at) = (free()?, free()?);
    let mut cards = Vec::new();
    let roles = |roles: &[Role]| roles.iter().copied().collect::<BTreeSet<Role>>();
    let members = HOSPITALS.map(|name| (name, roles(&[Role::Site]), None)).into_iter().chain([
        (ADDER, roles(&[Role::Aggregator]), Some(adder_at)),
        (TRUSTEE, roles(&[Role::Coordinator, Role::Aggregator]), Some(trustee_at)),
    ]);
    for (name, roles, address) in members {
        let key = MemberFolder::of_node(&folder.join(name)).identity()?.key();
        let addresses = address.iter().map(ToString::to_string).collect();
        cards.push(Member { name: name.to_owned(), title: None, key, roles, addresses, catalogue: None, web: None });
    }
    let trustee = MemberFolder::of_node(&folder.join(TRUSTEE));
    let identity = trustee.identity()?;
    let roster = Members::new("The hospitals of the demonstration", cards.clone(), None, Vec::new())?.sign(&identity);
    for card in &cards {
        MemberFolder::of_node(&folder.join(&card.name)).join(&roster.to_json(), Some(identity.key()))?;
    }

    // A third of the cohort for each, by the number of the patient.
    let cohort = text_of(&example.join("rotterdam.csv"), "the cohort")?;
    let mut lines = cohort.lines();
    let header = lines.next().unwrap_or_default();
    let mut thirds = HOSPITALS.map(|_| format!("{header}\n"));
    for line in lines {
        let number: usize = line.split(',').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        thirds[number % 3] += &format!("{line}\n");
    }
    let program = std::env::current_exe().map_err(file(what))?;
    let mut running = Processes(Vec::new());
    let mut start = |name: &str, words: &[&std::ffi::OsStr]| -> Result<(), NetError> {
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).map_err(file(what))?;
        let mut command = Command::new(&program);
        command.arg("--home").arg(folder.join(name)).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        running.0.push(command.spawn().map_err(file("another process of this program"))?);
        Ok(())
    };
    let rules = folder.join("rules.toml");
    acequia_blobs::write_file_atomically(&rules, RULES.as_bytes())?;
    start(ADDER, &["network".as_ref(), "aggregate".as_ref()])?;
    for (name, third) in HOSPITALS.iter().zip(&thirds) {
        let table = folder.join(format!("{name}.csv"));
        acequia_blobs::write_file_atomically(&table, third.as_bytes())?;
        let words = [
            "site".as_ref(),
            "serve".as_ref(),
            "--table".as_ref(),
            table.as_os_str(),
            "--rules".as_ref(),
            rules.as_os_str(),
        ];
        start(name, &words)?;
    }

    let plan = Plan::from_toml(&text_of(&example.join("survival.plan.toml"), "the run plan")?)?;
    let network = Network::open(&identity, trustee.roster()?, Some(trustee_at)).await?;
    let settings = CoordinatorSettings {
        folder: trustee.runs(),
        aggregator: trustee.aggregator(),
        decide_within: Duration::from_secs(60),
        answer_within: Duration::from_secs(60),
        sites: BTreeSet::new(),
    };
    let coordinator = Coordinator::new(network.clone(), settings, Arc::new(SystemClock), Arc::new(|_| {}))?;
    let report = coordinator.run(&plan).await;
    network.close().await;
    drop(running);
    let report = report?;

    let Outcome::Model(model) = &report.outcome else {
        return Err(NetError::Message { from: TRUSTEE.to_owned(), reason: "the run gave no model" }.into());
    };
    let pooled = pooled(&plan, &example.join("rotterdam.csv"))?;
    let largest_difference =
        model.coefficients().iter().zip(pooled.coefficients()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let (model_file, record_file) = (folder.join("model.json"), folder.join("record.html"));
    write_aside(&model_file, &model.to_json())?;
    let record = worth(model, &example.join("gbsg.csv"))?;
    write_aside(&folder.join("record.json"), &record.to_json())?;
    write_aside(&record_file, &validation_page(&record))?;
    let estimates = record.sites.first().map(|site| site.estimates.as_slice()).unwrap_or_default();
    let concordance = estimates.iter().find(|one| one.name == "harrell_c").map_or(f64::NAN, |one| one.value);
    progress.finish(&format!("{} rounds, largest difference from one table {largest_difference:.1e}", report.rounds));
    Ok(Shown {
        rounds: report.rounds,
        sites: report.sites,
        largest_difference,
        concordance,
        model: model_file,
        record: record_file,
        published: published(node, example, folder, progress).await?,
    })
}

/// The model with its card and its record on the trustee's hub. A demo that runs again, on another day, leaves what is out.
async fn published(
    node: &Node,
    example: &Path,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Option<ModelReport>, Failure> {
    let card = folder.join(CARD);
    write_aside(&card, &text_of(&example.join(CARD), "the card of the model")?)?;
    let recipe = ModelRecipe::read(&card)?;
    let (name, version) = recipe.named()?;
    let out = node.published().await?.into_iter().any(|line| line.dataset == name && line.version == version);
    if out {
        return Ok(None);
    }
    Ok(Some(node.publish_model(&recipe, "the demonstration", progress).await?))
}

/// The model of all rows in one table, without masks.
fn pooled(plan: &Plan, table: &Path) -> Result<Model, Failure> {
    let mut plan = plan.clone();
    plan.aggregation.protection = Protection::None;
    let all = Data::read("rotterdam", table, &plan.needs(), &SiteMap::default())?;
    let rules = SiteRules::own();
    let report = run_here(&plan, vec![all], Architecture::Centralised, &rules, SystemClock.now(), &mut SystemEntropy)?;
    match report.outcome {
        Outcome::Model(model) => Ok(*model),
        _ => Err(NetError::Message { from: TRUSTEE.to_owned(), reason: "the run gave no model" }.into()),
    }
}

/// What the model is worth on the other cohort.
fn worth(model: &Model, table: &Path) -> Result<Record, Failure> {
    let settings = Validation::usual(model);
    let request =
        ValidationRequest::new(model.clone(), settings, GROUPS.map(str::to_owned).to_vec(), model.cohort.missing);
    let site = NamedTable { name: "gbsg".to_owned(), path: table.to_owned() };
    let evaluated = evaluate(model, &read_site(&site, &request.reading().needs())?, &request.by, &request.settings)?;
    Ok(Record::new(model, vec![evaluated], &request.settings, SystemClock.now().day()))
}
