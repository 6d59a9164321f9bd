//! `donate`: files come in, are read once to tell what is wrong with them, and are sealed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use acequia_custody::{ConsentEvent, ConsentKind, History, Operation, Purpose, Reason, Recorded};
use acequia_intake::{Format, Limits, Mapping};
use acequia_omop::ItemCounts;
use acequia_store::{Added, Donation, State};
use acequia_types::{Coded, Digest, DonorId, IntakeId, Problem, SourceId, digest_named};
use serde::{Deserialize, Serialize};

use crate::failpoint::failpoint;
use crate::failure::{Failure, NodeError, io};
use crate::home::Node;
use crate::progress::Progress;

/// Largest file that is taken in as it is.
const LARGEST_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// Largest mapping or consent file.
pub(crate) const LARGEST_SIDECAR_BYTES: u64 = 1024 * 1024;
/// Source of everybody who gives for himself.
pub const INDIVIDUAL_DONORS: &str = "individual-donors";

/// What the user says about the files; sidecars beside a file say the rest.
#[derive(Debug, Clone, Default)]
pub struct DonateOptions {
    /// Mapping for all tables; `<name>.mapping.toml` beside a table otherwise.
    pub mapping: Option<PathBuf>,
    /// Consent file for all files; `<name>.consent.json` beside a file otherwise.
    pub consent: Option<PathBuf>,
}

/// What happened to the files.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DonateReport {
    /// Files offered.
    pub files: u64,
    /// New in the vault and readable.
    pub accepted: u64,
    /// New in the vault, not readable.
    pub quarantined: u64,
    /// In the vault before.
    pub known: u64,
    /// Files without a consent on file: they stay closed.
    pub without_consent: u64,
    /// Files not taken in, because their donors withdrew from the collection of data.
    pub not_collected: u64,
    /// Files whose donors' consent to open publication does not count yet: the time to think is not over.
    pub cooling_off: u64,
    /// Items (rows, resources) in the readable new files.
    pub items: u64,
    /// What is wrong, file by file.
    pub findings: Vec<Finding>,
}

/// What is wrong with one file. Names the donation and its number in the order given, never the file or a value.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Which donation.
    pub intake: String,
    /// One-based number of the file in the order of paths.
    pub file: u64,
    /// Code.
    pub code: String,
    /// Words, with row and column.
    pub what: String,
    /// What to do.
    pub hint: String,
    /// Whether the whole file is set aside.
    pub quarantined: bool,
}

/// The consent file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentFile {
    donor: DonorId,
    events: Vec<ConsentEvent>,
}

/// How many row problems are listed one by one; all are counted.
const LISTED_PROBLEMS: usize = 20;

impl Node {
    /// Takes in files; a folder stands for the files in it. Offering a file again changes nothing.
    ///
    /// # Errors
    /// When a path, mapping or consent file cannot be used. A donated file that cannot be read is no error: it is
    /// quarantined and counted.
    pub async fn donate(
        &self,
        paths: &[PathBuf],
        options: &DonateOptions,
        progress: &dyn Progress,
    ) -> Result<DonateReport, Failure> {
        let _lock = self.lock()?;
        let files = files_of(paths)?;
        let mut report = DonateReport { files: files.len() as u64, ..DonateReport::default() };
        progress.start("donate", files.len() as u64);
        for (at, path) in files.iter().enumerate() {
            self.donate_one(at as u64 + 1, path, options, &mut report).await?;
            progress.advance(1);
        }
        progress.finish(&format!(
            "{} files: {} accepted, {} quarantined, {} known before",
            report.files, report.accepted, report.quarantined, report.known
        ));
        Ok(report)
    }

    async fn donate_one(
        &self,
        number: u64,
        path: &Path,
        options: &DonateOptions,
        report: &mut DonateReport,
    ) -> Result<(), Failure> {
        let label = format!("donated file number {number}");
        let bytes = acequia_blobs::read_file(path, &label, LARGEST_FILE_BYTES)?;
        let plaintext = Digest::of(&bytes);
        let mapping_path = options.mapping.clone().or_else(|| sidecar(path, "mapping.toml"));
        let mapping_bytes = match &mapping_path {
            Some(path) => Some(acequia_blobs::read_file(path, &format!("mapping of {label}"), LARGEST_SIDECAR_BYTES)?),
            None => None,
        };
        let mapping = match &mapping_bytes {
            Some(bytes) => {
                let parsed =
                    Mapping::parse(&String::from_utf8_lossy(bytes), &self.vocabulary()?).map_err(Failure::from);
                Some(
                    parsed
                        .map_err(|failure| Failure { message: format!("{label}: {}", failure.message), ..failure })?,
                )
            }
            None => None,
        };

        let consent_path = options.consent.clone().or_else(|| sidecar(path, "consent.json"));
        let consent = match &consent_path {
            Some(path) => Some(acequia_blobs::read_file(path, &format!("consent of {label}"), LARGEST_SIDECAR_BYTES)?),
            None => None,
        };
        let consent: Option<Result<ConsentFile, serde_json::Error>> =
            consent.map(|bytes| serde_json::from_slice(&bytes));
        let donor = match &consent {
            Some(Ok(consent)) => consent.donor.clone(),
            // Nobody is known by this name, so nobody's consent can ever be found for it: the record stays closed.
            _ => DonorId::parse(&format!("unknown-{}", self.pseudonym(&plaintext)))?,
        };
        let mapping_digest = mapping_bytes.as_deref().map(Digest::of);
        let intake = intake_id(&donor, &plaintext, mapping_digest.as_ref())?;
        let finding = |code: &str, what: String, hint: &str, quarantined| Finding {
            intake: intake.to_string(),
            file: number,
            code: code.to_owned(),
            what,
            hint: hint.to_owned(),
            quarantined,
        };

        match consent {
            Some(Ok(consent)) => {
                let before = self.store.consent(&donor).await?;
                self.store.append_consent(&donor, &consent.events, self.clock.now()).await?;
                let known = self.store.donation(&intake).await?.is_some();
                if !known && self.withdrew_from_collection(&donor, before, &consent.events) {
                    let error = NodeError::NotCollected;
                    report.findings.push(finding(error.code(), error.to_string(), error.hint(), true));
                    report.not_collected += 1;
                    return Ok(());
                }
                if let Some(history) = self.store.consent(&donor).await? {
                    let open = (Purpose::OpenPublication, Operation::Use);
                    let reason = self.desk().reason(&donor, &history, open, self.clock.now());
                    report.cooling_off += u64::from(reason == Some(Reason::CoolingOff));
                }
            }
            Some(Err(error)) => {
                let message = format!("row {}, character {}", error.line(), error.column());
                let error = NodeError::ConsentFile { intake: intake.to_string(), message };
                report.findings.push(finding(error.code(), error.to_string(), error.hint(), false));
                report.without_consent += 1;
            }
            None => report.without_consent += 1,
        }

        let limits = Limits::default();
        let read = acequia_intake::read(&bytes, mapping.as_ref(), &limits);
        let format = acequia_intake::format_of(&bytes, mapping.as_ref(), &limits);
        let source = match (&mapping, &format) {
            (Some(mapping), Ok(Format::Csv)) => mapping.source.id.clone(),
            _ => SourceId::parse(INDIVIDUAL_DONORS)?,
        };
        let (state, detail) = match &read {
            Ok(file) => {
                let mut by_code = BTreeMap::<&str, u64>::new();
                for problem in &file.problems {
                    *by_code.entry(&problem.code).or_default() += 1;
                }
                let counts = ItemCounts::of(&file.items);
                (State::Accepted, serde_json::json!({ "items": counts.total, "problems": by_code }))
            }
            Err(error) => {
                (State::Quarantined { code: error.code().to_owned() }, serde_json::json!({ "why": error.to_string() }))
            }
        };
        // What is on file is not sealed again.
        if self.store.donation(&intake).await?.is_some() {
            report.known += 1;
            return Ok(());
        }
        let deposit = self.vault.deposit(&donor, &intake, &bytes).await?;
        if let Some(bytes) = &mapping_bytes {
            self.blobs.put(bytes)?;
        }
        failpoint("donate.sealed");
        let donation = Donation {
            intake: intake.clone(),
            donor,
            source,
            format: format.map_or("unknown", Format::as_str).to_owned(),
            plaintext,
            sealed: deposit.sealed,
            bytes: bytes.len() as u64,
            mapping: mapping_digest,
            received_at: self.clock.now(),
            state,
            detail,
        };
        let added = self.store.add_donation(&donation).await?;
        failpoint("donate.recorded");
        match (added, read) {
            (Added::Same(_), _) => report.known += 1,
            (Added::New, Ok(file)) => {
                report.accepted += 1;
                report.items += file.items.len() as u64;
                let problem = |p: &Problem| finding(&p.code, format!("{}: {}", p.place, p.what), &p.hint, false);
                report.findings.extend(file.problems.iter().take(LISTED_PROBLEMS).map(problem));
                let more = file.problems.len().saturating_sub(LISTED_PROBLEMS);
                if more > 0 {
                    report.findings.push(finding(
                        "IN100",
                        format!("{more} more problems in this file"),
                        "mend those listed first",
                        false,
                    ));
                }
            }
            (Added::New, Err(error)) => {
                report.quarantined += 1;
                report.findings.push(finding(error.code(), error.to_string(), error.hint(), true));
            }
        }
        Ok(())
    }

    /// Whether a donor had withdrawn from the collection of data before this file was offered, and nothing, its own consent
    /// included, allows it again. A withdrawal in the file's own consent came after the donor gave the file.
    fn withdrew_from_collection(&self, donor: &DonorId, before: Option<History>, own: &[ConsentEvent]) -> bool {
        let now = self.clock.now();
        let before = before.map(|history| history.records().to_vec()).unwrap_or_default();
        let earlier: Vec<Recorded> = before.iter().filter(|recorded| !own.contains(&recorded.event)).cloned().collect();
        let own = own.iter().map(|event| Recorded { known_at: now, event: event.clone() });
        let stops = |recorded: &Recorded| {
            let withdrawn = matches!(recorded.event.kind,
                ConsentKind::Withdraw { level } if level >= Operation::Collect.stopped_by());
            withdrawn && recorded.event.at <= now
        };
        let desk = self.desk();
        let closed = |records: Vec<Recorded>| {
            let history = History::recorded(records);
            let allowed = |purpose| desk.reason(donor, &history, (purpose, Operation::Collect), now).is_none();
            !Purpose::ALL.into_iter().any(allowed)
        };
        earlier.iter().any(stops) && closed(earlier) && closed(before.into_iter().chain(own).collect())
    }

    /// A name for a file whose donor is unknown; keyed, so that nobody else can compute it from the content.
    fn pseudonym(&self, plaintext: &Digest) -> String {
        let key = blake3::derive_key("acequia 2026 unknown donor v1", &self.pseudonym_secret());
        let hash = blake3::keyed_hash(&key, plaintext.as_bytes());
        hex::encode(&hash.as_bytes()[..10])
    }
}

fn intake_id(donor: &DonorId, plaintext: &Digest, mapping: Option<&Digest>) -> Result<IntakeId, Failure> {
    let none = [0; 32];
    let mapping: &[u8] = mapping.map_or(&none, |digest| digest.as_bytes());
    let parts: [(&str, &[u8]); 3] =
        [("donor", donor.as_str().as_bytes()), ("plaintext", plaintext.as_bytes()), ("mapping", mapping)];
    Ok(IntakeId::parse(&format!("in-{}", digest_named("acequia intake v1", parts).short(16)))?)
}

fn is_sidecar(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    [".consent.json", ".mapping.toml", ".hierarchy.csv"].iter().any(|end| name.ends_with(end))
        || name.starts_with('.')
        || name.eq_ignore_ascii_case("README.md")
        || [".sql", ".toml"].iter().any(|end| name.ends_with(end))
}

/// `patient.json` → `patient.consent.json`; `register.csv.gz` → `register.consent.json`.
pub(crate) fn sidecar(path: &Path, suffix: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    // Only endings of formats are cut: `visit.7.json` is another file than `visit.json`, with another consent.
    let packed = [".gz", ".zip"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let stem = [".json", ".ndjson", ".jsonl", ".csv", ".tsv", ".txt", ".hl7", ".xml"]
        .iter()
        .find_map(|end| packed.strip_suffix(end))
        .unwrap_or(packed);
    let beside = path.with_file_name(format!("{stem}.{suffix}"));
    beside.is_file().then_some(beside)
}

/// The files meant, in the order of paths; sidecars are not files of their own.
pub(crate) fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(io("a folder of donations", "read"))? {
            let entry = entry.map_err(io("a folder of donations", "read"))?.path();
            if entry.is_file() && !is_sidecar(&entry) {
                inside.push(entry);
            }
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}
