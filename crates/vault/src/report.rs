//! What a donor is told after a withdrawal: what stopped, what was removed, who was told, what could not be called back.
//!
//! Source: reference design §3.6(9); GDPR Art. 7(3), 12(1), 19.

use acequia_custody::{Ask, Conditions, ConsentKind, Level, Operation, Policy, Purpose, Reason, Reasons};
use acequia_store::{Release, Tombstone};
use acequia_types::{Day, DonorId, Timestamp};
use maud::{Markup, html};
use serde::Serialize;

use crate::desk::{Desk, DeskError, page};
use crate::recipients::NoticeState;
use crate::texts::Texts;
use crate::{is_model, purpose_of};

/// What followed from a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Withdrawal {
    /// Whose.
    pub donor: DonorId,
    /// When the donor last withdrew.
    pub withdrawn_at: Option<Timestamp>,
    /// How far.
    pub level: Option<Level>,
    /// What is not done any more, for any purpose.
    pub stopped: Vec<Operation>,
    /// How often the record was opened for a use since.
    pub uses_after: u64,
    /// When it was last opened for a use.
    pub last_use: Option<Timestamp>,
    /// Published versions that hold, or may hold, a row made from the donor's data, oldest first.
    pub versions: Vec<HeldVersion>,
    /// Recipients that were told.
    pub told: Vec<Told>,
}

/// A published version with the donor in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldVersion {
    /// `namespace/name`.
    pub dataset: String,
    /// Version.
    pub version: String,
    /// When it was published.
    pub published_on: Day,
    /// Whether it is known who is in it; versions of older programs did not keep that.
    pub known: bool,
    /// Since when it is not served any more.
    pub taken_down_on: Option<Day>,
    /// The version in its place.
    pub successor: Option<String>,
    /// Whether it gives way as soon as there is a version without the donor. One of an older program, of which it is not
    /// known who is in it, does not by itself.
    pub waits: bool,
    /// Whether it is a model, which holds no row.
    pub model: bool,
}

/// A recipient that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Who.
    pub recipient: String,
    /// About which data set.
    pub dataset: String,
    /// When.
    pub on: Day,
    /// Whether it confirmed.
    pub confirmed: bool,
}

/// Whether a purpose is closed by an act of the person, whatever else closes it too. Consent that merely ran out is none.
fn person_left(reasons: Reasons) -> bool {
    const ACTS: [Reason; 6] =
        [Reason::Withdrawn, Reason::Refused, Reason::Erased, Reason::Invalidated, Reason::Objected, Reason::OptedOut];
    ACTS.into_iter().any(|act| reasons.contains(act))
}

/// The same of somebody in a published version, which then gives way to one without her: she allowed it once, so a later
/// consent that leaves the purpose out took it back.
pub fn left_version(reasons: Reasons) -> bool {
    person_left(reasons) || reasons.contains(Reason::NotAsked)
}

impl Desk {
    /// What followed from a donor's withdrawal.
    ///
    /// # Errors
    /// [`DeskError::NoDonor`] when nothing of the donor is on file.
    pub async fn withdrawal(&self, donor: &DonorId, policy: &Policy, now: Timestamp) -> Result<Withdrawal, DeskError> {
        let history = self.store.consent(donor).await?.ok_or(DeskError::NoDonor)?;
        let subject = self.store.subject(donor).await?.ok_or(DeskError::NoDonor)?;
        // The furthest withdrawal since the donor last allowed anything, and the first of that level: later ones take nothing more.
        let mut withdrawn: Option<(Timestamp, Level)> = None;
        for event in history.events().filter(|event| event.at <= now) {
            match event.kind {
                ConsentKind::Give { .. } => withdrawn = None,
                ConsentKind::Withdraw { level } if withdrawn.is_none_or(|(_, before)| before < level) => {
                    withdrawn = Some((event.at, level));
                }
                _ => {}
            }
        }
        let reasons = |purpose, operation| {
            Ask { purpose, operation, policy, now, terms: Conditions::none() }.about(donor, Some(&history)).reasons()
        };
        // What is allowed for a purpose, or will be by itself, has not stopped.
        let closed = |operation: &Operation| {
            let all = Purpose::ALL.map(|purpose| reasons(purpose, *operation));
            let stops = |reasons: Reasons| person_left(reasons) || reasons.contains(Reason::Restricted);
            let waits = |reasons: Reasons| reasons.contains(Reason::CoolingOff) || reasons.contains(Reason::NotYet);
            let goes_on = |reasons: Reasons| reasons == Reasons::NONE || (!stops(reasons) && waits(reasons));
            !all.into_iter().any(goes_on) && all.into_iter().any(stops)
        };
        let stopped: Vec<Operation> = Operation::ALL.into_iter().filter(closed).collect();

        let accesses = self.store.accesses(Some(&subject)).await?;
        let uses = accesses.iter().filter(|(_, access)| access.purpose.is_some() && access.refused.is_none());
        let uses: Vec<Timestamp> = uses.map(|(entry, _)| entry.at).collect();
        let after = |at: &&Timestamp| withdrawn.is_some_and(|(withdrawn_at, _)| **at > withdrawn_at);

        let donated_at = self.donations(donor).await?.iter().map(|donation| donation.received_at).min();
        let left = |release: &Release| left_version(reasons(purpose_of(release), Operation::Republish));
        let stones = self.store.tombstones().await?;
        let releases = self.store.releases().await?;
        let mut versions = Vec::new();
        for release in &releases {
            let subjects = self.vault.subjects_of(release)?;
            let in_it = match &subjects {
                Some(subjects) => subjects.contains(&subject),
                None => donated_at.is_some_and(|donated_at| donated_at <= release.published_at),
            };
            if !in_it {
                continue;
            }
            let stone = |(_, stone): &&(Timestamp, Tombstone)| stone.is_of(&release.dataset, &release.version);
            let stone = stones.iter().find(stone);
            versions.push(HeldVersion {
                dataset: release.dataset.to_string(),
                version: release.version.clone(),
                published_on: release.published_at.day(),
                known: subjects.is_some(),
                taken_down_on: stone.map(|(at, _)| at.day()),
                successor: stone.and_then(|(_, stone)| stone.successor.clone()),
                model: is_model(release),
                waits: left(release) && stone.is_none() && subjects.is_some(),
            });
        }

        let requests = self.cases_of(&subject, now).await?;
        let own = |number: u64| requests.iter().any(|case| case.number == number);
        let mut told = Vec::new();
        for (notice, on, _) in self.dated_notices().await? {
            let about_own = match (&notice.version, notice.request) {
                (Some(version), _) => {
                    versions.iter().any(|held| *version == held.version && notice.data_set() == held.dataset)
                }
                (None, Some(number)) => own(number),
                (None, None) => false,
            };
            if about_own {
                let confirmed = notice.state == NoticeState::Confirmed;
                told.push(Told { recipient: notice.recipient, dataset: notice.dataset, on, confirmed });
            }
        }
        Ok(Withdrawal {
            donor: donor.clone(),
            withdrawn_at: withdrawn.map(|(at, _)| at),
            level: withdrawn.map(|(_, level)| level),
            stopped,
            uses_after: uses.iter().filter(after).count() as u64,
            last_use: uses.last().copied(),
            versions,
            told,
        })
    }
}

impl Withdrawal {
    /// The same as a page that can be printed.
    pub fn page(&self, texts: &Texts) -> String {
        page(texts, "report-title", &self.content(texts))
    }

    /// The same without a page around it.
    pub fn content(&self, texts: &Texts) -> Markup {
        let say = |key: &str| texts.say(key);
        let day = |day: &Day| day.to_string();
        let section = |title: &str, nothing: &str, lines: &[String]| {
            html! {
                h2 { (say(title)) }
                @if lines.is_empty() { p { (say(nothing)) } } @else { ul { @for line in lines { li { (line) } } } }
            }
        };
        let stopped: Vec<String> =
            self.stopped.iter().map(|operation| say(&format!("stopped-{}", operation.as_str()))).collect();
        let mut removed = Vec::new();
        for held in &self.versions {
            if let Some(on) = &held.taken_down_on {
                let on = day(on);
                let values = [("dataset", held.dataset.as_str()), ("version", &held.version), ("day", &on)];
                let mut line = texts.say_with("removed-version", &values);
                if let Some(next) = &held.successor {
                    line = format!("{line} {}", texts.say_with("removed-by", &[("version", next)]));
                }
                removed.push(line);
            }
        }
        let waiting = self.versions.iter().filter(|held| held.waits);
        let waiting = waiting.map(|held| {
            let words = if held.model { "waiting-model" } else { "waiting-version" };
            texts.say_with(words, &[("dataset", &held.dataset), ("version", &held.version)])
        });
        let waiting: Vec<String> = waiting.collect();
        let told = self.told.iter().map(|told| {
            let (key, on) = (if told.confirmed { "told-confirmed" } else { "told-line" }, day(&told.on));
            texts.say_with(key, &[("recipient", &told.recipient), ("dataset", &told.dataset), ("day", &on)])
        });
        let told: Vec<String> = told.collect();
        let kept = self.versions.iter().map(|held| {
            let (key, on) = (if held.known { "kept-version" } else { "kept-unknown" }, day(&held.published_on));
            texts.say_with(key, &[("dataset", &held.dataset), ("version", &held.version), ("day", &on)])
        });
        let kept: Vec<String> = kept.collect();
        let levels =
            self.level.into_iter().flat_map(|level| Level::ALL.into_iter().filter(move |other| *other <= level));
        let levels: Vec<String> = levels.map(|level| say(level.as_str())).collect();
        html! {
            dl {
                dt { (say("report-account")) } dd { (self.donor) }
                @if let Some(at) = &self.withdrawn_at { dt { (say("report-withdrawn")) } dd { (at.day()) } }
                @if !levels.is_empty() { dt { (say("report-level")) } @for level in &levels { dd { (level) } } }
            }
            @if self.withdrawn_at.is_none() { p { (say("report-not-withdrawn")) } }
            (section("report-stopped", "report-nothing-stopped", &stopped))
            @if self.withdrawn_at.is_some() { p { (texts.count("report-uses-after", self.uses_after)) } }
            (section("report-removed", "report-nothing-removed", &removed))
            @if !waiting.is_empty() { (section("report-waiting", "report-nothing-removed", &waiting)) }
            (section("report-told", "report-nobody-told", &told))
            (section("report-kept", "report-nothing-kept", &kept))
            p { (say("complaint")) }
        }
    }
}
