//! `acequia publish`: a model with its card.

use std::path::{Path, PathBuf};

use acequia_net::{MemberFolder, check_record};
use acequia_node::{Failure, ModelRecipe, ModelReport, Node, Progress};
use clap::Args;
use serde_json::json;

use crate::show::Out;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  acequia publish examples/breast-cancer/survival.model.toml --by anna\n  acequia publish survival.model.toml --by anna --json"
)]
pub(crate) struct PublishArgs {
    /// The model's card (TOML); the files it names lie beside it
    card: PathBuf,
    /// Who decided that the model may go out; stands on record
    #[arg(long, value_name = "NAME")]
    by: String,
}

pub(crate) async fn run(
    args: &PublishArgs,
    home: &Path,
    threads: usize,
    progress: &dyn Progress,
    out: &Out,
) -> Result<(), Failure> {
    let node = Node::open(home, threads).await?;
    let report = publish(&node, home, &args.card, &args.by, progress).await?;
    out.print(|| json!(report), || words(&report));
    Ok(())
}

/// Publishes the model of a card. Records that sites signed are checked against the roster of the node's network.
pub(crate) async fn publish(
    node: &Node,
    home: &Path,
    card: &Path,
    by: &str,
    progress: &dyn Progress,
) -> Result<ModelReport, Failure> {
    let recipe = ModelRecipe::read(card)?;
    let signed = recipe.records.iter().filter(|record| !record.signatures.is_empty());
    for record in signed {
        let roster = MemberFolder::of_node(home).roster()?;
        check_record(record, &roster)?;
    }
    node.publish_model(&recipe, by, progress).await
}

fn words(report: &ModelReport) -> String {
    let mut text = match report.published {
        true => format!("{} {} is published.\n", report.model, report.version),
        false => format!("{} {} was published before.\n", report.model, report.version),
    };
    text += &format!("model {}\nmanifest {}\n", report.digest, report.manifest);
    if report.donors > 0 {
        text += &format!("It learned from {} donors of this node; all of them allow it now.\n", report.donors);
    }
    for source in &report.learned_from {
        let license = source.license.as_deref().unwrap_or("no licence stated");
        text += &format!("Learned from {} ({license}).\n", source.title);
    }
    if report.evidence.is_empty() {
        text += "No validation record: its page says that nobody measured it elsewhere.\n";
    }
    for words in &report.evidence {
        text += &format!("{words}\n");
    }
    let completeness = &report.completeness;
    let missing: Vec<&str> =
        completeness["missing"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    text += &format!("The card states {} of {} things", completeness["stated"], completeness["of"]);
    if missing.is_empty() { text + ".\n" } else { text + &format!("; missing: {}.\n", missing.join(", ")) }
}
