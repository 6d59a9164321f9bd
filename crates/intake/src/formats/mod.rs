//! The formats that are read, one file each, and the one list of them.

mod apple_health;
mod ccda;
mod er7;
mod hl7v2;
mod phenopackets;
mod systems;
mod time;
mod xml;

use acequia_omop::{DateError, Fate, Sink};
use acequia_types::{Place, Problem};

use crate::IntakeError;

/// Why an item yields no event, or no more of them.
pub(crate) enum Stop {
    /// By design.
    Fate(Fate),
    /// Because of a fault: the item is rejected.
    Problem(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Ends an item.
fn conclude(sink: &mut dyn Sink, outcome: Result<(), Stop>) {
    match outcome {
        Ok(()) => sink.end(None),
        Err(Stop::Fate(fate)) => sink.end(Some(fate)),
        Err(Stop::Problem(problem)) => {
            let code = problem.code.clone();
            sink.problem(problem);
            sink.end(Some(Fate::Rejected(code)));
        }
    }
}

fn bad_date(error: DateError, place: Place) -> Problem {
    let (code, hint) = match error {
        DateError::Calendar => ("IN103", "correct the date at the source"),
        DateError::Form => ("IN104", "write the date in the form of the standard"),
    };
    Problem::new(code, error.to_string(), place, hint)
}

fn xml_error(bad: xml::BadXml) -> IntakeError {
    match bad {
        xml::BadXml::Malformed(row) => IntakeError::Xml { row },
        xml::BadXml::Truncated(row) => IntakeError::XmlTruncated { row },
        xml::BadXml::TooLarge(row) => IntakeError::XmlTooLarge { row },
        xml::BadXml::Doctype(row) => IntakeError::XmlDoctype { row },
        xml::BadXml::Encoding(row) => IntakeError::XmlEncoding { row },
        xml::BadXml::Io(error) => crate::unpack::broken(&error),
    }
}
