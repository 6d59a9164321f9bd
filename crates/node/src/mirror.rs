//! Versions of neighbours: fetched into a folder, or mirrored, which is to be served here, too: the same bytes under the same name.
//!
//! What is fetched lies beside the blobs until it is whole and checked; then, under the node's lock, it becomes blobs, and the record
//! that a mirror is comes last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_gate::{Artefact, ExitSeal, Manifest, OriginGate, Outbound, ReleasedFile, SEAL_FILE, SealFile};
use acequia_hub::{Mirrored, PublishedVersion, TakenDownVersion};
use acequia_net::{
    CatalogueClient, Fetched, KnownVersion, MANIFEST_BYTES_MAX, Member, MemberKey, NetError, Roster, TakenDownThere,
    check_manifest,
};
use acequia_store::{Release, TakenDown};
use acequia_types::{DatasetName, Digest, DigestWriter, Timestamp};
use serde::{Deserialize, Serialize};

use crate::doctor::referred;
use crate::failpoint::failpoint;
use crate::failure::{Failure, NodeError, io};
use crate::home::Node;
use crate::neighbours::{Memory, MirrorCounts};
use crate::progress::Progress;
use crate::publish::reason_in_words;
use crate::settings::Settings;

/// Stream of mirrors.
pub(crate) const MIRRORS: &str = "mirrors";
const MANIFEST: &str = "manifest.json";
/// Where a folder that is fetched into keeps what is not whole yet.
const PARTS: &str = ".acequia-parts";

/// What happened to a mirror.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum MirrorEntry {
    /// It is served here since.
    Mirrored(Box<MirrorRecord>),
    /// It is not served any more there, so neither here.
    TakenDown { manifest: Digest, at: Timestamp, reason: String, successor: Option<String> },
    /// It is not to be mirrored any more.
    Stopped { manifest: Digest },
    /// Its files are no blobs any more.
    Removed { manifest: Digest },
}

/// All that is needed to serve a mirror and to check it, also when its origin is gone.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MirrorRecord {
    artefact: Artefact,
    dataset: DatasetName,
    version: String,
    manifest: Digest,
    seal: ExitSeal,
    published_at: Timestamp,
    /// Whose: name in the network, name for people, address of pages, key.
    member: String,
    by: String,
    web: Option<String>,
    key: MemberKey,
    /// The member's gate, and its word that it is the member's.
    gate: String,
    said: String,
    /// Every file but the manifest: address and bytes.
    files: Vec<(Digest, u64)>,
}

/// A mirror as it stands.
pub(crate) struct Mirror {
    record: MirrorRecord,
    pub(crate) dataset: DatasetName,
    pub(crate) version: String,
    pub(crate) manifest: Digest,
    /// Since when.
    pub(crate) at: Timestamp,
    pub(crate) files: Vec<(Digest, u64)>,
    pub(crate) down: Option<TakenDownThere>,
    pub(crate) stopped: bool,
    pub(crate) removed: bool,
}

impl Mirror {
    pub(crate) fn is_served(&self) -> bool {
        self.down.is_none() && !self.stopped
    }

    /// Blobs without which it cannot be shown; files of one that was taken down are not shown.
    pub(crate) fn needs(&self) -> Vec<Digest> {
        let files = self.files.iter().map(|(sha256, _)| *sha256).filter(|_| self.is_served());
        (!self.stopped).then_some(self.manifest).into_iter().chain(files).collect()
    }
}

/// Mirrors that have a page: those of names that this node does not publish under itself.
pub(crate) fn shown<'m>(mirrors: &'m [Mirror], releases: &[Release]) -> Vec<&'m Mirror> {
    let own: BTreeSet<&DatasetName> = releases.iter().map(|release| &release.dataset).collect();
    mirrors.iter().filter(|mirror| !mirror.stopped && !own.contains(&mirror.dataset)).collect()
}

/// What was fetched.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FetchReport {
    /// `namespace/name`.
    pub dataset: String,
    /// Version.
    pub version: String,
    /// Digest of its manifest.
    pub manifest: String,
    /// Who published it.
    pub published_by: String,
    /// Files, the manifest among them: the sum of the two that follow.
    pub files: u64,
    /// There already, and whole.
    pub present: u64,
    /// Fetched now.
    pub fetched: u64,
    /// Bytes that came now.
    pub bytes: u64,
    /// Bytes of files that were there in part.
    pub resumed_bytes: u64,
    /// Who gave them.
    pub from: BTreeSet<String>,
    /// Who gave other bytes, which were thrown away.
    pub liars: BTreeSet<String>,
}

impl FetchReport {
    fn of(known: &KnownVersion, member: &Member) -> Self {
        Self {
            dataset: known.dataset.to_string(),
            version: known.version.clone(),
            manifest: known.manifest.to_string(),
            published_by: member.name.clone(),
            ..Self::default()
        }
    }

    fn add(&mut self, fetched: Fetched) {
        self.fetched += 1;
        self.bytes += fetched.bytes;
        self.resumed_bytes += fetched.resumed_bytes;
        self.from.extend(fetched.from);
        self.liars.extend(fetched.liars);
    }
}

/// What became of a mirror.
#[derive(Debug, Clone, Serialize)]
pub struct MirrorReport {
    /// Whether it is mirrored since now.
    pub new: bool,
    /// What was fetched for it.
    #[serde(flatten)]
    pub fetched: FetchReport,
}

/// A version that a neighbour publishes.
struct Found {
    member: Member,
    memory: Memory,
    known: KnownVersion,
}

impl Node {
    /// Every mirror, in the order in which they were made; one that was ended and made again is another.
    pub(crate) async fn mirrors(&self) -> Result<Vec<Mirror>, Failure> {
        folded(self.store.entries(MIRRORS).await?)
    }

    /// The manifest of a mirror, checked with its origin's gate.
    pub(crate) fn mirrored_manifest(&self, mirror: &Mirror) -> Result<Outbound<Manifest>, Failure> {
        let record = &mirror.record;
        let gate = OriginGate::of_member(&record.gate, record.key.as_bytes(), &record.said);
        let gate = gate.ok_or_else(|| acequia_gate::GateError::Seal { dataset: mirror.dataset.to_string() })?;
        let known = KnownVersion {
            artefact: record.artefact,
            dataset: mirror.dataset.clone(),
            version: mirror.version.clone(),
            manifest: mirror.manifest,
            seal: record.seal.clone(),
            published_at: record.published_at,
            taken_down: None,
        };
        Ok(check_manifest(&known, &gate, &self.blobs.get(&mirror.manifest)?)?)
    }

    /// A mirror as the hub shows it.
    pub(crate) fn mirrored_version(&self, mirror: &Mirror) -> Result<PublishedVersion, Failure> {
        let record = &mirror.record;
        let manifest = self.mirrored_manifest(mirror)?;
        let gate = OriginGate::of_member(&record.gate, record.key.as_bytes(), &record.said);
        let gate = gate.ok_or_else(|| acequia_gate::GateError::Seal { dataset: mirror.dataset.to_string() })?;
        let version = PublishedVersion::new(manifest, record.published_at)
            .with_seal(&record.seal, gate.verifier())
            .mirrored(Mirrored { by: record.by.clone(), web: record.web.clone(), at: mirror.at });
        Ok(match &mirror.down {
            Some(down) => version.taken_down(TakenDownVersion {
                at: down.at,
                // A later version of the program may know other reasons.
                reason: TakenDown::parse(&down.reason).map_or("Its publisher took it down.", reason_in_words),
                successor: down.successor.clone(),
            }),
            None => version,
        })
    }

    /// Manifest and files of a version that is mirrored; its newest without a number.
    pub(crate) async fn mirrored_files(
        &self,
        dataset: &DatasetName,
        version: Option<&str>,
    ) -> Result<Option<(Outbound<Manifest>, Vec<(String, Digest)>)>, Failure> {
        let mirrors = self.mirrors().await?;
        let named = |mirror: &&Mirror| {
            mirror.is_served()
                && mirror.dataset == *dataset
                && version.is_none_or(|version| mirror.version == version.trim_start_matches('v'))
        };
        let newest = mirrors.iter().filter(named).max_by_key(|mirror| mirror.record.published_at);
        newest
            .map(|mirror| {
                let manifest = self.mirrored_manifest(mirror)?;
                let files = manifest.get().files.iter().map(|file| (file.path.clone(), file.sha256));
                let files = files.chain([(MANIFEST.to_owned(), mirror.manifest)]).collect();
                Ok((manifest, files))
            })
            .transpose()
    }

    /// A version that a neighbour publishes: the newest that is served without a number. `from` decides between neighbours who publish
    /// different things under one name.
    async fn find_known(
        &self,
        roster: &Roster,
        dataset: &DatasetName,
        version: Option<&str>,
        from: Option<&str>,
    ) -> Result<Found, Failure> {
        let mut found: Vec<Found> = Vec::new();
        for member in self.others(roster)? {
            let memory = self.memory_of(member).await?;
            let known = match version {
                Some(version) => memory.heard.version(dataset, version.trim_start_matches('v')),
                None => {
                    let served = |known: &&KnownVersion| known.dataset == *dataset && known.taken_down.is_none();
                    memory.heard.versions().iter().filter(served).max_by_key(|known| known.published_at)
                }
            };
            if let Some(known) = known.cloned() {
                found.push(Found { member: member.clone(), memory, known });
            }
        }
        if found.len() > 1 && found.iter().any(|one| Some(one.member.name.as_str()) == from) {
            found.retain(|one| Some(one.member.name.as_str()) == from);
        }
        let found_first = found.pop().ok_or(NodeError::NotFound { what: "version of a neighbour" })?;
        if found.iter().any(|one| one.known.manifest != found_first.known.manifest) {
            let (dataset, member) = (dataset.to_string(), found_first.member.name);
            let reason = "another neighbour publishes something else under this name";
            return Err(NodeError::NotMirrored { dataset, member, reason }.into());
        }
        if let Some(down) = &found_first.known.taken_down {
            let (dataset, version) = (dataset.to_string(), found_first.known.version.clone());
            return Err(NodeError::TakenDown { dataset, version, successor: down.successor.clone() }.into());
        }
        Ok(found_first)
    }

    /// Whom to ask for files, in this order: `from` only, or whoever published them, then all others who hand out files.
    fn whom_to_ask<'r>(
        &self,
        roster: &'r Roster,
        origin: &str,
        from: Option<&str>,
    ) -> Result<Vec<&'r Member>, Failure> {
        let mut others = self.others(roster)?;
        if let Some(from) = from {
            others.retain(|member| member.name == from);
            let role = "another member that hands out files";
            if others.is_empty() {
                return Err(NetError::NotAMember { who: from.to_owned(), role }.into());
            }
        }
        others.sort_by_key(|member| member.name != origin);
        Ok(others)
    }

    /// The manifest of a neighbour's version: as it is kept here, or fetched now.
    async fn known_manifest(
        &self,
        client: &CatalogueClient,
        found: &Found,
        members: &[&Member],
    ) -> Result<(Outbound<Manifest>, Vec<u8>), Failure> {
        let gate = found.memory.heard.gate().ok_or(NodeError::NotFound { what: "version of a neighbour" })?;
        if let Some(bytes) = self.blobs.get(&found.known.manifest).ok().map(|bytes| bytes.to_vec()) {
            return Ok((check_manifest(&found.known, gate, &bytes)?, bytes));
        }
        let mut asked = Vec::new();
        for member in members {
            match client.small(member, &found.known.manifest, MANIFEST_BYTES_MAX).await {
                Ok(bytes) => return Ok((check_manifest(&found.known, gate, &bytes)?, bytes)),
                Err(error) => asked.push(error.to_string()),
            }
        }
        Err(NetError::NotHad { what: "the manifest".to_owned(), asked: asked.join("; ") }.into())
    }

    /// Fetches a version that a neighbour publishes into a folder, each file checked against its content address before it has its
    /// name, and `manifest.json` last, but for the seal of its gate. What is there is not fetched again, and what is there in part is continued.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::TakenDown`], [`NodeError::NotMirrored`]; errors of the network.
    pub async fn fetch_version(
        &self,
        dataset: &DatasetName,
        version: Option<&str>,
        from: Option<&str>,
        into: &Path,
        progress: &dyn Progress,
    ) -> Result<FetchReport, Failure> {
        let roster = self.believed_roster()?;
        let found = self.find_known(&roster, dataset, version, from).await?;
        let members = self.whom_to_ask(&roster, &found.member.name, from)?;
        let client = self.client(&roster).await?;
        let fetched = async {
            let (manifest, bytes) = self.known_manifest(&client, &found, &members).await?;
            let mut report = FetchReport::of(&found.known, &found.member);
            let parts = into.join(PARTS);
            let place = |file: &ReleasedFile| (parts.join(file.sha256.to_string()), into.join(&file.path));
            fetch_files(&client, &members, &manifest.get().files, &place, &mut report, progress).await?;
            let there = std::fs::read(into.join(MANIFEST)).is_ok_and(|there| there == bytes);
            if !there {
                acequia_blobs::write_file_atomically(&into.join(MANIFEST), &bytes)?;
            }
            // Beside the version, so that whoever gets the copy can check whose it is.
            if let Some(gate) = found.memory.heard.gate() {
                let key = gate.verifier().to_hex();
                let seal = SealFile::new(found.known.manifest, &found.known.seal, &key).to_bytes();
                if !std::fs::read(into.join(SEAL_FILE)).is_ok_and(|there| there == seal) {
                    acequia_blobs::write_file_atomically(&into.join(SEAL_FILE), &seal)?;
                }
            }
            let _ = std::fs::remove_dir(&parts);
            report.files += 1;
            *(if there { &mut report.present } else { &mut report.fetched }) += 1;
            Ok(report)
        };
        let fetched = fetched.await;
        client.close().await;
        fetched
    }

    fn incoming(&self) -> PathBuf {
        self.member_folder().catalogue().join("incoming")
    }

    /// Removes what was fetched and never became a mirror.
    pub(crate) fn sweep_fetched(&self) -> Result<(), Failure> {
        match std::fs::remove_dir_all(self.incoming()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io("what was fetched from neighbours", "removed")(error).into())
            }
            _ => Ok(()),
        }
    }

    /// Mirrors a version that a neighbour publishes.
    ///
    /// # Errors
    /// As of [`Node::fetch_version`]; [`NodeError::Quota`]; [`NodeError::Busy`] when another command changes the node, after which
    /// nothing is fetched twice.
    pub async fn mirror(
        &self,
        dataset: &DatasetName,
        version: Option<&str>,
        from: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<MirrorReport, Failure> {
        let roster = self.believed_roster()?;
        let found = self.find_known(&roster, dataset, version, from).await?;
        let client = self.client(&roster).await?;
        let mirrored = self.mirror_found(&roster, &client, &found, from, progress).await;
        client.close().await;
        mirrored
    }

    async fn mirror_found(
        &self,
        roster: &Roster,
        client: &CatalogueClient,
        found: &Found,
        from: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<MirrorReport, Failure> {
        let Found { member, memory, known } = found;
        let mut report = FetchReport::of(known, member);
        let bound = memory.heard.bound().ok_or(NodeError::NotFound { what: "version of a neighbour" })?;
        let releases = self.store.releases().await?;
        if may_mirror(known, member, bound.0, &releases, &self.mirrors().await?)? {
            return Ok(MirrorReport { new: false, fetched: report });
        }
        let members = self.whom_to_ask(roster, &member.name, from)?;
        let (manifest, bytes) = self.known_manifest(client, found, &members).await?;
        let files = &manifest.get().files;
        let sizes: BTreeMap<Digest, u64> = files.iter().map(|file| (file.sha256, file.bytes)).collect();
        let needed = sizes.values().fold(bytes.len() as u64, |sum, bytes| sum.saturating_add(*bytes));
        let free = self.free_bytes().await?;
        if needed > free {
            let version = format!("{} {}", known.dataset, known.version);
            return Err(NodeError::Quota { version, needed_mb: needed.div_ceil(1 << 20), free_mb: free >> 20 }.into());
        }
        let incoming = self.incoming();
        let place = |file: &ReleasedFile| {
            (incoming.join(format!("{}.part", file.sha256)), incoming.join(file.sha256.to_string()))
        };
        fetch_files(client, &members, files, &place, &mut report, progress).await?;
        failpoint("mirror.fetched");

        let lock = self.lock()?;
        for file in files {
            let mapped = acequia_blobs::map_file(&place(file).1, "a fetched file")?;
            if ReleasedFile::of(&file.path, mapped.as_ref()) != *file {
                let version = format!("{} {}", known.dataset, known.version);
                return Err(NetError::Manifest { version, reason: "it states another git id than a file has" }.into());
            }
            self.blobs.put(mapped.as_ref())?;
        }
        self.blobs.put(&bytes)?;
        failpoint("mirror.stored");
        let record = MirrorRecord {
            artefact: known.artefact,
            dataset: known.dataset.clone(),
            version: known.version.clone(),
            manifest: known.manifest,
            seal: known.seal.clone(),
            published_at: known.published_at,
            member: member.name.clone(),
            by: member.title.clone().unwrap_or_else(|| member.name.clone()),
            web: member.web.clone(),
            key: member.key,
            gate: bound.0.to_owned(),
            said: bound.1.to_owned(),
            files: sizes.into_iter().collect(),
        };
        // What was taken down meanwhile is not mirrored.
        let now = self.memory_of(member).await?;
        if let Some(down) = now.heard.version(&known.dataset, &known.version).and_then(|now| now.taken_down.clone()) {
            let (dataset, version) = (known.dataset.to_string(), known.version.clone());
            return Err(NodeError::TakenDown { dataset, version, successor: down.successor }.into());
        }
        let releases = self.store.releases().await?;
        let entry = MirrorEntry::Mirrored(Box::new(record));
        let mut new = false;
        let decide = |present: &[acequia_store::Entry]| -> Result<Vec<serde_json::Value>, Failure> {
            new = !may_mirror(known, member, bound.0, &releases, &folded(present.to_vec())?)?;
            Ok(if new { vec![value(&entry)?] } else { Vec::new() })
        };
        self.store.append_entries(MIRRORS, self.clock.now(), decide).await?;
        failpoint("mirror.recorded");
        drop(lock);
        for file in files {
            // What is left is fetched again, or swept.
            let _ = std::fs::remove_file(place(file).1);
        }
        report.files += 1;
        report.present += 1;
        Ok(MirrorReport { new, fetched: report })
    }

    /// Ends a mirror: it is not served here any more, and its files are removed. Returns whether it was mirrored until now.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub async fn stop_mirror(&self, dataset: &DatasetName, version: &str) -> Result<bool, Failure> {
        let mirrors = self.mirrors().await?;
        let version = version.trim_start_matches('v');
        let mut named = mirrors.iter().rev().filter(|mirror| mirror.dataset == *dataset && mirror.version == version);
        let mirror = named.next().ok_or(NodeError::NotFound { what: "mirrored version" })?;
        if mirror.stopped {
            return Ok(false);
        }
        let entry = value(&MirrorEntry::Stopped { manifest: mirror.manifest })?;
        self.store.append_entries(MIRRORS, self.clock.now(), |_| Ok::<_, Failure>(vec![entry])).await?;
        self.remove_files().await?;
        Ok(true)
    }

    /// Removes the files of mirrors that are not served any more, but for what something else needs.
    async fn remove_files(&self) -> Result<(), Failure> {
        let gone = |mirror: &Mirror| !mirror.is_served() && !mirror.removed;
        if !self.mirrors().await?.iter().any(gone) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mirrors = self.mirrors().await?;
        let (donations, steps) = (self.store.donations().await?, self.store.steps().await?);
        let mut needed = referred(&donations, &steps, &self.store.releases().await?);
        needed.extend(mirrors.iter().flat_map(Mirror::needs));
        needed.extend(self.manifests_of_neighbours().await?);
        for mirror in mirrors.iter().filter(|mirror| gone(mirror)) {
            for (sha256, _) in mirror.files.iter().filter(|(sha256, _)| !needed.contains(sha256)) {
                self.blobs.remove(sha256)?;
            }
            let entry = value(&MirrorEntry::Removed { manifest: mirror.manifest })?;
            self.store.append_entries(MIRRORS, self.clock.now(), |_| Ok::<_, Failure>(vec![entry])).await?;
        }
        Ok(())
    }

    /// Takes mirrors down whose origin took them down, removes their files, and mirrors what the settings name.
    pub(crate) async fn sync_mirrors(
        &self,
        roster: &Arc<Roster>,
        client: &CatalogueClient,
        progress: &dyn Progress,
    ) -> Result<MirrorCounts, Failure> {
        let mut counts = MirrorCounts::default();
        let mut memories = Vec::new();
        for member in self.others(roster)? {
            memories.push((member.clone(), self.memory_of(member).await?));
        }
        // Before anything else: who withdrew there is not handed out here.
        for mirror in self.mirrors().await?.iter().filter(|mirror| mirror.down.is_none()) {
            let down = memories.iter().find_map(|(_, memory)| {
                let of_gate = memory.heard.bound().is_some_and(|(gate, _)| gate == mirror.record.gate);
                let known = memory.heard.version(&mirror.dataset, &mirror.version).filter(|_| of_gate)?;
                known.taken_down.clone().filter(|_| known.manifest == mirror.manifest)
            });
            let Some(down) = down else { continue };
            let TakenDownThere { at, reason, successor } = down;
            let (manifest, was_served) = (mirror.manifest, mirror.is_served());
            let entry = value(&MirrorEntry::TakenDown { manifest, at, reason, successor })?;
            self.store.append_entries(MIRRORS, self.clock.now(), |_| Ok::<_, Failure>(vec![entry])).await?;
            counts.taken_down += u64::from(was_served);
        }
        if let Err(failure) = self.remove_files().await {
            // Nothing is handed out in any case; it is tried again at the next turn.
            tracing::warn!(code = %failure.code, "files of mirrors that are not served stay for now: {}", failure.message);
        }
        let settings = Settings::read(&self.home)?;
        for (member, memory) in &memories {
            let wanted = |known: &&KnownVersion| {
                let named = |name: &String| {
                    let (dataset, version) = name.split_once('@').map_or((name.as_str(), None), |(d, v)| (d, Some(v)));
                    known.dataset.to_string() == dataset
                        && version.is_none_or(|version| known.version == version.trim_start_matches('v'))
                };
                known.taken_down.is_none() && settings.network().mirror.iter().any(named)
            };
            for known in memory.heard.versions().iter().filter(wanted) {
                counts.wanted += 1;
                let found =
                    Found { member: member.clone(), memory: self.memory_of(member).await?, known: known.clone() };
                match self.mirror_found(roster, client, &found, None, progress).await {
                    Ok(report) if report.new => counts.mirrored += 1,
                    Ok(_) => counts.already += 1,
                    Err(failure) => {
                        tracing::warn!(code = %failure.code, dataset = %known.dataset, version = %known.version, "not mirrored: {}", failure.message);
                        counts.failed += 1;
                        counts.problems.push(failure);
                    }
                }
            }
        }
        Ok(counts)
    }
}

/// Whether a version is mirrored already; an error where it must not be.
fn may_mirror(
    known: &KnownVersion,
    member: &Member,
    gate: &str,
    releases: &[Release],
    mirrors: &[Mirror],
) -> Result<bool, NodeError> {
    let (dataset, name) = (known.dataset.to_string(), member.name.clone());
    let refuse = |reason| Err(NodeError::NotMirrored { dataset: dataset.clone(), member: name.clone(), reason });
    if releases.iter().any(|release| release.dataset == known.dataset) {
        return refuse("this node publishes under this name itself");
    }
    for mirror in mirrors.iter().filter(|mirror| mirror.dataset == known.dataset) {
        if let Some(down) = mirror.down.as_ref().filter(|_| mirror.manifest == known.manifest) {
            let (version, successor) = (known.version.clone(), down.successor.clone());
            return Err(NodeError::TakenDown { dataset, version, successor });
        }
        if mirror.stopped {
            continue;
        }
        if mirror.record.gate != gate {
            return refuse("a version of another neighbour is mirrored under this name");
        }
        if mirror.manifest == known.manifest {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Mirrors as the stream tells them.
fn folded(entries: Vec<acequia_store::Entry>) -> Result<Vec<Mirror>, Failure> {
    let mut mirrors: Vec<Mirror> = Vec::new();
    for entry in entries {
        let at = entry.at;
        let entry = serde_json::from_value(entry.entry).map_err(unreadable)?;
        let mut change = |manifest: Digest, change: &dyn Fn(&mut Mirror)| {
            mirrors.iter_mut().filter(|mirror| mirror.manifest == manifest).for_each(change);
        };
        match entry {
            MirrorEntry::Mirrored(mut record) => mirrors.push(Mirror {
                dataset: record.dataset.clone(),
                version: record.version.clone(),
                manifest: record.manifest,
                at,
                files: std::mem::take(&mut record.files),
                record: *record,
                down: None,
                stopped: false,
                removed: false,
            }),
            MirrorEntry::TakenDown { manifest, at, reason, successor } => {
                let down = TakenDownThere { at, reason, successor };
                change(manifest, &|mirror| mirror.down = Some(down.clone()));
            }
            MirrorEntry::Stopped { manifest } => change(manifest, &|mirror| mirror.stopped = true),
            MirrorEntry::Removed { manifest } => change(manifest, &|mirror| mirror.removed |= !mirror.is_served()),
        }
    }
    Ok(mirrors)
}

fn value(entry: &MirrorEntry) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(entry).map_err(unreadable)
}

fn unreadable(_: serde_json::Error) -> Failure {
    let kind = std::io::ErrorKind::InvalidData;
    NodeError::Io { what: "a record of a mirror".to_owned(), doing: "read", kind }.into()
}

/// Fetches the files that are not there yet. `place` says where a file goes, and where before it is whole.
async fn fetch_files(
    client: &CatalogueClient,
    members: &[&Member],
    files: &[ReleasedFile],
    place: &(dyn Fn(&ReleasedFile) -> (PathBuf, PathBuf) + Sync),
    report: &mut FetchReport,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
    progress.start("fetch", total);
    for file in files {
        report.files += 1;
        let (part, target) = place(file);
        if is_there(&target, file) {
            report.present += 1;
            progress.advance(file.bytes);
            continue;
        }
        let on_piece = |bytes: u64| {
            progress.advance(bytes);
            failpoint("catalogue.piece");
        };
        report.add(client.fetch(members, (&file.sha256, file.bytes), &part, &target, &on_piece).await?);
    }
    progress.finish(&format!("{} of {} files", report.fetched, report.files));
    Ok(())
}

/// Whether a file is there, and whole.
fn is_there(path: &Path, file: &ReleasedFile) -> bool {
    let is_long = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == file.bytes);
    is_long
        && std::fs::File::open(path).is_ok_and(|mut open| {
            let mut hash = DigestWriter::default();
            std::io::copy(&mut open, &mut hash).is_ok() && hash.finish() == file.sha256
        })
}
