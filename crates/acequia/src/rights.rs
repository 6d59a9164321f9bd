//! `acequia rights`: requests of persons about their data.

use std::path::{Path, PathBuf};

use acequia_node::rights::{Alarm, Event, Refusal, Right};
use acequia_node::{Case, DonorId, Failure, Node, Notice, Purpose, Recipient, named_version};
use clap::Subcommand;
use serde_json::json;

use crate::show::Out;

#[derive(Subcommand)]
pub(crate) enum RightsCommand {
    /// Take in a request: access, rectification, erasure, restriction, portability or objection
    ///
    /// Data that shall be erased are not used from this moment.
    #[command(
        after_help = "Examples:\n  acequia rights open donor-0007 access\n  acequia rights open donor-0007 objection --purpose model-training"
    )]
    Open {
        /// The donor's account
        donor: String,
        /// What is asked for
        #[arg(value_parser = right)]
        right: Right,
        /// Purposes objected to [default: all]
        #[arg(long = "purpose", value_name = "PURPOSE", value_parser = crate::args::purpose)]
        purposes: Vec<Purpose>,
    },
    /// Every request, with its clock
    #[command(after_help = "Examples:\n  acequia rights list\n  acequia rights list --open --json")]
    List {
        /// Only those that are not answered
        #[arg(long)]
        open: bool,
    },
    /// One request, with what happened
    #[command(after_help = "Example:\n  acequia rights show 1")]
    Show {
        /// Number of the request
        number: u64,
    },
    /// Record that receipt was confirmed
    #[command(after_help = "Example:\n  acequia rights acknowledge 1")]
    Acknowledge {
        /// Number of the request
        number: u64,
    },
    /// Record that who asks is the donor
    #[command(after_help = "Example:\n  acequia rights identify 1 --by ann")]
    Identify {
        /// Number of the request
        number: u64,
        /// Who checked it
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Record that more is needed to tell who asks
    #[command(after_help = "Example:\n  acequia rights ask 1")]
    Ask {
        /// Number of the request
        number: u64,
    },
    /// Record that what was needed came
    #[command(after_help = "Example:\n  acequia rights answered 1")]
    Answered {
        /// Number of the request
        number: u64,
    },
    /// Approve a request; an erasure needs two persons
    #[command(after_help = "Example:\n  acequia rights approve 1 --by bob")]
    Approve {
        /// Number of the request
        number: u64,
        /// Who approves
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Record that the person does not want to think it over
    #[command(after_help = "Example:\n  acequia rights waive 1")]
    Waive {
        /// Number of the request
        number: u64,
    },
    /// Record that the person was told that it takes longer
    #[command(after_help = "Example:\n  acequia rights extend 1")]
    Extend {
        /// Number of the request
        number: u64,
    },
    /// Do what is left to do; what was interrupted goes on where it stopped
    #[command(after_help = "Examples:\n  acequia rights execute 1\n  acequia rights execute 1 --to handed-over")]
    Execute {
        /// Number of the request
        number: u64,
        /// Folder for data that are handed over
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },
    /// Record that the request is answered
    #[command(after_help = "Example:\n  acequia rights close 1")]
    Close {
        /// Number of the request
        number: u64,
    },
    /// Refuse a request: identity, unfounded, excessive, legal-duty, research, others
    #[command(after_help = "Example:\n  acequia rights refuse 1 --reason legal-duty")]
    Refuse {
        /// Number of the request
        number: u64,
        /// Why
        #[arg(long, value_parser = refusal)]
        reason: Refusal,
    },
    /// Record that the person took the request back
    #[command(after_help = "Example:\n  acequia rights take-back 1")]
    TakeBack {
        /// Number of the request
        number: u64,
    },
    /// Write the letter to the person, as a page that can be printed
    #[command(after_help = "Example:\n  acequia rights letter 1 --language de --to letter.html")]
    Letter {
        /// Number of the request
        number: u64,
        /// Language: en, de, fr, or one of the node's own
        #[arg(long, default_value = "en")]
        language: String,
        /// File to write
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Print the certificate of an erasure
    #[command(after_help = "Example:\n  acequia rights certificate 1")]
    Certificate {
        /// Number of the request
        number: u64,
    },
    /// Register somebody who got data, to be told of rectification, erasure and restriction
    #[command(
        after_help = "Example:\n  acequia rights recipient lab-1 --contact post@lab.example --dataset acequia/breast-cancer-survival"
    )]
    Recipient {
        /// Id of the recipient
        id: String,
        /// How to reach it
        #[arg(long)]
        contact: String,
        /// Which data set it got, perhaps with the version after an @
        #[arg(long)]
        dataset: String,
        /// Language of letters to it [default: en]
        #[arg(long)]
        language: Option<String>,
    },
    /// Notices to recipients, and who confirmed
    #[command(after_help = "Example:\n  acequia rights notices --json")]
    Notices,
    /// Hand every notice that is due to a carrier, once: a file in the node's folder outbox/new
    ///
    /// A run and an executed request do the same at their end. A carrier moves the files to outbox/sent.
    #[command(after_help = "Example:\n  acequia rights notify")]
    Notify,
    /// Record that a recipient confirmed a notice
    #[command(
        after_help = "Examples:\n  acequia rights confirm 1 --recipient lab-1\n  acequia rights confirm 5f0c1d6a5f0c1d6a5f0c1d6a5f0c1d6a"
    )]
    Confirm {
        /// Number of the request, or of the notice
        number: String,
        /// Id of the recipient, with the number of a request
        #[arg(long)]
        recipient: Option<String>,
    },
}

fn right(text: &str) -> Result<Right, String> {
    Right::parse(text)
        .ok_or_else(|| "one of access, rectification, erasure, restriction, portability, objection".to_owned())
}

fn refusal(text: &str) -> Result<Refusal, String> {
    Refusal::parse(text).ok_or_else(|| "one of identity, unfounded, excessive, legal-duty, research, others".to_owned())
}

pub(crate) async fn run(node: &Node, command: &RightsCommand, out: &Out) -> Result<(), Failure> {
    let (desk, now) = (node.desk(), node.now());
    let happen = async |number: u64, event: Event| -> Result<(), Failure> {
        show(&desk.happen(number, event, now).await?, out);
        Ok(())
    };
    // Staff are named by an id, so that no free text gets into the journal.
    let staff = |by: &str| DonorId::parse(by).map(String::from);
    match command {
        RightsCommand::Open { donor, right, purposes } => {
            let purposes = (!purposes.is_empty()).then(|| purposes.iter().copied().collect());
            show(&desk.receive(&DonorId::parse(donor)?, *right, purposes, now).await?, out);
        }
        RightsCommand::List { open } => {
            let mut cases = desk.cases(now).await?;
            cases.retain(|case| !open || !case.request.state.is_final());
            let text = || {
                let mut text: String = cases.iter().map(line).collect();
                let overdue = cases.iter().filter(|case| case.alarm == Alarm::Overdue).count();
                text += &format!("{} requests, {overdue} overdue", cases.len());
                text
            };
            out.print(|| json!(cases), text);
        }
        RightsCommand::Show { number } => show(&desk.case(*number, now).await?, out),
        RightsCommand::Acknowledge { number } => happen(*number, Event::Acknowledged).await?,
        RightsCommand::Identify { number, by } => happen(*number, Event::Identified { by: staff(by)? }).await?,
        RightsCommand::Ask { number } => happen(*number, Event::MoreAsked).await?,
        RightsCommand::Answered { number } => happen(*number, Event::MoreGiven).await?,
        RightsCommand::Approve { number, by } => happen(*number, Event::Approved { by: staff(by)? }).await?,
        RightsCommand::Waive { number } => happen(*number, Event::WindowWaived).await?,
        RightsCommand::Extend { number } => happen(*number, Event::Extended).await?,
        RightsCommand::Execute { number, to } => show(&node.execute_request(*number, to.as_deref()).await?, out),
        RightsCommand::Close { number } => happen(*number, Event::Closed).await?,
        RightsCommand::Refuse { number, reason } => happen(*number, Event::Refused { reason: *reason }).await?,
        RightsCommand::TakeBack { number } => happen(*number, Event::TakenBack).await?,
        RightsCommand::Letter { number, language, to } => {
            let letter = desk.letter(*number, &node.texts(language)?, now).await?;
            acequia_blobs::write_file_atomically(to, letter.as_bytes())?;
            written(to, out);
        }
        RightsCommand::Certificate { number } => {
            let found = desk.certificate_of(*number).await?;
            let paper = found.ok_or(acequia_node::NodeError::NotFound { what: "certificate" })?;
            out.print(|| paper.clone(), || format!("{paper:#}"));
        }
        RightsCommand::Recipient { id, contact, dataset, language } => {
            let (contact, dataset, language) = (contact.clone(), dataset.clone(), language.clone());
            let recipient = Recipient { id: staff(id)?, contact, dataset, language };
            desk.add_recipient(&recipient, now).await?;
            // Other extracts may be handed out too, but a name that was typed wrong would never be told anything.
            let name = named_version(&recipient.dataset).0;
            let published_here = node.published().await?.iter().any(|line| line.dataset == name);
            let mut entry = json!(recipient);
            entry["published_here"] = published_here.into();
            let text = || {
                let note = if published_here { "" } else { "; this node published nothing of that name" };
                format!("{} is told of changes to {}{note}", recipient.id, recipient.dataset)
            };
            out.print(|| entry, text);
        }
        RightsCommand::Notices => notices(&desk.notices().await?, now, out),
        RightsCommand::Notify => {
            let handed = node.notify().await?;
            let words = || format!("{} notices written; {} lie in outbox/new", handed.written, handed.in_outbox);
            out.print(|| json!(handed), words);
        }
        RightsCommand::Confirm { number, recipient } => {
            match (number.parse(), recipient) {
                (Ok(request), Some(recipient)) => desk.confirm(request, recipient, now).await?,
                _ => desk.confirm_notice(number, now).await?,
            }
            notices(&desk.notices().await?, now, out);
        }
    }
    Ok(())
}

fn written(to: &Path, out: &Out) {
    let to = to.display();
    out.print(|| json!({ "written": to.to_string() }), || format!("written to {to}"));
}

fn word(value: impl serde::Serialize) -> String {
    json!(value).as_str().map_or_else(|| json!(value).to_string(), str::to_owned)
}

fn line(case: &Case) -> String {
    let request = &case.request;
    let clock = match case.alarm {
        Alarm::None if request.state.is_final() => String::new(),
        Alarm::None => format!(", due {}", request.due_on),
        Alarm::Warn(percent) => format!(", due {}: {percent} % of the time has passed", request.due_on),
        Alarm::Overdue => format!(", OVERDUE since {}", request.due_on),
    };
    format!("{:<5} {:<14} {}{clock}\n", case.number, request.right.as_str(), word(request.state))
}

fn show(case: &Case, out: &Out) {
    let text = || {
        let left: Vec<String> = case.request.left.iter().map(word).collect();
        let left = if left.is_empty() { String::new() } else { format!("left: {}\n", left.join(", ")) };
        format!("{}{left}{} events", line(case), case.events.len())
    };
    out.print(|| json!(case), text);
}

fn notices(all: &[(Notice, acequia_node::Day)], now: acequia_node::Timestamp, out: &Out) {
    let late = |notice: &Notice, by: &acequia_node::Day| notice.is_late(*by, now.day());
    let value = || {
        let line = |(notice, by): &(Notice, acequia_node::Day)| json!({ "id": notice.id(), "notice": notice, "confirm_by": by, "suspended": late(notice, by) });
        json!(all.iter().map(line).collect::<Vec<_>>())
    };
    let text = || {
        let line = |(notice, by): &(Notice, acequia_node::Day)| {
            let about = match (&notice.version, notice.request) {
                (Some(version), _) => format!("version {version}"),
                (None, number) => format!("request {}", number.unwrap_or_default()),
            };
            let late = if late(notice, by) { "; SUSPENDED: gets no further data" } else { "" };
            let (id, to, dataset, state) = (notice.id(), &notice.recipient, &notice.dataset, word(notice.state));
            format!("{id} {about:<16} {to:<20} {dataset} {state}, to be confirmed by {by}{late}\n")
        };
        all.iter().map(line).collect::<String>() + &format!("{} notices", all.len())
    };
    out.print(value, text);
}
