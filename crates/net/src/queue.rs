//! What was offered to a site, and what people there decided: files of its folder, so that commands and the running site see the
//! same, and a crash loses nothing.
//!
//! `runs/<digest of the plan>/` holds the plan, who offered it when, what would leave in plain words, the decision, the hash
//! chain of what left, the shares of the last round where they came with proofs (`drawn.cbor`), and the result. `ledger.json` holds marks of the rows of cohorts that were answered; `stopped` stops
//! everything at once.
//!
//! Of a run without a coordinator it also holds which sites it is among, who of them agreed, where this site stands
//! (`standing.cbor`), what it promised (`promise.json`), and the sums of rounds that others may still need (`sums/`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use acequia_custody::RunDecision;
use acequia_learn::{ExitLog, Ledger, LogEntry, Promise, RoundTotal, Standing};
use acequia_types::{Day, Digest, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{NetError, file};

const WHAT: &str = "the queue of runs";

/// An offer, as it is shown to whoever decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Who offers it.
    pub from: String,
    /// When it came.
    pub at: Timestamp,
    /// The plan's sentence.
    pub title: String,
    /// Kind of task.
    pub task: String,
    /// What would leave (of a run: in the first round), in sentences.
    pub words: String,
    /// The signature of whoever proposed it, under plan, roster and, without a coordinator, sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Who takes part in a run that began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Who coordinates.
    pub from: String,
    /// All sites, sorted.
    pub sites: Vec<String>,
    /// Digest of the signed roster.
    pub roster: Digest,
    /// Digest over the site's own rows: with other rows the run is not gone on with, since its first rounds were not theirs.
    pub rows: Digest,
}

/// Among which sites a run without a coordinator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Among {
    /// Which site proposed it.
    pub by: String,
    /// All sites, sorted.
    pub sites: Vec<String>,
    /// Digest of the signed roster.
    pub roster: Digest,
    /// The signature of the site that proposed it; its agent signs what was proposed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Why a run ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// In words.
    pub reason: String,
}

/// Where a run stands at this site.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueuedRun {
    /// Digest of the plan.
    pub run: Digest,
    /// The offer.
    pub offer: Offer,
    /// The decision, if there is one.
    pub decision: Option<RunDecision>,
    /// Among which sites it is, where nobody coordinates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub among: Option<Among>,
    /// Who of them agreed, as far as this site knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agreed: Vec<String>,
    /// Who takes part, once it began.
    pub begun: Option<Begun>,
    /// Answers that left.
    pub left: usize,
    /// Whether the result came.
    pub finished: bool,
    /// Why it ended without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// The queue of one site.
#[derive(Debug, Clone)]
pub struct Queue {
    folder: PathBuf,
}

/// Writes a file whole, in a folder that is made where there is none.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], what: &'static str) -> Result<(), NetError> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(file(what))?;
    Ok(acequia_blobs::write_file_atomically(path, bytes)?)
}

/// Appends a line that lasts. A line that broke off in a crash is cut off first.
pub(crate) fn append_line(path: &Path, line: &str, what: &'static str) -> Result<(), NetError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(file(what))?;
    let before = read_if_there(path, what)?.unwrap_or_default();
    let whole = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut options = std::fs::OpenOptions::new();
    let mut lines = options.create(true).write(true).truncate(false).open(path).map_err(file(what))?;
    lines.set_len(whole as u64).map_err(file(what))?;
    std::io::Seek::seek(&mut lines, std::io::SeekFrom::End(0)).map_err(file(what))?;
    lines.write_all(format!("{line}\n").as_bytes()).and_then(|()| lines.sync_all()).map_err(file(what))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file(what))
}

pub(crate) fn read_if_there(path: &Path, what: &'static str) -> Result<Option<Vec<u8>>, NetError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(what)(error)),
    }
}

/// The whole lines of a file.
pub(crate) fn lines_of(path: &Path, what: &'static str) -> Result<String, NetError> {
    let bytes = read_if_there(path, what)?.unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    String::from_utf8(bytes[..whole].to_vec()).map_err(|_| file(what)(std::io::ErrorKind::InvalidData.into()))
}

pub(crate) fn document<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<Option<T>, NetError> {
    let Some(bytes) = read_if_there(path, what)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| file(what)(std::io::ErrorKind::InvalidData.into()))
}

pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// As [`document`], where no person reads it and it may be long.
pub(crate) fn cbor_document<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<Option<T>, NetError> {
    let Some(bytes) = read_if_there(path, what)? else { return Ok(None) };
    ciborium::from_reader(bytes.as_slice()).map(Some).map_err(|_| file(what)(std::io::ErrorKind::InvalidData.into()))
}

pub(crate) fn cbor(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Memory can be written.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes
}

impl Queue {
    /// The queue in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    pub(crate) fn run(&self, plan: &Digest) -> PathBuf {
        self.folder.join("runs").join(plan.to_string())
    }

    /// Enters an offer. One that is there already stays as it is.
    pub(crate) fn offer(&self, name: &Digest, document: &str, offer: &Offer) -> Result<(), NetError> {
        let run = self.run(name);
        if run.join("offer.json").exists() {
            return Ok(());
        }
        if !run.join("among.json").exists() {
            write_whole(&run.join("plan.json"), document.as_bytes(), WHAT)?;
        }
        write_whole(&run.join("offer.json"), &json(offer), WHAT)
    }

    /// The decision about a run.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn decision(&self, plan: &Digest) -> Result<Option<RunDecision>, NetError> {
        document(&self.run(plan).join("decision.json"), WHAT)
    }

    /// Who offered it.
    pub(crate) fn offered_by(&self, plan: &Digest) -> Result<Option<String>, NetError> {
        let offer: Option<Offer> = document(&self.run(plan).join("offer.json"), WHAT)?;
        Ok(offer.map(|offer| offer.from))
    }

    /// Whether it was offered, and nobody decided.
    pub(crate) fn waits(&self, plan: &Digest) -> Result<bool, NetError> {
        Ok(self.run(plan).join("offer.json").exists() && self.decision(plan)?.is_none())
    }

    /// Decides about a run that was offered. The last decision counts, also while the run goes on.
    ///
    /// # Errors
    /// [`NetError::NoRun`] when it was not offered; [`NetError::File`].
    pub fn decide(
        &self,
        plan: &Digest,
        allowed: bool,
        by: &str,
        last_day: Option<Day>,
        now: Timestamp,
    ) -> Result<RunDecision, NetError> {
        if !self.run(plan).join("offer.json").exists() {
            return Err(NetError::NoRun { run: plan.to_string() });
        }
        let decision = RunDecision { plan: *plan, allowed, by: by.to_owned(), at: now, last_day };
        write_whole(&self.run(plan).join("decision.json"), &json(&decision), WHAT)?;
        Ok(decision)
    }

    /// Finds a run by the first digits of its digest, four at least, or by words of its title.
    ///
    /// # Errors
    /// [`NetError::NoRun`] when it names none, or several.
    pub fn find(&self, name: &str) -> Result<QueuedRun, NetError> {
        let mut found = self.list()?;
        let words = name.to_lowercase();
        let is_named = |run: &QueuedRun| {
            let digits = name.len() >= 4 && run.run.to_string().starts_with(name);
            digits || (!words.trim().is_empty() && run.offer.title.to_lowercase().contains(&words))
        };
        found.retain(is_named);
        match found.len() {
            1 => Ok(found.remove(0)),
            _ => Err(NetError::NoRun { run: name.to_owned() }),
        }
    }

    /// The plan of a run, or the request of a validation, as it came (JSON).
    ///
    /// # Errors
    /// [`NetError::NoRun`]; [`NetError::File`].
    pub fn plan(&self, plan: &Digest) -> Result<String, NetError> {
        let bytes = read_if_there(&self.run(plan).join("plan.json"), WHAT)?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| NetError::NoRun { run: plan.to_string() })
    }

    /// All runs that were offered, oldest first.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn list(&self) -> Result<Vec<QueuedRun>, NetError> {
        let mut runs = Vec::new();
        let entries = match std::fs::read_dir(self.folder.join("runs")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(runs),
            Err(error) => return Err(file(WHAT)(error)),
        };
        for entry in entries {
            let path = entry.map_err(file(WHAT))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).map(Digest::parse);
            let Some(Ok(run)) = name else { continue };
            // A crash between the plan and the offer leaves no offer: it comes again.
            let Some(offer) = document(&path.join("offer.json"), WHAT)? else { continue };
            runs.push(QueuedRun {
                run,
                offer,
                decision: document(&path.join("decision.json"), WHAT)?,
                among: self.among(&run)?,
                agreed: self.agreed(&run)?.into_keys().collect(),
                begun: document(&path.join("begun.json"), WHAT)?,
                left: self.log(&run)?.entries().len(),
                finished: self.has_result(&run),
                failed: document(&path.join("failed.json"), WHAT)?,
            });
        }
        runs.sort_by_key(|run| (run.offer.at, run.run));
        Ok(runs)
    }

    pub(crate) fn begun(&self, plan: &Digest) -> Result<Option<Begun>, NetError> {
        document(&self.run(plan).join("begun.json"), WHAT)
    }

    pub(crate) fn begin(&self, plan: &Digest, begun: &Begun) -> Result<(), NetError> {
        write_whole(&self.run(plan).join("begun.json"), &json(begun), WHAT)
    }

    /// Everything that left for a run, with its chain checked.
    ///
    /// # Errors
    /// [`NetError::Learn`] when the chain is broken; [`NetError::File`].
    pub fn log(&self, plan: &Digest) -> Result<ExitLog, NetError> {
        Ok(ExitLog::from_lines(&lines_of(&self.run(plan).join("left.jsonl"), WHAT)?)?)
    }

    /// Puts on record what is about to leave.
    pub(crate) fn leaves(&self, plan: &Digest, entry: &LogEntry) -> Result<(), NetError> {
        let line = serde_json::to_string(entry).unwrap_or_default();
        append_line(&self.run(plan).join("left.jsonl"), &line, WHAT)
    }

    /// Shares with proofs of the last round, which are drawn once; before they leave.
    pub(crate) fn keep_drawn(&self, plan: &Digest, shares: &[u8]) -> Result<(), NetError> {
        write_whole(&self.run(plan).join("drawn.cbor"), shares, WHAT)
    }

    /// See [`Queue::keep_drawn`].
    pub(crate) fn drawn(&self, plan: &Digest) -> Result<Option<Vec<u8>>, NetError> {
        read_if_there(&self.run(plan).join("drawn.cbor"), WHAT)
    }

    pub(crate) fn finish(&self, plan: &Digest, outcome: &str) -> Result<(), NetError> {
        write_whole(&self.run(plan).join("outcome.json"), outcome.as_bytes(), WHAT)
    }

    /// Whether the result of a run is here.
    pub(crate) fn has_result(&self, plan: &Digest) -> bool {
        self.run(plan).join("outcome.json").exists()
    }

    /// The result of a run as it lies here (JSON), once it came.
    ///
    /// # Errors
    /// [`NetError::File`]; [`NetError::Ended`] when it ended without one.
    pub fn result(&self, plan: &Digest) -> Result<Option<String>, NetError> {
        if let Some(Failed { reason }) = document(&self.run(plan).join("failed.json"), WHAT)? {
            return Err(NetError::Ended { reason });
        }
        let bytes = read_if_there(&self.run(plan).join("outcome.json"), WHAT)?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Proposes a plan to sites, without a coordinator. The site's agent asks the others. Proposed again with the same sites, it is
    /// the same run.
    ///
    /// # Errors
    /// [`NetError::Refused`] when it was offered here otherwise before; [`NetError::File`].
    pub fn propose(&self, plan: &Digest, document: &str, among: &Among) -> Result<(), NetError> {
        let run = self.run(plan);
        let taken = |reason: &str| NetError::Refused { member: "this site".to_owned(), reason: reason.to_owned() };
        match self.among(plan)? {
            Some(before) if (&before.sites, before.roster) == (&among.sites, among.roster) => return Ok(()),
            Some(_) => {
                return Err(taken("the run was proposed with other sites or another roster; change the plan's title"));
            }
            None if run.join("offer.json").exists() => {
                return Err(taken("a coordinator offered this run; change the plan's title"));
            }
            None => {}
        }
        write_whole(&run.join("plan.json"), document.as_bytes(), WHAT)?;
        write_whole(&run.join("among.json"), &json(among), WHAT)
    }

    pub(crate) fn among(&self, plan: &Digest) -> Result<Option<Among>, NetError> {
        document(&self.run(plan).join("among.json"), WHAT)
    }

    /// Signatures of the sites that agreed to take part.
    pub(crate) fn agreed(&self, plan: &Digest) -> Result<BTreeMap<String, String>, NetError> {
        Ok(document(&self.run(plan).join("agreed.json"), WHAT)?.unwrap_or_default())
    }

    pub(crate) fn keep_agreed(&self, plan: &Digest, agreed: &BTreeMap<String, String>) -> Result<(), NetError> {
        write_whole(&self.run(plan).join("agreed.json"), &json(agreed), WHAT)
    }

    /// Ends a run here without a result.
    pub(crate) fn fail(&self, plan: &Digest, reason: String) -> Result<(), NetError> {
        write_whole(&self.run(plan).join("failed.json"), &json(&Failed { reason }), WHAT)
    }

    /// Runs without a coordinator that did not end yet, with whether they were offered to the people here.
    pub(crate) fn gathering(&self) -> Result<Vec<(Digest, bool)>, NetError> {
        let entries = match std::fs::read_dir(self.folder.join("runs")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file(WHAT)(error)),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let path = entry.map_err(file(WHAT))?.path();
            let Some(Ok(run)) = path.file_name().and_then(|name| name.to_str()).map(Digest::parse) else { continue };
            let is_over = path.join("outcome.json").exists() || path.join("failed.json").exists();
            if path.join("among.json").exists() && !is_over {
                runs.push((run, path.join("offer.json").exists()));
            }
        }
        runs.sort_unstable();
        Ok(runs)
    }

    /// Where this site stood in a run without a coordinator, and what it promised.
    pub(crate) fn stood(&self, plan: &Digest) -> Result<(Option<Standing>, Option<Promise>), NetError> {
        let run = self.run(plan);
        Ok((cbor_document(&run.join("standing.cbor"), WHAT)?, document(&run.join("promise.json"), WHAT)?))
    }

    pub(crate) fn stands(&self, plan: &Digest, standing: &Standing) -> Result<(), NetError> {
        write_whole(&self.run(plan).join("standing.cbor"), &cbor(standing), WHAT)
    }

    pub(crate) fn promises(&self, plan: &Digest, promise: &Promise) -> Result<(), NetError> {
        write_whole(&self.run(plan).join("promise.json"), &json(promise), WHAT)
    }

    fn sum_file(&self, plan: &Digest, round: u32) -> PathBuf {
        self.run(plan).join("sums").join(format!("{round}.sum"))
    }

    /// The sum of a round, if it is kept.
    pub(crate) fn sum(&self, plan: &Digest, round: u32) -> Result<Option<RoundTotal>, NetError> {
        let bytes = read_if_there(&self.sum_file(plan, round), WHAT)?;
        Ok(bytes.map(|bytes| RoundTotal::from_bytes("this site", &bytes)).transpose()?)
    }

    /// Round and sites of the last sum that this site has of a run without a coordinator.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn summed(&self, plan: &Digest) -> Result<Option<(u32, Vec<String>)>, NetError> {
        let entries = match std::fs::read_dir(self.run(plan).join("sums")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file(WHAT)(error)),
        };
        let mut last = None;
        for entry in entries {
            let path = entry.map_err(file(WHAT))?.path();
            let round = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
            last = last.max(round.filter(|_| path.extension().is_some_and(|extension| extension == "sum")));
        }
        let Some(round) = last else { return Ok(None) };
        Ok(self.sum(plan, round)?.map(|sum| (round, sum.sites)))
    }

    /// Keeps the sum of a round, for sites that are behind.
    pub(crate) fn keep_sum(&self, plan: &Digest, sum: &RoundTotal) -> Result<(), NetError> {
        write_whole(&self.sum_file(plan, sum.round), &sum.to_bytes(), WHAT)
    }

    /// Nobody needs the sum of this round any more.
    pub(crate) fn drop_sum(&self, plan: &Digest, round: u32) {
        // One that stays is no harm.
        let _ = std::fs::remove_file(self.sum_file(plan, round));
    }

    pub(crate) fn ledger(&self) -> Result<Ledger, NetError> {
        Ok(document(&self.folder.join("ledger.json"), WHAT)?.unwrap_or_default())
    }

    /// Epsilon that all runs with noise gave away here together, at this delta, and how many runs they were.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn spent(&self, delta: f64) -> Result<(f64, usize), NetError> {
        Ok(self.ledger()?.spent(delta))
    }

    pub(crate) fn keep(&self, ledger: &Ledger) -> Result<(), NetError> {
        write_whole(&self.folder.join("ledger.json"), &json(ledger), WHAT)
    }

    /// Stops everything at once, or lets it go on.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn stop(&self, stopped: bool) -> Result<(), NetError> {
        let path = self.folder.join("stopped");
        if stopped {
            return write_whole(&path, b"stopped\n", WHAT);
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(WHAT)(error)),
            _ => Ok(()),
        }
    }

    /// Whether everything is stopped. What cannot be looked at counts as stopped.
    pub fn is_stopped(&self) -> bool {
        self.folder.join("stopped").try_exists().unwrap_or(true)
    }
}
