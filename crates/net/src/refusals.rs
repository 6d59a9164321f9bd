//! What a member refused: a hash chain in its folder, so that an attack that came to nothing is seen too, and nobody can take it out
//! of the record later without a trace.
//!
//! Whoever asks without end fills no disk: the same refusal is entered again after a minute with how often it came meanwhile, and of
//! one member no more than some hundred an hour.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use acequia_learn::{RefusalEntry, Refused};
use acequia_types::{Coded, Digest, Timestamp};

use crate::error::{NetError, file};
use crate::queue::{append_line, lines_of};

const WHAT: &str = "the log of what was refused";
const NAME: &str = "refused.jsonl";
/// Seconds within which the same refusal is entered once.
const AGAIN_S: i64 = 60;
/// Entries about one member in an hour, at most.
const MOST_PER_HOUR: u32 = 500;
/// Refusals that are kept in mind, at most.
const KNOWN_MAX: usize = 4_096;

/// What was asked for, as far as it was understood.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// In a word; empty for what cannot be read.
    pub(crate) what: &'static str,
    /// Digest of the plan or request.
    pub(crate) about: Option<Digest>,
    pub(crate) round: Option<u32>,
}

/// The log of one member.
pub(crate) struct Refusals {
    folder: PathBuf,
    state: Mutex<State>,
}

/// What makes two refusals the same: who asked for what, and the code of the error.
type Key = (String, &'static str, Option<Digest>, &'static str);

#[derive(Default)]
struct State {
    /// Digest of the last entry, once the file was looked at.
    head: Option<Option<Digest>>,
    /// When a refusal was entered last, and how often it came since.
    known: BTreeMap<Key, (Timestamp, u64)>,
    /// Of each member: since when entries are counted, and how many there are.
    counted: BTreeMap<String, (Timestamp, u32)>,
}

impl Refusals {
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), state: Mutex::default() }
    }

    /// Enters a refusal. One that cannot be written is no reason to say yes: the member has refused.
    pub(crate) fn enter(&self, from: &str, asked: Asked, error: &NetError, now: Timestamp) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(problem) = state.enter(&self.folder.join(NAME), (from, asked, error), now) {
            tracing::error!(%problem, "a refusal is not on record");
        }
    }
}

impl State {
    fn enter(
        &mut self,
        path: &Path,
        (from, asked, error): (&str, Asked, &NetError),
        now: Timestamp,
    ) -> Result<(), NetError> {
        let key = (from.to_owned(), asked.what, asked.about, error.code());
        if let Some((at, more)) = self.known.get_mut(&key)
            && now.unix_s() - at.unix_s() < AGAIN_S
        {
            *more += 1;
            return Ok(());
        }
        let (since, entries) = self.counted.entry(from.to_owned()).or_insert((now, 0));
        if now.unix_s() - since.unix_s() >= 3_600 {
            (*since, *entries) = (now, 0);
        }
        if *entries >= MOST_PER_HOUR {
            return Ok(());
        }
        *entries += 1;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let more = self.known.insert(key, (now, 0)).map_or(0, |(_, more)| more);
        let plain = |text: &str| text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let refused = Refused {
            at: now,
            from: from.to_owned(),
            what: if asked.what.is_empty() { "what cannot be read" } else { asked.what }.to_owned(),
            about: asked.about,
            round: asked.round,
            code: error.code().to_owned(),
            reason: plain(&error.to_string()),
            more,
        };
        let before = match self.head {
            Some(head) => head,
            None => last_of(path)?,
        };
        let entry = RefusalEntry::after(before, refused);
        let line = serde_json::to_string(&entry).unwrap_or_default();
        match self.head {
            // The file ends with a whole line: this process wrote it.
            Some(Some(_)) => {
                let mut lines = std::fs::OpenOptions::new().append(true).open(path).map_err(file(WHAT))?;
                lines.write_all(format!("{line}\n").as_bytes()).and_then(|()| lines.sync_data()).map_err(file(WHAT))?;
            }
            _ => append_line(path, &line, WHAT)?,
        }
        self.head = Some(Some(entry.chain));
        Ok(())
    }
}

/// The chain of the last whole entry. Where an earlier one does not fit, whoever reads the log is told.
fn last_of(path: &Path) -> Result<Option<Digest>, NetError> {
    let text = lines_of(path, WHAT)?;
    Ok(text.lines().last().and_then(|line| serde_json::from_str::<RefusalEntry>(line).ok()).map(|entry| entry.chain))
}

/// Everything that a member refused, by the folder of its role, with the chain checked.
///
/// # Errors
/// [`NetError::Learn`] when the chain is broken; [`NetError::File`].
pub(crate) fn refused_in(folder: &Path) -> Result<Vec<RefusalEntry>, NetError> {
    Ok(RefusalEntry::from_lines(&lines_of(&folder.join(NAME), WHAT)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_entered_once_a_minute_and_a_flood_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let refusals = Refusals::new(folder.path());
        let error = NetError::Message { from: "x".to_owned(), reason: "no\u{7}" };
        let asked = Asked { what: "ask", about: Some(Digest::of(b"plan")), round: Some(1) };
        for second in 0..70 {
            refusals.enter("trustee", asked, &error, Timestamp::from_unix_s(second));
        }
        let entries = refused_in(folder.path()).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.refused.more).collect::<Vec<_>>(), [0, 59]);
        assert!(!entries[0].refused.reason.contains('\u{7}'));
        // Started again, the chain goes on.
        let refusals = Refusals::new(folder.path());
        for nth in 0..2_000u64 {
            let asked = Asked { about: Some(Digest::of(&nth.to_le_bytes())), ..asked };
            refusals.enter("trustee", asked, &error, Timestamp::from_unix_s(100));
        }
        refusals.enter("council", asked, &error, Timestamp::from_unix_s(100));
        let entries = refused_in(folder.path()).unwrap();
        assert_eq!(entries.len(), 2 + MOST_PER_HOUR as usize + 1);
        assert_eq!(entries.last().unwrap().refused.from, "council");
    }
}
