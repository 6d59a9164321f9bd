//! `acequia papers`: papers that write themselves from what is on record.

use std::path::PathBuf;

use acequia_node::{
    Assessable, Breach, BreachEvent, Day, DonorId, Failure, FhirRelease, Node, ResidualRisk, Timestamp,
};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::show::Out;

#[derive(Subcommand)]
pub(crate) enum PapersCommand {
    /// Receipt of a donor's consents (ISO/IEC TS 27560, JSON-LD)
    #[command(after_help = "Example:\n  acequia papers receipt donor-0007 --language de")]
    Receipt {
        /// The donor's account
        donor: String,
        /// Language of the words for people
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// The consent that holds now, as a FHIR resource
    #[command(after_help = "Example:\n  acequia papers consent donor-0007 --release r5")]
    Consent {
        /// The donor's account
        donor: String,
        /// Release of FHIR
        #[arg(long, value_enum, default_value = "r4")]
        release: Written,
    },
    /// Take over a donor's consent from a FHIR resource; what is not understood is not permitted
    #[command(after_help = "Example:\n  acequia papers import donor-0007 consent.json")]
    Import {
        /// The donor's account
        donor: String,
        /// The resource
        file: PathBuf,
    },
    /// Yearly report of a data altruism organisation (Regulation (EU) 2022/868 Art. 21), from what is on record
    ///
    /// The same records give the same bytes. Counts of fewer than 12 people are not told.
    #[command(after_help = "Example:\n  acequia papers altruism 2026")]
    Altruism {
        /// Year
        year: i32,
    },
    /// Impact assessment of a recipe (GDPR Art. 35), bound to the recipe and the program by digests
    #[command(
        after_help = "Examples:\n  acequia papers assessment examples/breast-cancer/recipe.toml\n  acequia papers assessment examples/breast-cancer/recipe.toml --approved-by ann --until 2027-06-30 --risk low"
    )]
    Assessment {
        /// The recipe
        recipe: PathBuf,
        /// Record that it was approved, by whom
        #[arg(long, value_name = "STAFF", requires_all = ["until", "risk"])]
        approved_by: Option<String>,
        /// Last day on which the approval counts
        #[arg(long, value_name = "DAY", value_parser = crate::args::day, requires = "approved_by")]
        until: Option<Day>,
        /// Risk that is left: low, medium, high; with a high one nothing is opened
        #[arg(long, value_parser = risk, requires = "approved_by")]
        risk: Option<ResidualRisk>,
    },
    /// Register of breaches (GDPR Art. 33), with the clock until the authority must be told
    #[command(
        after_help = "Examples:\n  acequia papers breach\n  acequia papers breach --aware 2026-05-04T09:30:00Z --nature 'a laptop was lost' --dataset acequia/breast-cancer-survival\n  acequia papers breach 1 --effects none --measures 'disk was encrypted'\n  acequia papers breach 1 --authority-told"
    )]
    Breach(BreachArgs),
    /// Record of processing activities (GDPR Art. 30): JSON-LD with --json, CSV otherwise
    #[command(after_help = "Example:\n  acequia papers processing --json")]
    Processing,
}

#[derive(clap::Args)]
pub(crate) struct BreachArgs {
    /// Number of a breach that is in the register
    #[arg(conflicts_with = "aware")]
    number: Option<u64>,
    /// A new one: when the trustee became aware of it (YYYY-MM-DDThh:mm:ssZ)
    #[arg(long, value_name = "TIME", value_parser = time, requires = "nature")]
    aware: Option<Timestamp>,
    /// What happened; names nobody
    #[arg(long, value_name = "WORDS", requires = "aware")]
    nature: Option<String>,
    /// Data set that is concerned, perhaps with a version after an @
    #[arg(long, requires = "aware")]
    dataset: Option<String>,
    /// Likely effects
    #[arg(long, value_name = "WORDS", requires_all = ["number", "measures"])]
    effects: Option<String>,
    /// What was done
    #[arg(long, value_name = "WORDS", requires = "effects")]
    measures: Option<String>,
    /// A high risk is likely: people must be told
    #[arg(long, requires = "effects")]
    high_risk: bool,
    /// The authority was told
    #[arg(long, requires = "number")]
    authority_told: bool,
    /// When, if it is recorded later (YYYY-MM-DDThh:mm:ssZ)
    #[arg(long, value_name = "TIME", value_parser = time, requires = "authority_told")]
    told_at: Option<Timestamp>,
    /// The people were told
    #[arg(long, requires = "number")]
    people_told: bool,
    /// Nobody has to be told, and why
    #[arg(long, value_name = "WORDS", requires = "number")]
    not_told: Option<String>,
    /// It is dealt with
    #[arg(long, requires = "number")]
    close: bool,
}

impl BreachArgs {
    fn events(&self) -> Vec<BreachEvent> {
        let mut events = Vec::new();
        if let (Some(aware_at), Some(nature)) = (self.aware, &self.nature) {
            events.push(BreachEvent::Aware { aware_at, nature: nature.clone(), dataset: self.dataset.clone() });
        }
        if let (Some(effects), Some(measures)) = (&self.effects, &self.measures) {
            let (effects, measures) = (effects.clone(), measures.clone());
            events.push(BreachEvent::Assessed { effects, measures, high_risk: self.high_risk });
        }
        events.extend(self.not_told.iter().map(|why| BreachEvent::NotTold { why: why.clone() }));
        events.extend(self.authority_told.then_some(BreachEvent::AuthorityTold { told_at: self.told_at }));
        events.extend(self.people_told.then_some(BreachEvent::PeopleTold));
        events.extend(self.close.then_some(BreachEvent::Closed));
        events
    }
}

fn risk(text: &str) -> Result<ResidualRisk, String> {
    ResidualRisk::parse(text).ok_or_else(|| "one of low, medium, high".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    acequia_node::parse_timestamp(text).ok_or_else(|| "a time as YYYY-MM-DDThh:mm:ssZ".to_owned())
}

fn breach_in_words(breach: &Breach) -> String {
    let clock = match (breach.decided, breach.overdue) {
        (true, false) => "decided in time".to_owned(),
        (true, true) => format!("decided too late, after {}", breach.tell_by),
        (false, true) => format!("OVERDUE: the authority had to be told by {}", breach.tell_by),
        (false, false) => format!("the authority must be told by {}", breach.tell_by),
    };
    format!("{:<5} aware {} {clock}, {} events\n", breach.number, breach.aware_at, breach.events.len())
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Written {
    R4,
    R5,
}

pub(crate) async fn run(node: &Node, command: &PapersCommand, out: &Out) -> Result<(), Failure> {
    match command {
        PapersCommand::Receipt { donor, language } => {
            let paper = node.receipt(&DonorId::parse(donor)?, language).await?;
            out.print(|| paper.clone(), || format!("{paper:#}"));
        }
        PapersCommand::Consent { donor, release } => {
            let release = match release {
                Written::R4 => FhirRelease::R4,
                Written::R5 => FhirRelease::R5,
            };
            let paper = node.consent_as_fhir(&DonorId::parse(donor)?, release).await?;
            out.print(|| paper.clone(), || format!("{paper:#}"));
        }
        PapersCommand::Import { donor, file } => {
            let imported = node.read_fhir_consent(&DonorId::parse(donor)?, file).await?;
            let (events, unmapped) = (imported.events.len(), &imported.unmapped);
            let text = || {
                let mut text = format!("{events} events recorded\n");
                for path in unmapped {
                    text += &format!("not taken over: {path}\n");
                }
                text
            };
            out.print(|| json!({ "events": imported.events, "unmapped": unmapped }), text);
        }
        PapersCommand::Altruism { year } => {
            let paper = node.altruism_report(*year).await?;
            out.print(|| paper.clone(), || format!("{paper:#}"));
        }
        PapersCommand::Assessment { recipe, approved_by, until, risk } => {
            let assessed = Assessable::read(recipe)?;
            if let (Some(by), Some(until), Some(risk)) = (approved_by, until, risk) {
                // Staff are named by an id, so that no free text gets into the journal.
                node.assess(&assessed, String::from(DonorId::parse(by)?), *until, *risk).await?;
            }
            let paper = node.impact_assessment(&assessed).await?;
            out.print(|| paper.clone(), || format!("{paper:#}"));
        }
        PapersCommand::Breach(words) => {
            let events = words.events();
            let mut number = words.number;
            for event in events {
                number = Some(node.record_breach(number, event).await?.number);
            }
            let breaches = node.breaches().await?;
            let text =
                || breaches.iter().map(breach_in_words).collect::<String>() + &format!("{} breaches", breaches.len());
            out.print(|| json!(breaches), text);
        }
        PapersCommand::Processing => {
            let (json, csv) = node.record_of_processing()?;
            out.print(|| json, || csv);
        }
    }
    Ok(())
}
