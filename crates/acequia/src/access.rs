//! `acequia access`: who asked for what is not open, and what the trustee decides.

use acequia_node::{
    AccessOutcome, Clock, Decision, Failure, Node, PromiseLine, RequestLine, RequestShown, SystemClock, Timestamp,
};
use clap::Subcommand;
use serde_json::json;

use crate::show::Out;

/// Seconds of a day.
const DAY_S: i64 = 86_400;

#[derive(Subcommand)]
pub(crate) enum AccessCommand {
    /// Every request for access and how it stands
    #[command(after_help = "Examples:\n  acequia access list\n  acequia access list --open --json")]
    List {
        /// Only those that nobody decided yet
        #[arg(long)]
        open: bool,
    },
    /// A request with what was written: who asks, for which project, from where
    #[command(after_help = "Example:\n  acequia access show 3f0c9a1e77ab-1")]
    Show {
        /// Name of the request, from `acequia access list`
        request: String,
    },
    /// Open the rows to who asked, for a while
    ///
    /// It counts from the reader's next question on, for every version of that name under the same terms. New terms need a new request.
    #[command(after_help = "Example:\n  acequia access grant 3f0c9a1e77ab-1 --days 365 --by anna")]
    Grant {
        /// Name of the request
        request: String,
        /// Days until it ends
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Who of the trustee decides
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Refuse a request; who asked reads the reason
    #[command(
        after_help = "Example:\n  acequia access refuse 3f0c9a1e77ab-1 --reason 'the approval is for another study' --by anna"
    )]
    Refuse {
        /// Name of the request
        request: String,
        /// For who asked
        #[arg(long)]
        reason: String,
        /// Who of the trustee decides
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Every promise that a reader made for rows that promises open, and whether it counts
    #[command(after_help = "Example:\n  acequia access promises --json")]
    Promises,
    /// Take one promise back; the rows are closed with the reader's next question
    ///
    /// The reader reads the reason, and makes no other promise of the same conditions until it is given back. New conditions need a new
    /// promise, as always. What an institution says about the reader in visas opens rows as before.
    #[command(
        after_help = "Example:\n  acequia access take-back 3f0c9a1e77ab-1 --reason 'the rows were passed on' --by anna"
    )]
    TakeBack {
        /// Name of the promise, from `acequia access promises`
        promise: String,
        /// For who promised
        #[arg(long)]
        reason: String,
        /// Who of the trustee decides
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Let a promise count again that was taken back
    #[command(after_help = "Example:\n  acequia access give-back 3f0c9a1e77ab-1 --by anna")]
    GiveBack {
        /// Name of the promise
        promise: String,
        /// Who of the trustee decides
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Take a grant back; the rows are closed with the reader's next question
    #[command(after_help = "Example:\n  acequia access revoke 3f0c9a1e77ab-1 --reason 'the project ended' --by anna")]
    Revoke {
        /// Name of the request
        request: String,
        /// For who asked
        #[arg(long)]
        reason: String,
        /// Who of the trustee decides
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
}

pub(crate) async fn run(node: &Node, command: &AccessCommand, out: &Out) -> Result<(), Failure> {
    let (request, decision, by) = match command {
        AccessCommand::List { open } => {
            let mut requests = node.access_requests().await?;
            requests.retain(|request| !open || request.outcome == AccessOutcome::Asked);
            out.print(|| json!(requests), || lines(&requests));
            return Ok(());
        }
        AccessCommand::Show { request } => {
            let shown = node.access_request(request).await?;
            out.print(|| json!(shown), || words(&shown));
            return Ok(());
        }
        AccessCommand::Promises => {
            let promises = node.access_promises().await?;
            let none = || "Nobody promised anything.".to_owned();
            let lines = || promises.iter().map(promise).collect::<Vec<_>>().join("\n");
            out.print(|| json!(promises), || if promises.is_empty() { none() } else { lines() });
            return Ok(());
        }
        AccessCommand::TakeBack { promise: name, reason, by } => {
            let line = node.decide_promise(name, Some(reason), by).await?;
            out.print(|| json!(line), || promise(&line));
            return Ok(());
        }
        AccessCommand::GiveBack { promise: name, by } => {
            let line = node.decide_promise(name, None, by).await?;
            out.print(|| json!(line), || promise(&line));
            return Ok(());
        }
        AccessCommand::Grant { request, days, by } => {
            let until = Timestamp::from_unix_s(SystemClock.now().unix_s() + i64::from(*days) * DAY_S);
            (request, Decision::Grant { until }, by)
        }
        AccessCommand::Refuse { request, reason, by } => (request, Decision::Refuse { reason: reason.clone() }, by),
        AccessCommand::Revoke { request, reason, by } => (request, Decision::Revoke { reason: reason.clone() }, by),
    };
    let line = node.decide_access(request, &decision, by).await?;
    out.print(|| json!(line), || self::line(&line));
    Ok(())
}

fn promise(line: &PromiseLine) -> String {
    let stands = match &line.taken_back {
        None => "counts".to_owned(),
        Some(taken) => format!("taken back {} by {}: {}", taken.at.day(), taken.by, taken.reason),
    };
    let terms: Vec<&str> = line.terms.iter().map(|term| term.id()).collect();
    let (name, about, version, at) = (&line.promise, &line.about, &line.version, line.at.day());
    format!("{name:<16} {about:<44} {version:<10} made {at}  {stands}  {}", terms.join(", "))
}

fn state(request: &RequestLine) -> String {
    match &request.outcome {
        AccessOutcome::Asked => "asked".to_owned(),
        AccessOutcome::Granted { until, .. } if request.ended => format!("ended {}", until.day()),
        AccessOutcome::Granted { until, .. } => format!("granted until {}", until.day()),
        AccessOutcome::Refused { at, .. } => format!("refused {}", at.day()),
        AccessOutcome::Revoked { at, .. } => format!("revoked {}", at.day()),
    }
}

fn line(request: &RequestLine) -> String {
    format!(
        "{:<16} {:<44} {:<10} sent {}  {}",
        request.request,
        request.about,
        request.version,
        request.at.day(),
        state(request)
    )
}

fn lines(requests: &[RequestLine]) -> String {
    if requests.is_empty() {
        return "Nobody asks for access.".to_owned();
    }
    requests.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn words(shown: &RequestShown) -> String {
    let words = &shown.words;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "not stated".to_owned());
    let decided = match &shown.line.outcome {
        AccessOutcome::Asked => "nobody yet".to_owned(),
        AccessOutcome::Granted { by, at, .. } => format!("{by}, {}", at.day()),
        AccessOutcome::Refused { by, at, reason } | AccessOutcome::Revoked { by, at, reason } => {
            format!("{by}, {}: {reason}", at.day())
        }
    };
    format!(
        "{}\ndecided by   {decided}\nreader       {}\nname         {}\nlogin says   {}\ncontact      {}\ninstitution  {}\ncountry      {}\nproject      {}\nethics       {}\nterms        {}\n\n{}",
        line(&shown.line),
        shown.reader.as_str(),
        words.name,
        or_none(&words.affiliation),
        words.contact,
        words.institution,
        words.country.as_str(),
        words.project,
        or_none(&words.ethics),
        shown.terms,
        words.statement,
    )
}
