//! `acequia papers`: papers that write themselves from what is on record.

use std::path::PathBuf;

use acequia_node::{DonorId, Failure, FhirRelease, Node};
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
    /// Record of processing activities (GDPR Art. 30): JSON-LD with --json, CSV otherwise
    #[command(after_help = "Example:\n  acequia papers processing --json")]
    Processing,
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
        PapersCommand::Processing => {
            let (json, csv) = node.record_of_processing()?;
            out.print(|| json, || csv);
        }
    }
    Ok(())
}
