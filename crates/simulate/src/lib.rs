//! Simulated donors: breast-cancer patients as FHIR R4 bundles with identifiers and consents, for the demo and for tests.
//!
//! Comes in: a seed and a number. Goes out: a [`Cohort`] of bytes; the same seed gives the same bytes. No real person
//! is in it: names are put together from syllables, numbers are drawn. Findings follow the shape of the Rotterdam
//! cohort (age 25 to 90, few nodes for most and many for some, risk growing with nodes, size and grade).
//!
//! ```
//! let cohort = acequia_simulate::donors(7, 40);
//! assert_eq!(cohort.files.len(), 40);
//! assert_eq!(cohort, acequia_simulate::donors(7, 40));
//! ```

mod bundle;
mod hostile;
mod names;

pub use hostile::{Hostile, TABLE_HEADER, hostile};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Simulated donations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cohort {
    /// Donated files, one per donor.
    pub files: Vec<SimulatedFile>,
    /// Consent files beside them; some donors have none.
    pub consents: Vec<SimulatedFile>,
    /// Everything in the files that identifies somebody: names, addresses, telephone numbers, e-mails, insurance and
    /// record numbers, birth dates. A scan of what leaves a node looks for these.
    pub identifiers: Vec<String>,
    /// What a node should count.
    pub expected: Expected,
}

/// One simulated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedFile {
    /// File name.
    pub name: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// What a node should count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// Donors who allow open publication and whose file can be read.
    pub included: u64,
    /// Donors who refuse open publication.
    pub refused: u64,
    /// Donors who withdrew.
    pub withdrawn: u64,
    /// Donors whose consent ran out.
    pub expired: u64,
    /// Donors without consent file.
    pub unknown: u64,
    /// Files that cannot be read.
    pub quarantined: u64,
}

/// What a donor decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Allows,
    Refuses,
    Withdrew,
    Expired,
    Silent,
}

/// Makes `count` donors. One file is cut off and one is a letter instead of a record (when there are at least ten).
pub fn donors(seed: u64, count: usize) -> Cohort {
    let mut cohort =
        Cohort { files: Vec::new(), consents: Vec::new(), identifiers: Vec::new(), expected: Expected::default() };
    for at in 0..count {
        // A generator per donor: another number of donors leaves the others as they are.
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(at as u64 + 1);
        let donor = format!("donor-{:04}", at + 1);
        let person = names::person(&mut rng, at);
        let mut bytes = bundle::bundle(&mut rng, &person, at);
        cohort.identifiers.extend(person.identifiers());

        let choice = choice(at);
        let broken = count >= 10 && matches!(at, 4 | 7);
        if count >= 10 && at == 4 {
            bytes.truncate(bytes.len() * 2 / 3);
        }
        if count >= 10 && at == 7 {
            bytes = person.letter().into_bytes();
        }
        let counter = match choice {
            _ if broken => &mut cohort.expected.quarantined,
            Choice::Allows => &mut cohort.expected.included,
            Choice::Refuses => &mut cohort.expected.refused,
            Choice::Withdrew => &mut cohort.expected.withdrawn,
            Choice::Expired => &mut cohort.expected.expired,
            Choice::Silent => &mut cohort.expected.unknown,
        };
        *counter += 1;
        if let Some(consent) = consent(&mut rng, &donor, choice) {
            cohort.consents.push(SimulatedFile { name: format!("{donor}.consent.json"), bytes: consent.into_bytes() });
        }
        cohort.files.push(SimulatedFile { name: format!("{donor}.json"), bytes });
    }
    cohort.identifiers.sort();
    cohort.identifiers.dedup();
    cohort
}

/// Of a hundred donors eight refuse, four withdraw, one lets the consent run out, one never answered.
fn choice(at: usize) -> Choice {
    match at % 100 {
        9 | 21 | 33 | 45 | 57 | 69 | 81 | 93 => Choice::Refuses,
        15 | 40 | 65 | 90 => Choice::Withdrew,
        50 => Choice::Expired,
        75 => Choice::Silent,
        _ => Choice::Allows,
    }
}

fn consent(rng: &mut impl Rng, donor: &str, choice: Choice) -> Option<String> {
    let day = rng.random_range(5..28);
    let given = format!("2026-02-{day:02}T09:00:00Z");
    let later = format!("2026-07-{day:02}T09:00:00Z");
    let all = serde_json::json!(["open-publication", "research", "model-training"]);
    let give = serde_json::json!({ "at": given, "event": "give", "purposes": all });
    let events = match choice {
        Choice::Allows => vec![give],
        Choice::Refuses => vec![
            serde_json::json!({ "at": given, "event": "give", "purposes": ["research", "model-training"] }),
            serde_json::json!({ "at": given, "event": "refuse", "purposes": ["open-publication"] }),
        ],
        Choice::Withdrew => vec![give, serde_json::json!({ "at": later, "event": "withdraw" })],
        Choice::Expired => {
            vec![serde_json::json!({ "at": given, "event": "give", "purposes": all, "expires_on": "2026-06-30" })]
        }
        Choice::Silent => return None,
    };
    let file = serde_json::json!({ "donor": donor, "events": events });
    Some(format!("{file:#}\n"))
}

#[cfg(test)]
mod tests {
    use acequia_custody::ConsentEvent;

    use super::*;

    #[test]
    fn three_hundred_donors_decide_as_expected() {
        let expected = donors(300, 300).expected;
        let wanted = Expected { included: 256, refused: 24, withdrawn: 12, expired: 3, unknown: 3, quarantined: 2 };
        assert_eq!(expected, wanted);
    }

    #[test]
    fn the_seed_decides_every_byte() {
        assert_eq!(donors(1, 30), donors(1, 30));
        assert_ne!(donors(1, 30).files, donors(2, 30).files);
        assert_eq!(donors(1, 30).files[20], donors(1, 25).files[20], "more donors leave the others as they are");
    }

    #[test]
    fn consents_are_in_the_form_the_trustee_reads() {
        for consent in donors(3, 100).consents {
            let mut file: serde_json::Value = serde_json::from_slice(&consent.bytes).unwrap();
            let events: Vec<ConsentEvent> = serde_json::from_value(file["events"].take()).unwrap();
            assert!(!events.is_empty());
        }
    }

    #[test]
    fn identifiers_are_in_the_files_and_long_enough_to_look_for() {
        let cohort = donors(300, 50);
        let all: Vec<u8> = cohort.files.iter().flat_map(|file| file.bytes.clone()).collect();
        let all = String::from_utf8_lossy(&all).into_owned();
        let found = cohort.identifiers.iter().filter(|identifier| all.contains(identifier.as_str())).count();
        assert!(
            cohort.identifiers.iter().all(|identifier| identifier.chars().count() >= 6),
            "{:?}",
            cohort.identifiers
        );
        // The letter and the cut file hold only some of theirs.
        assert!(found * 100 > cohort.identifiers.len() * 95, "{found} of {}", cohort.identifiers.len());
    }
}
