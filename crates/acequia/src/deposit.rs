//! `acequia token` and `acequia deposit`: who may write, and what came of it.

use std::path::PathBuf;

use acequia_node::{
    Artefact, Clock, DepositLine, DepositShown, DepositState, Exit, Failure, ModelSummary, Node, NodeError, Outcome,
    SystemClock, Tensor, Timestamp, TokenLine,
};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::args::Versioned;
use crate::show::Out;

/// Seconds of a day.
const DAY_S: i64 = 86_400;

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a member of the network, who writes with it as to any Hub
    ///
    /// The secret is printed once; the node keeps its digest only. The member sets HF_ENDPOINT to the node's address and HF_TOKEN to
    /// the secret. What is written is a private draft, which the member hands in with a tag; nothing is published by it.
    #[command(
        after_help = "Examples:\n  acequia token create --for 'Anna, Example Lab' --scope example-lab/* --by bernd\n  acequia token create --for 'Example Lab, reviewers' --scope example-lab/cohort --read-only --days 14 --by bernd --json"
    )]
    Create {
        /// Whom it is for
        #[arg(long = "for", value_name = "HOLDER")]
        holder: String,
        /// Names it counts for: namespace/* or namespace/name; may be repeated
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<String>,
        /// It reads drafts and writes nothing
        #[arg(long)]
        read_only: bool,
        /// Days until it counts no more
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Who of the trustee makes it
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Every token: for whom, for which names, until when; never its secret
    #[command(after_help = "Example:\n  acequia token list --json")]
    List,
    /// Revoke a token: it opens nothing from now on, and uploads under way with it end
    #[command(after_help = "Example:\n  acequia token revoke 5f0c9a1e --by bernd")]
    Revoke {
        /// Short name, from `acequia token list`
        id: String,
        /// Who of the trustee revokes it
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum DepositCommand {
    /// Every deposit and how it stands
    #[command(after_help = "Example:\n  acequia deposit list --json")]
    List,
    /// Files, history, and what keeps the newest commit from being handed in
    #[command(
        after_help = "Examples:\n  acequia deposit show example-lab/cohort\n  acequia deposit show example-lab/risk --kind model --json"
    )]
    Show {
        /// `namespace/name`
        deposit: Versioned,
        /// Where a data set and a model share the name
        #[arg(long, value_enum)]
        kind: Option<Kind>,
    },
    /// Write what was handed in into a folder, for the course
    ///
    /// The folder must be empty. The files go through the course from there, as every donation does: `acequia donate` and `acequia run` for
    /// records, `acequia validate` and `acequia publish` for a model. Its author sees that it was taken.
    #[command(
        after_help = "Example:\n  acequia deposit take example-lab/cohort@v1.0.0 --into incoming/cohort --by bernd"
    )]
    Take {
        /// `namespace/name@tag`
        deposit: Versioned,
        /// Where the files go
        #[arg(long, value_name = "FOLDER")]
        into: PathBuf,
        /// Where a data set and a model share the name
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Who of the trustee takes it
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Refuse what was handed in; its author reads the reason
    #[command(
        after_help = "Example:\n  acequia deposit refuse example-lab/cohort@v1.0.0 --reason 'the card does not say how consent was given' --by bernd"
    )]
    Refuse {
        /// `namespace/name@tag`
        deposit: Versioned,
        /// For the author
        #[arg(long)]
        reason: String,
        /// Where a data set and a model share the name
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Who of the trustee refuses it
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Remove a deposit with its bytes, for good
    ///
    /// Its key is destroyed, so that copies of the bytes in backups cannot be opened either, once the backups of keys are gone. What was taken
    /// out or published before stays. The journal keeps that it was there, with names of files, messages and decisions; the name is free again, tags are not.
    #[command(after_help = "Example:\n  acequia deposit remove example-lab/cohort --by bernd")]
    Remove {
        /// `namespace/name`
        deposit: Versioned,
        /// Where a data set and a model share the name
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Who of the trustee removes it
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    Dataset,
    Model,
}

fn artefact(kind: Option<Kind>) -> Option<Artefact> {
    kind.map(|kind| match kind {
        Kind::Dataset => Artefact::Dataset,
        Kind::Model => Artefact::Model,
    })
}

pub(crate) async fn token(node: &Node, command: &TokenCommand, out: &Out) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { holder, scopes, read_only, days, by } => {
            let until = Timestamp::from_unix_s(SystemClock.now().unix_s() + i64::from(*days) * DAY_S);
            let (token, secret) = node.make_token(holder, scopes, !read_only, until, by).await?;
            out.print(
                || json!({ "id": token.id, "secret": secret, "scopes": token.scopes, "write": token.write, "until": token.until }),
                || {
                    format!(
                        "Token {} for {}, until {}:\n{secret}\nIt is shown this once. Hand it over in a way that nobody else reads.",
                        token.id,
                        token.holder,
                        token.until.day()
                    )
                },
            );
        }
        TokenCommand::List => {
            let tokens = node.tokens().await?;
            out.print(|| json!(tokens), || token_lines(&tokens));
        }
        TokenCommand::Revoke { id, by } => {
            let new = node.revoke_token(id, by).await?;
            let words = if new { "Revoked." } else { "It was revoked before." };
            out.print(|| json!({ "revoked": new }), || words.to_owned());
        }
    }
    Ok(())
}

fn token_lines(tokens: &[TokenLine]) -> String {
    if tokens.is_empty() {
        return "There is no token, so nobody can write: `acequia token create`.".to_owned();
    }
    let line = |token: &TokenLine| {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        let may = if token.write { "writes" } else { "reads" };
        let state = match token.revoked_at {
            Some(at) => format!("revoked {}", at.day()),
            None => format!("until {}", token.until.day()),
        };
        let own = if token.reader.is_some() { " (a reader's own)" } else { "" };
        format!("{}  {may:<6} {:<32} {state:<18} {}{own}", token.id, scopes.join(", "), token.holder)
    };
    tokens.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tag(deposit: &Versioned) -> Result<&str, Failure> {
    let missing = || Failure {
        exit: Exit::Usage,
        hint: "name the tag: namespace/name@v1.0.0; see `acequia deposit show`".to_owned(),
        ..NodeError::NotFound { what: "tag" }.into()
    };
    deposit.version.as_deref().ok_or_else(missing)
}

pub(crate) async fn run(node: &Node, command: &DepositCommand, out: &Out) -> Result<(), Failure> {
    match command {
        DepositCommand::List => {
            let deposits = node.deposited().await?;
            out.print(|| json!(deposits), || lines(&deposits));
        }
        DepositCommand::Show { deposit, kind } => {
            let shown = node.show_deposit(&deposit.dataset, artefact(*kind)).await?;
            out.print(|| json!(shown), || words(&shown));
        }
        DepositCommand::Take { deposit, into, kind, by } => {
            let which = (&deposit.dataset, artefact(*kind));
            let taken = node.take_deposit(which, tag(deposit)?, into, by).await?;
            out.print(
                || json!(taken),
                || {
                    let (files, bytes, into) = (taken.files, taken.bytes, into.display());
                    format!("{} {}: {files} files, {bytes} bytes, are in {into}", taken.deposit, taken.tag)
                },
            );
        }
        DepositCommand::Refuse { deposit, reason, kind, by } => {
            let which = (&deposit.dataset, artefact(*kind));
            node.refuse_deposit(which, tag(deposit)?, reason, by).await?;
            out.print(
                || json!({ "refused": true }),
                || "Refused. The author reads the reason in the history.".to_owned(),
            );
        }
        DepositCommand::Remove { deposit, kind, by } => {
            if deposit.version.is_some() {
                return Err(Failure {
                    exit: Exit::Usage,
                    hint: "name the deposit without a tag: it is removed with all of them".to_owned(),
                    ..NodeError::NotFound { what: "deposit" }.into()
                });
            }
            let removed = node.remove_deposit((&deposit.dataset, artefact(*kind)), by).await?;
            out.print(
                || json!(removed),
                || format!("{} is removed: {} objects, {} bytes.", removed.deposit, removed.objects, removed.bytes),
            );
        }
    }
    Ok(())
}

fn state(state: DepositState) -> &'static str {
    match state {
        DepositState::Draft => "draft",
        DepositState::HandedIn => "handed in",
        DepositState::Taken => "taken",
        DepositState::Refused => "refused",
    }
}

fn lines(deposits: &[DepositLine]) -> String {
    if deposits.is_empty() {
        return "Nothing was deposited yet. Members of the network write with a token: `acequia token create`."
            .to_owned();
    }
    let line = |one: &DepositLine| {
        let (tag, at) = (one.tag.as_deref().unwrap_or("-"), one.changed_at.day());
        let (files, bytes, state) = (one.files, one.bytes, state(one.state));
        format!("{:<44} {state:<10} {tag:<10} {files} files, {bytes} bytes, changed {at}", one.deposit)
    };
    deposits.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn words(shown: &DepositShown) -> String {
    let mut text = format!("{}, begun {}\n", shown.deposit, shown.begun_at.day());
    for tag in &shown.tags {
        let outcome = match tag.decision.as_ref().map(|decision| (decision.at.day(), &decision.outcome)) {
            None => "waits".to_owned(),
            Some((day, Outcome::Taken)) => format!("taken {day}"),
            Some((day, Outcome::Refused { reason })) => format!("refused {day}: {reason}"),
        };
        text.push_str(&format!("{}  handed in {}, commit {}: {outcome}\n", tag.tag, tag.at.day(), &tag.commit));
    }
    text.push_str("commits, newest first:\n");
    for commit in &shown.commits {
        let (put, gone, by) = (commit.put, commit.gone, &commit.by);
        let by = if by.is_empty() { String::new() } else { format!(" by token {by}") };
        text.push_str(&format!(
            "  {} {} {}{by}: {put} files put, {gone} taken away\n",
            &commit.commit, commit.at, commit.title
        ));
    }
    text.push_str("files:\n");
    for file in &shown.files {
        text.push_str(&format!("  {:>12} {}\n", file.bytes, file.path));
    }
    for (branch, commit) in &shown.branches {
        text.push_str(&format!("branch {branch}: {commit}\n"));
    }
    for (path, summary) in &shown.models {
        text.push_str(&summary_words(path, summary));
    }
    match shown.findings.as_slice() {
        [] => text.push_str("Nothing keeps the newest commit from being handed in.\n"),
        findings => {
            text.push_str("What keeps the newest commit from being handed in:\n");
            for finding in findings {
                text.push_str(&format!("  {finding}\n"));
            }
        }
    }
    if shown.swept.objects > 0 {
        text.push_str(&format!(
            "{} uploads ({} bytes) that no commit took went.\n",
            shown.swept.objects, shown.swept.bytes
        ));
    }
    text
}

/// What a model file says of itself, in a few lines.
fn summary_words(path: &str, summary: &ModelSummary) -> String {
    let counted = |counts: &std::collections::BTreeMap<String, u64>| -> String {
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    let listed = |ports: &[Tensor]| -> String {
        let port = |port: &Tensor| format!("{} {}[{}]", port.name, port.kind, port.shape.join(","));
        ports.iter().map(port).collect::<Vec<_>>().join("; ")
    };
    match summary {
        ModelSummary::Safetensors { tensors, parameters, types, metadata, .. } => {
            let metadata: String = metadata.iter().map(|(key, text)| format!("    {key}: {text}\n")).collect();
            format!("{path}: {tensors} tensors, {parameters} parameters ({})\n{metadata}", counted(types))
        }
        ModelSummary::Onnx { operator_sets, operators, inputs, outputs, .. } => {
            let sets: Vec<String> = operator_sets.iter().map(|(name, version)| format!("{name} {version}")).collect();
            format!(
                "{path}: {}\n    operators: {}\n    inputs: {}\n    outputs: {}\n",
                sets.join(", "),
                counted(operators),
                listed(inputs),
                listed(outputs)
            )
        }
    }
}
