//! `acequia blobs`: where the node's bytes lie.

use std::process::ExitCode;

use acequia_node::{CopyReport, Exit, Failure, Node, Progress};
use clap::Subcommand;
use serde_json::json;

use crate::show::Out;

#[derive(Subcommand)]
pub(crate) enum BlobsCommand {
    /// Copy all blobs to a bucket of S3, or to a folder, and read each there
    ///
    /// Sealed originals, sealed work tables and published files; never a key. What was copied before is not copied again, so that
    /// a copy that broke off goes on. The node uses the other place once `url` under [blobs] in its settings.toml names it;
    /// without it, the folder `blobs` of the node. Keys and endpoint of a bucket come from the environment (AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT, AWS_REGION, AWS_ALLOW_HTTP).
    #[command(
        after_help = "Examples:\n  acequia blobs copy --to s3://blobs/my-node\n  acequia blobs copy --to my-node/blobs\n  acequia blobs copy --to backup --json\n\nExit status 6: some blobs are damaged where they lie, and were not copied."
    )]
    Copy {
        /// `s3://bucket/prefix`, or a folder
        #[arg(long, value_name = "PLACE")]
        to: String,
    },
}

pub(crate) async fn run(
    node: &Node,
    command: &BlobsCommand,
    progress: &dyn Progress,
    out: &Out,
) -> Result<ExitCode, Failure> {
    match command {
        BlobsCommand::Copy { to } => {
            let report = node.copy_blobs(to, progress).await?;
            out.print(|| json!(report), || words(&report));
            let whole = report.damaged.is_empty();
            Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(Exit::Integrity.code()) })
        }
    }
}

fn words(report: &CopyReport) -> String {
    let CopyReport { from, to, blobs, copied, present, mended, damaged, bytes } = report;
    let mut text = format!(
        "{blobs} blobs from {from} to {to}: {copied} copied, {present} there already, {mended} written anew, {} damaged; {bytes} bytes\n",
        damaged.len()
    );
    for digest in damaged {
        text.push_str(&format!("damaged: {digest}\n"));
    }
    if to.starts_with("s3://") {
        text.push_str(&format!(
            "Every one was read there. To use them there, write into settings.toml of the node, then run `acequia doctor`:\n  [blobs]\n  url = \"{to}\"\n"
        ));
    }
    text
}
