//! What is published: reading it back, checking it, handing it to the hub, writing it to a folder.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use acequia_blobs::{BlobError, BlobStore};
use acequia_custody::{Approval, History, Purpose, Tier};
use acequia_gate::{ExitSeal, Manifest, Outbound, Parcel, SEAL_FILE, SealFile, readmit, seal};
use acequia_hub::{Catalogue, HubError, Neighbour, Operator, PublishedVersion, Shelf, TakenDownVersion};
use acequia_net::{CatalogueSource, Offered};
use acequia_release::Verification;
use acequia_store::{Publication, Published, Release, TakenDown, Tombstone};
use acequia_types::{Coded, DatasetName, Digest, DonorId, Exit, Timestamp};
use acequia_vault::SUBJECTS;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::failpoint::failpoint;
use crate::failure::{Failure, NodeError, io};
use crate::home::Node;
use crate::mirror::{Mirror, shown};
use crate::pipeline::file_digest;
use crate::settings::Settings;

/// Longest plan that is read back: of a file of 50 GB whose chunks are all the shortest.
const LONGEST_PLAN_BYTES: u64 = 128 << 20;

/// That a version was taken down, and when.
pub(crate) type Stone = (Timestamp, Tombstone);

/// One published version.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseLine {
    /// `namespace/name`.
    pub dataset: String,
    /// Version.
    pub version: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// When it came out.
    pub published_at: String,
    /// Why it is not served any more, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_down: Option<TakenDown>,
    /// The version in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

impl Node {
    /// Everything published, oldest first.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn published(&self) -> Result<Vec<ReleaseLine>, Failure> {
        let stones = self.store.tombstones().await?;
        let line = |release: Release| {
            let stone = stones.iter().find(|(_, stone)| stone.is_of(&release.dataset, &release.version));
            ReleaseLine {
                dataset: release.dataset.to_string(),
                version: release.version,
                manifest: release.manifest,
                published_at: release.published_at.to_string(),
                taken_down: stone.map(|(_, stone)| stone.reason),
                successor: stone.and_then(|(_, stone)| stone.successor.clone()),
            }
        };
        Ok(self.store.releases().await?.into_iter().map(line).collect())
    }

    /// Lets a version's manifest back in through the gate, which checks the exit seal.
    pub(crate) fn manifest(&self, release: &Release) -> Result<Outbound<Manifest>, Failure> {
        let bytes = self.blobs.get(&file_digest(release, "manifest.json")?)?;
        let seal = ExitSeal::from_text(release.seal.clone());
        Ok(readmit(&bytes, &seal, &self.gate_key().verifier())?)
    }

    /// Puts a version out, whatever it holds: seals it, stores its bytes and who is in it, and assigns the version. `earlier` are the
    /// versions of the same name, `detail` the node's own notes.
    ///
    /// Consent is asked again by `approve` inside the transaction that assigns the version: a donor who withdrew while the work
    /// was being done stops it here. Earlier versions with people in them who have left give way in the same transaction.
    ///
    /// # Errors
    /// What `approve` returns; errors of the store, the vault and the blobs.
    pub(crate) async fn put_out(
        &self,
        parcel: &Outbound<Parcel>,
        donors: &BTreeSet<DonorId>,
        purpose: Purpose,
        earlier: &[Release],
        mut detail: Value,
        approve: impl Fn(&BTreeMap<DonorId, History>) -> Result<Approval, Failure>,
    ) -> Result<Published, Failure> {
        let exit_seal = seal(parcel, &self.gate_key());
        let mut files = Vec::with_capacity(parcel.get().files.len());
        for (path, content) in &parcel.get().files {
            files.push((path.clone(), self.blobs.put(content)?));
        }
        let manifest = &parcel.get().manifest;
        let names = self.store.subjects().await?;
        let subjects = donors.iter().filter_map(|donor| names.get(donor).cloned()).collect();
        detail[SUBJECTS] = self.vault.seal_subjects(&subjects)?.to_string().into();
        let served = self.served(earlier).await?;
        let donors_by_name: BTreeMap<String, DonorId> = names.into_iter().map(|(donor, name)| (name, donor)).collect();
        failpoint("release.stored");
        let published = self
            .store
            .publish(|consents| -> Result<Publication, Failure> {
                let approval = approve(consents)?;
                if *approval.terms() != manifest.terms {
                    return Err(NodeError::Terms.into());
                }
                let left = |subject: &String| self.has_left(subject, &donors_by_name, consents, purpose);
                let superseded = served
                    .iter()
                    .filter(|(version, subjects)| *version != manifest.version && subjects.iter().any(left))
                    .map(|(version, _)| Tombstone {
                        dataset: manifest.dataset.to_string(),
                        version: version.clone(),
                        reason: TakenDown::Withdrawal,
                        successor: Some(manifest.version.clone()),
                    })
                    .collect();
                let release = Release {
                    dataset: manifest.dataset.clone(),
                    version: manifest.version.clone(),
                    manifest: manifest.digest(),
                    seal: exit_seal.as_str().to_owned(),
                    files,
                    published_at: self.clock.now(),
                    detail,
                };
                Ok(Publication { release, superseded })
            })
            .await?;
        failpoint("release.published");
        Ok(published)
    }

    async fn find(&self, dataset: &DatasetName, version: Option<&str>) -> Result<Release, Failure> {
        let all = self.store.releases().await?;
        let named = |release: &Release| {
            release.dataset == *dataset
                && version.is_none_or(|version| release.version == version.trim_start_matches('v'))
        };
        let newest = all.into_iter().filter(named).max_by_key(|release| release.published_at);
        Ok(newest.ok_or(NodeError::NotFound { what: "published version" })?)
    }

    /// Rechecks a version: exit seal, every byte, every number that can be recounted.
    ///
    /// # Errors
    /// [`NodeError::NotFound`]; a broken seal. Failed checks are in the result.
    pub async fn verify(
        &self,
        dataset: &DatasetName,
        version: Option<&str>,
    ) -> Result<(Manifest, Verification), Failure> {
        let (manifest, listed) = match self.find(dataset, version).await {
            Ok(release) => (self.manifest(&release)?, release.files),
            Err(failure) => self.mirrored_files(dataset, version).await?.ok_or(failure)?,
        };
        let files: BTreeMap<&str, &Digest> = listed.iter().map(|(path, digest)| (path.as_str(), digest)).collect();
        let unusable = RefCell::new(None);
        let read = |path: &str| match self.blobs.get(files.get(path)?) {
            Err(error) if error.is_of_the_store() => {
                unusable.replace(Some(error));
                None
            }
            read => read.ok(),
        };
        let paths = listed.iter().map(|(path, _)| path.clone()).collect();
        let verification = acequia_release::verify_listed(manifest.get(), &paths, read);
        // Nothing is wrong with a version because its bytes cannot be had now.
        match unusable.into_inner() {
            Some(error) => Err(error.into()),
            None => Ok((manifest.get().clone(), verification)),
        }
    }

    /// Writes a version to a folder, each file aside and renamed.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Io`], damaged blobs.
    pub async fn export(&self, dataset: &DatasetName, version: Option<&str>, folder: &Path) -> Result<u64, Failure> {
        let release = self.find(dataset, version).await?;
        self.manifest(&release)?;
        let stones = self.store.tombstones().await?;
        if let Some((_, stone)) = stones.into_iter().find(|(_, stone)| stone.is_of(dataset, &release.version)) {
            let (dataset, version, successor) = (stone.dataset, stone.version, stone.successor);
            return Err(NodeError::TakenDown { dataset, version, successor }.into());
        }
        for (path, digest) in &release.files {
            let target = folder.join(path);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(io("the folder to export to", "written"))?;
            }
            acequia_blobs::write_file_atomically(&target, &self.blobs.get(digest)?)?;
        }
        let seal = SealFile::new(
            release.manifest,
            &ExitSeal::from_text(release.seal.clone()),
            &self.gate_key().verifier().to_hex(),
        );
        acequia_blobs::write_file_atomically(&folder.join(SEAL_FILE), &seal.to_bytes())?;
        Ok(release.files.len() as u64)
    }

    /// Takes a version down without another in its place: its files are not served any more, its page says why, recipients are told.
    /// Returns whether it was served until now.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub async fn take_down(&self, dataset: &DatasetName, version: &str, reason: TakenDown) -> Result<bool, Failure> {
        let _lock = self.lock()?;
        let release = self.find(dataset, Some(version)).await?;
        let stone = Tombstone { dataset: dataset.to_string(), version: release.version, reason, successor: None };
        let new = self.store.take_down(&stone, self.clock.now()).await?;
        self.hand_over_notices().await?;
        Ok(new)
    }

    /// What the hub serves: every version whose exit seal verifies. Others are left out and logged. `donors` is whether those who
    /// gave can sign in beside it.
    ///
    /// # Errors
    /// Errors of the store; two manifests under one version.
    pub async fn catalogue(&self, donors: bool) -> Result<Arc<Shelves>, Failure> {
        let (releases, stones) = (self.store.releases().await?, self.store.tombstones().await?);
        let mirrors = self.mirrors().await?;
        let (shelf, complete) = self.shelf(&releases, &stones, &mirrors, &Shelf::default())?;
        let settings = Settings::read(&self.home)?;
        let of = complete.then(|| listed(&releases, &stones, &mirrors));
        let shelves = Shelves {
            blobs: self.blobs.clone(),
            operator: settings.operator(),
            derived: self.home.join("derived").join("xet"),
            donors,
            shelf: RwLock::new(Arc::new(shelf)),
            of: RwLock::new(of),
            tells: settings.network().catalogue,
            offered: RwLock::default(),
            neighbours: RwLock::default(),
            heard: RwLock::default(),
        };
        if !self.offer(&shelves, &releases, &stones, &mirrors).await
            && let Ok(mut of) = shelves.of.write()
        {
            *of = None;
        }
        self.hear_or_say(&shelves).await;
        Ok(Arc::new(shelves))
    }

    /// What members are told and given, if this node tells them. Says whether that is known now: if not, they are told what they
    /// were told before, and given what of it is still served.
    async fn offer(&self, shelves: &Shelves, releases: &[Release], stones: &[Stone], mirrors: &[Mirror]) -> bool {
        if !shelves.tells {
            return true;
        }
        let mut offered = self.offered(releases, stones, mirrors).await;
        if matches!(&offered, Err(failure) if failure.exit == Exit::Temporary) {
            // Another process that serves this node put the same on record at the same instant.
            offered = self.offered(releases, stones, mirrors).await;
        }
        match offered {
            Ok(offered) => {
                if let Ok(mut current) = shelves.offered.write() {
                    *current = Arc::new(offered);
                }
                true
            }
            Err(failure) => {
                tracing::error!(code = %failure.code, "members are told nothing new for now: {}", failure.message);
                false
            }
        }
    }

    /// What is known of neighbours must keep nothing of this node's own from being served, nor from being taken down.
    async fn hear_or_say(&self, shelves: &Shelves) {
        if let Err(failure) = self.hear(shelves).await {
            tracing::warn!(code = %failure.code, "what neighbours publish cannot be listed: {}", failure.message);
        }
    }

    /// What neighbours publish, if anything of it changed.
    async fn hear(&self, shelves: &Shelves) -> Result<(), Failure> {
        let now = self.heard_so_far().await?;
        if shelves.heard.read().is_ok_and(|heard| *heard == Some(now)) {
            return Ok(());
        }
        let neighbours = self.neighbours().await?;
        if let (Ok(mut current), Ok(mut heard)) = (shelves.neighbours.write(), shelves.heard.write()) {
            (*current, *heard) = (Arc::new(neighbours), Some(now));
        }
        Ok(())
    }

    /// What can be served of `releases`, and whether that is all of them. Versions that stand on the shelf before are
    /// not read again.
    fn shelf(
        &self,
        releases: &[Release],
        stones: &[Stone],
        mirrors: &[Mirror],
        before: &Shelf,
    ) -> Result<(Shelf, bool), Failure> {
        let standing: BTreeMap<Digest, &Arc<PublishedVersion>> =
            before.served().map(|version| (version.digest(), version)).collect();
        let mut versions = Vec::with_capacity(releases.len());
        let mut in_reach = true;
        for release in releases {
            let stone = stones.iter().find(|(_, stone)| stone.is_of(&release.dataset, &release.version));
            if stone.is_none()
                && let Some(version) = standing.get(&release.manifest)
            {
                versions.push(Arc::clone(version));
                continue;
            }
            // Where blobs are out of reach, asking for each would keep what is standing from being served.
            if !in_reach {
                continue;
            }
            let seal = ExitSeal::from_text(release.seal.clone());
            match self.manifest(release) {
                Ok(manifest) => {
                    let version = PublishedVersion::new(manifest, release.published_at);
                    let version = version.with_seal(&seal, &self.gate_key().verifier());
                    let version = match stone {
                        Some((at, stone)) => version.taken_down(TakenDownVersion {
                            at: *at,
                            reason: reason_in_words(stone.reason),
                            successor: stone.successor.clone(),
                        }),
                        None => version,
                    };
                    versions.push(Arc::new(version));
                }
                // One damaged version must not take the others off the shelf; `doctor` tells the same.
                Err(failure) => {
                    in_reach = failure.exit != Exit::Temporary;
                    let (dataset, version) = (&release.dataset, &release.version);
                    tracing::error!(code = %failure.code, %dataset, %version, "not served: {}", failure.message);
                }
            }
        }
        let mirrored = shown(mirrors, releases);
        for mirror in &mirrored {
            if mirror.down.is_none()
                && let Some(version) = standing.get(&mirror.manifest)
            {
                versions.push(Arc::clone(version));
                continue;
            }
            if !in_reach {
                continue;
            }
            match self.mirrored_version(mirror) {
                Ok(version) => versions.push(Arc::new(version)),
                Err(failure) => {
                    in_reach = failure.exit != Exit::Temporary;
                    let (dataset, version) = (&mirror.dataset, &mirror.version);
                    tracing::error!(code = %failure.code, %dataset, %version, "not mirrored: {}", failure.message);
                }
            }
        }
        let complete = versions.len() == releases.len() + mirrored.len();
        Ok((Shelf::of(versions)?, complete))
    }

    /// Takes up versions published since, while serving.
    ///
    /// # Errors
    /// As [`Node::catalogue`]; the shelf then stays as it was.
    pub async fn refresh(&self, shelves: &Shelves) -> Result<(), Failure> {
        self.hear_or_say(shelves).await;
        let (releases, stones) = (self.store.releases().await?, self.store.tombstones().await?);
        let mirrors = self.mirrors().await?;
        let now = listed(&releases, &stones, &mirrors);
        if shelves.of.read().is_ok_and(|of| *of == Some(now)) {
            return Ok(());
        }
        let (shelf, complete) = self.shelf(&releases, &stones, &mirrors, &shelves.shelf())?;
        if let Ok(mut current) = shelves.shelf.write() {
            *current = Arc::new(shelf);
        }
        let offered = self.offer(shelves, &releases, &stones, &mirrors).await;
        if let Ok(mut of) = shelves.of.write() {
            // What could not be served or told is tried again next time.
            *of = (complete && offered).then_some(now);
        }
        Ok(())
    }
}

/// What the page of a version says that is not served any more. It names a class of reasons, never a person's.
pub(crate) fn reason_in_words(reason: TakenDown) -> &'static str {
    match reason {
        TakenDown::Withdrawal => "People whose data were in it withdrew.",
        TakenDown::Safety => "Its protection turned out to be too weak.",
        TakenDown::Law => "A law or a court demands it.",
        TakenDown::Error => "It holds errors.",
    }
}

/// Tells lists of releases, of those taken down, and of mirrors apart.
fn listed(releases: &[Release], stones: &[Stone], mirrors: &[Mirror]) -> Digest {
    let line = |release: &Release| format!("{} {} {}\n", release.dataset, release.version, release.manifest);
    let down = |(at, stone): &Stone| {
        let next = stone.successor.as_deref().unwrap_or_default();
        format!("{at} {} {} {} {next}\n", stone.dataset, stone.version, stone.reason.as_str())
    };
    let mirrored =
        |mirror: &Mirror| format!("{} {} {} {}\n", mirror.manifest, mirror.at, mirror.down.is_some(), mirror.stopped);
    let lines = releases.iter().map(line).chain(stones.iter().map(down)).chain(mirrors.iter().map(mirrored));
    Digest::of(lines.collect::<String>().as_bytes())
}

/// Rechecks a downloaded version in a folder. The exit seal is among the checks where it lies there, too, as `seal.json`, and where
/// the public key of a gate (64 hex digits) is given, whose it then must be.
///
/// # Errors
/// When there is no readable `manifest.json`.
pub fn verify_folder(folder: &Path, key: Option<&str>) -> Result<(Manifest, Verification), Failure> {
    const LARGEST_FILE_BYTES: u64 = 4 * 1024 * 1024 * 1024;
    let bytes = acequia_blobs::read_file(&folder.join("manifest.json"), "manifest.json", LARGEST_FILE_BYTES)?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|source| acequia_gate::GateError::Manifest { source })?;
    let read = |path: &str| -> Option<Bytes> {
        let plain = !path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != "..");
        plain.then(|| std::fs::read(folder.join(path)).ok().map(Bytes::from)).flatten()
    };
    let mut verification = acequia_release::verify(&manifest, read);
    let present = folder.join(SEAL_FILE).exists();
    if present || key.is_some() {
        const LARGEST_SEAL_BYTES: u64 = 64 * 1024;
        let sealed = acequia_blobs::read_file(&folder.join(SEAL_FILE), SEAL_FILE, LARGEST_SEAL_BYTES).ok();
        let sealed = sealed.and_then(|bytes| serde_json::from_slice::<SealFile>(&bytes).ok());
        let digest = Digest::of(&bytes);
        let wanted = |seal: &SealFile| key.is_none_or(|key| seal.key.eq_ignore_ascii_case(key));
        let outcome = match sealed {
            None if present => Err(format!("{SEAL_FILE} cannot be read")),
            None => Err(format!("there is no {SEAL_FILE}; it is beside the version where it is served")),
            Some(seal) if !seal.holds(&digest) => Err("the seal is not that of its key over this manifest".to_owned()),
            Some(seal) if !wanted(&seal) => {
                Err(format!("sealed with the key {}, not with the one asked for", seal.key))
            }
            Some(seal) => Ok(format!("key {}", seal.key)),
        };
        verification.put("exit seal", outcome);
    }
    Ok((manifest, verification))
}

/// The hub's view of the node: an index and the blobs.
pub struct Shelves {
    blobs: BlobStore,
    operator: Option<Operator>,
    /// What was worked out from published files, and can be again.
    derived: PathBuf,
    /// Whether those who gave can sign in.
    donors: bool,
    shelf: RwLock<Arc<Shelf>>,
    /// The releases that the shelf holds, when it holds all there were.
    of: RwLock<Option<Digest>>,
    /// Whether members are told what is published.
    tells: bool,
    offered: RwLock<Arc<Offered>>,
    neighbours: RwLock<Arc<Vec<Neighbour>>>,
    /// How far neighbours were heard when their versions were listed.
    heard: RwLock<Option<Digest>>,
}

impl CatalogueSource for Shelves {
    fn offered(&self) -> Arc<Offered> {
        self.offered.read().map_or_else(|poisoned| Arc::clone(&poisoned.into_inner()), |offered| Arc::clone(&offered))
    }

    fn read(&self, sha256: &Digest, range: std::ops::Range<u64>) -> Option<Bytes> {
        // Whatever members were told, they get nothing that the hub does not serve at this moment.
        let shelf = Catalogue::shelf(self);
        let holds = |version: &Arc<PublishedVersion>| {
            version.tier() == Tier::Open && version.files().values().any(|file| file.sha256 == *sha256)
        };
        if !shelf.served().any(holds) {
            return None;
        }
        let read = self.blobs.read_range(sha256, range);
        read.inspect_err(|error| tracing::error!(code = error.code(), "not handed out: {error}")).ok()
    }
}

impl Catalogue for Shelves {
    fn shelf(&self) -> Arc<Shelf> {
        self.shelf.read().map_or_else(|poisoned| Arc::clone(&poisoned.into_inner()), |shelf| Arc::clone(&shelf))
    }

    fn operator(&self) -> Option<Operator> {
        self.operator.clone()
    }

    fn neighbours(&self) -> Arc<Vec<Neighbour>> {
        self.neighbours.read().map_or_else(|poisoned| Arc::clone(&poisoned.into_inner()), |all| Arc::clone(&all))
    }

    fn donors_page(&self) -> Option<&'static str> {
        self.donors.then_some("/you")
    }

    fn kept(&self, sha256: &Digest) -> Option<Bytes> {
        let read = acequia_blobs::read_file(&self.derived.join(sha256.to_string()), "a plan", LONGEST_PLAN_BYTES);
        read.ok().map(Bytes::from)
    }

    fn keep(&self, sha256: &Digest, derived: &[u8]) {
        let kept = acequia_blobs::make_private(&self.derived, "the folder of plans")
            .and_then(|()| acequia_blobs::write_file_atomically(&self.derived.join(sha256.to_string()), derived));
        if let Err(error) = kept {
            tracing::warn!(code = error.code(), "a plan is not kept, and will be made again: {error}");
        }
    }

    fn keep_only(&self, wanted: &dyn Fn(&Digest) -> bool) {
        for entry in std::fs::read_dir(&self.derived).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| Digest::parse(name).ok());
            if !digest.is_some_and(|digest| wanted(&digest)) {
                // What cannot be removed now is removed when something is published again.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn read(&self, sha256: &Digest, range: std::ops::Range<u64>) -> Result<Bytes, HubError> {
        self.blobs.read_range(sha256, range).map_err(|error| match error {
            BlobError::Missing { .. } => HubError::Missing { sha256: *sha256 },
            source => HubError::Unreadable { sha256: *sha256, source: Box::new(source) },
        })
    }
}
