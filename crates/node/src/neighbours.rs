//! What other nodes of the network publish: told to this one, kept, and listed; and what this one tells them.
//!
//! What a member told is a stream of the node's records, page by page as it was signed, so that it only grows here, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use acequia_custody::Tier;
use acequia_gate::Artefact;
use acequia_hub::{Neighbour, NeighbourState, NeighbourVersion};
use acequia_net::{
    CatalogueClient, CatalogueDesk, Entry, Heard, Identity, KnownVersion, MANIFEST_BYTES_MAX, Member, MemberFolder,
    NetError, Network, Offered, Page, Roster, check_manifest, listens_at,
};
use acequia_store::Release;
use acequia_types::{Clock, DatasetName, Digest, Exit, Timestamp, digest_named};
use serde::{Deserialize, Serialize};

use crate::failpoint::failpoint;
use crate::failure::{Failure, NodeError, io};
use crate::home::Node;
use crate::mirror::{MIRRORS, Mirror, shown};
use crate::progress::Progress;
use crate::publish::{Shelves, Stone};
use crate::settings::Settings;

/// Stream of what this node told members.
const OWN: &str = "catalogue";
/// Manifests of one neighbour that may be wrong before no more of them are asked for in the same turn.
const PROBLEMS_MAX: usize = 16;
/// Letters of a title and of a summary that are kept.
const TITLE_MAX: usize = 300;
const SUMMARY_MAX: usize = 1000;

/// Stream of what a member told.
fn stream_of(member: &Member) -> String {
    format!("neighbour {}", member.key)
}

/// What is kept of a member, in the order in which it came.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Kept {
    /// A page of its list.
    Page(Page),
    /// The manifest of one of its versions; its bytes are a blob.
    Manifest { sha256: Digest, bytes: u64, title: String, summary: String },
}

/// A manifest that is kept.
pub(crate) struct KeptManifest {
    title: String,
    summary: String,
}

/// All that is kept of a member.
pub(crate) struct Memory {
    pub(crate) heard: Heard,
    pub(crate) manifests: BTreeMap<Digest, KeptManifest>,
    /// Entries of its stream.
    length: usize,
}

/// When a member was heard last, and whether it was believed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastHeard {
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// What came of asking the neighbours.
#[derive(Debug, Clone, Serialize)]
pub struct SyncReport {
    /// Each of them, in the order of names.
    pub neighbours: Vec<NeighbourReport>,
    /// What became of mirrors.
    pub mirrors: MirrorCounts,
}

/// What came of asking one.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NeighbourReport {
    /// Its name.
    pub member: String,
    /// Entries that are new: versions published and versions taken down.
    pub new_entries: u64,
    /// Its versions: the sum of the three that follow.
    pub versions: u64,
    /// Versions that are served there, and whose manifest is here.
    pub known: u64,
    /// Versions that are served there, and whose manifest is not here: see `problems`.
    pub without_manifest: u64,
    /// Versions that were taken down.
    pub taken_down: u64,
    /// What went wrong.
    pub problems: Vec<Failure>,
}

/// What became of mirrors.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MirrorCounts {
    /// Versions that the settings name: the sum of the three that follow.
    pub wanted: u64,
    /// Mirrored before.
    pub already: u64,
    /// Mirrored now.
    pub mirrored: u64,
    /// Not mirrored: see `problems`.
    pub failed: u64,
    /// Taken down here now, since they were taken down there.
    pub taken_down: u64,
    /// What went wrong.
    pub problems: Vec<Failure>,
}

impl SyncReport {
    /// How a command ends that asked: with what is worst; `None` where all went well.
    pub fn exit(&self) -> Option<Exit> {
        let problems = || self.neighbours.iter().flat_map(|one| &one.problems).chain(&self.mirrors.problems);
        match (problems().any(|problem| problem.exit == Exit::Integrity), problems().next()) {
            (true, _) => Some(Exit::Integrity),
            (false, first) => first.map(|problem| problem.exit),
        }
    }
}

/// A version of a neighbour, as lists have it.
#[derive(Debug, Clone, Serialize)]
pub struct KnownLine {
    /// Whose.
    pub member: String,
    /// What it holds.
    pub artefact: Artefact,
    /// `namespace/name`.
    pub dataset: String,
    /// Version.
    pub version: String,
    /// Title, where the manifest is here.
    pub title: Option<String>,
    /// When it was published there.
    pub published_at: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Public key of the gate that sealed it.
    pub gate: String,
    /// Whether it is mirrored here.
    pub mirrored: bool,
    /// Why it is not served any more, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_down: Option<String>,
    /// The version in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

impl Node {
    pub(crate) fn member_folder(&self) -> MemberFolder {
        MemberFolder::of_node(&self.home)
    }

    /// The roster, if it is still believed.
    pub(crate) fn believed_roster(&self) -> Result<Arc<Roster>, Failure> {
        let roster = self.member_folder().roster()?;
        roster.valid_on(self.clock.now().day())?;
        Ok(roster)
    }

    /// Members who tell what they publish, but for this node.
    pub(crate) fn others<'r>(&self, roster: &'r Roster) -> Result<Vec<&'r Member>, Failure> {
        let key = self.member_folder().identity()?.key();
        Ok(roster.publishers().into_iter().filter(|member| member.key != key).collect())
    }

    pub(crate) async fn client(&self, roster: &Arc<Roster>) -> Result<CatalogueClient, Failure> {
        let identity = self.member_folder().identity()?;
        Ok(CatalogueClient::new(Network::open_for_catalogues(&identity, Arc::clone(roster), None).await?))
    }

    /// What this node tells members: every version that it published, and that it took down. What it told stays as it was told.
    async fn told(
        &self,
        releases: &[Release],
        stones: &[Stone],
        artefacts: &BTreeMap<Digest, Artefact>,
    ) -> Result<Vec<Entry>, Failure> {
        let kept = self.store.entries(OWN).await?;
        let mut told: Vec<Entry> =
            kept.iter().map(|entry| Entry::deserialize(&entry.entry)).collect::<Result<_, _>>().map_err(unreadable)?;
        let name = |dataset: &str, version: &str| (dataset.to_owned(), version.to_owned());
        let (mut published, mut down) = (BTreeSet::new(), BTreeSet::new());
        for entry in &told {
            match entry {
                Entry::Published { dataset, version, .. } => published.insert(name(&dataset.to_string(), version)),
                Entry::TakenDown { dataset, version, .. } => down.insert(name(&dataset.to_string(), version)),
            };
        }
        let mut new = Vec::new();
        for release in releases {
            let named = name(&release.dataset.to_string(), &release.version);
            let Some(artefact) = artefacts.get(&release.manifest).filter(|_| !published.contains(&named)) else {
                continue;
            };
            let entry = Entry::Published {
                artefact: *artefact,
                dataset: release.dataset.clone(),
                version: release.version.clone(),
                manifest: release.manifest,
                seal: acequia_gate::ExitSeal::from_text(release.seal.clone()),
                published_at: release.published_at,
            };
            if entry.can_be_told() {
                published.insert(named);
                new.push(entry);
            } else {
                let (dataset, version) = (&release.dataset, &release.version);
                tracing::warn!(%dataset, %version, "not told to members: the number cannot stand in an address");
            }
        }
        for (at, stone) in stones {
            let named = name(&stone.dataset, &stone.version);
            if let Ok(dataset) = DatasetName::parse(&stone.dataset)
                && published.contains(&named)
                && down.insert(named)
            {
                let (version, reason) = (stone.version.clone(), stone.reason.as_str().to_owned());
                let successor = stone.successor.clone().filter(|next| published.contains(&name(&stone.dataset, next)));
                new.push(Entry::TakenDown { dataset, version, reason, successor, at: *at });
            }
        }
        if !new.is_empty() {
            let values = new.iter().map(serde_json::to_value).collect::<Result<_, _>>().map_err(unreadable)?;
            // Two that serve one node must not tell it twice.
            let same = |present: &[acequia_store::Entry]| {
                if present.len() == kept.len() { Ok(values) } else { Err(Failure::from(NodeError::Busy)) }
            };
            self.store.append_entries(OWN, self.clock.now(), same).await?;
            told.extend(new);
        }
        Ok(told)
    }

    /// What members are told and given at this moment.
    pub(crate) async fn offered(
        &self,
        releases: &[Release],
        stones: &[Stone],
        mirrors: &[Mirror],
    ) -> Result<Offered, Failure> {
        let (mut served, mut artefacts) = (Vec::new(), BTreeMap::new());
        for release in releases {
            match self.manifest(release) {
                // Members are told of what anybody may have; for the rest the trustee decides for each reader.
                Ok(manifest) if manifest.get().terms.tier() != Tier::Open => {}
                Ok(manifest) => {
                    artefacts.insert(release.manifest, manifest.get().artefact);
                    if !stones.iter().any(|(_, stone)| stone.is_of(&release.dataset, &release.version)) {
                        served.push(manifest);
                    }
                }
                Err(failure) => {
                    let (dataset, version) = (&release.dataset, &release.version);
                    tracing::error!(code = %failure.code, %dataset, %version, "not handed out: {}", failure.message);
                }
            }
        }
        for mirror in shown(mirrors, releases) {
            if mirror.is_served() {
                served.extend(self.mirrored_manifest(mirror).ok());
            }
        }
        Ok(Offered::new(self.told(releases, stones, &artefacts).await?, &served))
    }

    /// All that is kept of a member.
    pub(crate) async fn memory_of(&self, member: &Member) -> Result<Memory, Failure> {
        let entries = self.store.entries(&stream_of(member)).await?;
        let mut memory = Memory {
            heard: Heard::nothing_of(&member.name, member.key),
            manifests: BTreeMap::new(),
            length: entries.len(),
        };
        for entry in entries {
            match serde_json::from_value(entry.entry).map_err(unreadable)? {
                Kept::Page(page) => memory.heard.replay(&page)?,
                Kept::Manifest { sha256, title, summary, .. } => {
                    memory.manifests.insert(sha256, KeptManifest { title, summary });
                }
            }
        }
        Ok(memory)
    }

    async fn remember(&self, member: &Member, memory: &mut Memory, kept: &Kept) -> Result<(), Failure> {
        let value = serde_json::to_value(kept).map_err(unreadable)?;
        let length = memory.length;
        let same = |present: &[acequia_store::Entry]| {
            if present.len() == length { Ok(vec![value]) } else { Err(Failure::from(NodeError::Busy)) }
        };
        self.store.append_entries(&stream_of(member), self.clock.now(), same).await?;
        memory.length += 1;
        Ok(())
    }

    /// Manifests of neighbours that are kept.
    pub(crate) async fn manifests_of_neighbours(&self) -> Result<BTreeSet<Digest>, Failure> {
        let mut all = BTreeSet::new();
        for stream in self.store.streams("neighbour ").await? {
            for entry in self.store.entries(&stream).await? {
                if let Ok(Kept::Manifest { sha256, .. }) = serde_json::from_value(entry.entry) {
                    all.insert(sha256);
                }
            }
        }
        Ok(all)
    }

    /// Bytes of what is kept of neighbours: manifests, and files of mirrored versions.
    pub(crate) async fn kept_bytes(&self) -> Result<u64, Failure> {
        let mut files: BTreeMap<Digest, u64> = BTreeMap::new();
        for stream in self.store.streams("neighbour ").await? {
            for entry in self.store.entries(&stream).await? {
                if let Ok(Kept::Manifest { sha256, bytes, .. }) = serde_json::from_value(entry.entry) {
                    files.insert(sha256, bytes);
                }
            }
        }
        for mirror in self.mirrors().await?.iter().filter(|mirror| !mirror.removed) {
            files.extend(mirror.files.iter().copied());
        }
        Ok(files.values().fold(0, |sum, bytes| sum.saturating_add(*bytes)))
    }

    /// What is left of what the settings allow to be kept of neighbours.
    pub(crate) async fn free_bytes(&self) -> Result<u64, Failure> {
        let quota = Settings::read(&self.home)?.network().mirror_quota_mb.saturating_mul(1 << 20);
        Ok(quota.saturating_sub(self.kept_bytes().await?))
    }

    fn last_heard_path(&self) -> PathBuf {
        self.member_folder().catalogue().join("heard.json")
    }

    fn last_heard(&self) -> BTreeMap<String, LastHeard> {
        let bytes = std::fs::read(self.last_heard_path()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Asks the neighbours (`only` these, or all) what is new, takes mirrors down that were taken down there, and mirrors what the
    /// settings name. What goes wrong with one keeps no other from being asked; it is in the report.
    ///
    /// # Errors
    /// When this node joined no network, or its own records cannot be read.
    pub async fn sync_catalogues(&self, only: &[String], progress: &dyn Progress) -> Result<SyncReport, Failure> {
        let roster = self.believed_roster()?;
        let others = self.others(&roster)?;
        for name in only {
            if !others.iter().any(|member| member.name == *name) {
                let role = "another member that tells what it publishes";
                return Err(NetError::NotAMember { who: name.clone(), role }.into());
            }
        }
        let asked: Vec<&Member> =
            others.into_iter().filter(|member| only.is_empty() || only.contains(&member.name)).collect();
        let client = self.client(&roster).await?;
        let mut neighbours = Vec::with_capacity(asked.len());
        progress.start("neighbours", asked.len() as u64);
        for member in asked {
            neighbours.push(self.sync_one(&client, member).await?);
            progress.advance(1);
        }
        progress.finish(&format!("{} asked", neighbours.len()));
        let mirrors = self.sync_mirrors(&roster, &client, progress).await;
        client.close().await;
        Ok(SyncReport { neighbours, mirrors: mirrors? })
    }

    /// Asks one neighbour. Errors are those of this node's own records.
    async fn sync_one(&self, client: &CatalogueClient, member: &Member) -> Result<NeighbourReport, Failure> {
        let mut memory = self.memory_of(member).await?;
        let mut report = NeighbourReport { member: member.name.clone(), ..NeighbourReport::default() };
        let before = memory.heard.count();
        let told = self.hear_all(client, member, &mut memory).await;
        report.new_entries = memory.heard.count() - before;
        let refused = match told {
            Ok(()) => None,
            Err(failure) => {
                let refused = (failure.exit == Exit::Integrity).then(|| failure.message.clone());
                if refused.is_some() {
                    tracing::error!(code = %failure.code, member = %member.name, "{}", failure.message);
                }
                report.problems.push(failure);
                refused
            }
        };
        if report.problems.is_empty() {
            self.fetch_manifests(client, member, &mut memory, &mut report).await?;
        }
        let was_heard = report.problems.iter().all(|problem| problem.exit != Exit::Temporary);
        if was_heard || refused.is_some() {
            let mut all = self.last_heard();
            all.insert(member.name.clone(), LastHeard { at: self.clock.now(), refused });
            self.write_beside(&self.last_heard_path(), &serde_json::to_vec_pretty(&all).unwrap_or_default())?;
        }
        for version in memory.heard.versions() {
            report.versions += 1;
            match (&version.taken_down, memory.manifests.contains_key(&version.manifest)) {
                (Some(_), _) => report.taken_down += 1,
                (None, true) => report.known += 1,
                (None, false) => report.without_manifest += 1,
            }
        }
        Ok(report)
    }

    fn write_beside(&self, path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io("the network folder of the node", "written"))?;
        }
        Ok(acequia_blobs::write_file_atomically(path, bytes)?)
    }

    /// All pages that are new, each on record before the next is asked for.
    async fn hear_all(&self, client: &CatalogueClient, member: &Member, memory: &mut Memory) -> Result<(), Failure> {
        loop {
            let page = client.page(member, memory.heard.count()).await?;
            if let Err(error) = memory.heard.take(&page, self.clock.now()) {
                // What was signed speaks against who signed it.
                let evidence = self.member_folder().catalogue().join("refused").join(format!("{}.json", member.name));
                self.write_beside(&evidence, &serde_json::to_vec_pretty(&page).unwrap_or_default())?;
                return Err(error.into());
            }
            let followed = page.is_followed();
            // The first page is kept also when it is empty: it says which gate is the member's.
            if page.entries() > 0 || memory.length == 0 {
                self.remember(member, memory, &Kept::Page(page)).await?;
                failpoint("catalogue.heard");
            }
            if !followed {
                return Ok(());
            }
        }
    }

    /// The manifests of served versions that are not here yet, newest first, as far as there is room.
    async fn fetch_manifests(
        &self,
        client: &CatalogueClient,
        member: &Member,
        memory: &mut Memory,
        report: &mut NeighbourReport,
    ) -> Result<(), Failure> {
        let Some(gate) = memory.heard.gate().cloned() else { return Ok(()) };
        let mut free = self.free_bytes().await?;
        let lacking =
            |known: &&KnownVersion| known.taken_down.is_none() && !memory.manifests.contains_key(&known.manifest);
        let lacking: Vec<KnownVersion> = memory.heard.versions().iter().rev().filter(lacking).cloned().collect();
        for known in lacking {
            let fetched = client.small(member, &known.manifest, free.min(MANIFEST_BYTES_MAX)).await;
            let checked = fetched.and_then(|bytes| Ok((check_manifest(&known, &gate, &bytes)?, bytes)));
            let (manifest, bytes) = match checked {
                Ok(checked) => checked,
                Err(error) => {
                    tracing::warn!(member = %member.name, dataset = %known.dataset, version = %known.version, %error, "no manifest");
                    let gone = matches!(error, NetError::Unreachable { .. });
                    report.problems.push(error.into());
                    if gone || report.problems.len() >= PROBLEMS_MAX {
                        return Ok(());
                    }
                    continue;
                }
            };
            let sha256 = self.blobs.put(&bytes)?;
            failpoint("catalogue.manifest");
            let short = |text: &str, most: usize| text.chars().take(most).collect::<String>();
            let (title, summary) =
                (short(&manifest.get().title, TITLE_MAX), short(&manifest.get().summary, SUMMARY_MAX));
            let bytes = bytes.len() as u64;
            let kept = Kept::Manifest { sha256, bytes, title: title.clone(), summary: summary.clone() };
            self.remember(member, memory, &kept).await?;
            memory.manifests.insert(sha256, KeptManifest { title, summary });
            free = free.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Everything that neighbours publish, by member, then newest first.
    ///
    /// # Errors
    /// When this node joined no network, or its records cannot be read.
    pub async fn known_versions(&self) -> Result<Vec<KnownLine>, Failure> {
        let roster = self.member_folder().roster()?;
        let mirrors = self.mirrors().await?;
        let mut lines = Vec::new();
        for member in self.others(&roster)? {
            let memory = self.memory_of(member).await?;
            let gate = memory.heard.bound().map(|(gate, _)| gate.to_owned()).unwrap_or_default();
            let line = |known: &KnownVersion| KnownLine {
                member: member.name.clone(),
                artefact: known.artefact,
                dataset: known.dataset.to_string(),
                version: known.version.clone(),
                title: memory.manifests.get(&known.manifest).map(|kept| kept.title.clone()),
                published_at: known.published_at.to_string(),
                manifest: known.manifest,
                gate: gate.clone(),
                mirrored: mirrors.iter().any(|mirror| mirror.is_served() && mirror.manifest == known.manifest),
                taken_down: known.taken_down.as_ref().map(|down| down.reason.clone()),
                successor: known.taken_down.as_ref().and_then(|down| down.successor.clone()),
            };
            lines.extend(memory.heard.versions().iter().rev().map(line));
        }
        Ok(lines)
    }

    /// Changes when anything changes that [`Node::neighbours`] says.
    pub(crate) async fn heard_so_far(&self) -> Result<Digest, Failure> {
        let mut parts = vec![("heard", std::fs::read(self.last_heard_path()).unwrap_or_default())];
        let Ok(roster) = self.member_folder().roster() else { return Ok(digest_named("no network", [])) };
        parts.push(("roster", roster.digest().as_bytes().to_vec()));
        parts.push(("mirrors", self.store.length(MIRRORS).await?.to_le_bytes().to_vec()));
        for member in self.others(&roster)? {
            parts.push(("member", self.store.length(&stream_of(member)).await?.to_le_bytes().to_vec()));
        }
        Ok(digest_named("heard so far", parts.iter().map(|(name, bytes)| (*name, bytes.as_slice()))))
    }

    /// The neighbours, as the hub's page shows them; none where this node joined no network.
    pub(crate) async fn neighbours(&self) -> Result<Vec<Neighbour>, Failure> {
        let Ok(roster) = self.member_folder().roster() else { return Ok(Vec::new()) };
        let (mirrors, last) = (self.mirrors().await?, self.last_heard());
        let mut all = Vec::new();
        for member in self.others(&roster)? {
            let memory = self.memory_of(member).await?;
            let version = |known: &KnownVersion| {
                let kept = memory.manifests.get(&known.manifest);
                let here = mirrors.iter().any(|mirror| mirror.is_served() && mirror.manifest == known.manifest);
                NeighbourVersion {
                    artefact: known.artefact,
                    dataset: known.dataset.clone(),
                    version: known.version.clone(),
                    title: kept.map(|kept| kept.title.clone()),
                    summary: kept.map(|kept| kept.summary.clone()),
                    published_at: known.published_at,
                    state: match (&known.taken_down, here) {
                        (Some(_), _) => NeighbourState::TakenDown,
                        (None, true) => NeighbourState::Mirrored,
                        (None, false) => NeighbourState::Known,
                    },
                }
            };
            let heard = last.get(&member.name);
            all.push(Neighbour {
                name: member.name.clone(),
                title: member.title.clone(),
                web: member.web.clone(),
                heard_at: heard.map(|heard| heard.at),
                refused: heard.is_some_and(|heard| heard.refused.is_some()),
                versions: memory.heard.versions().iter().rev().map(version).collect(),
            });
        }
        Ok(all)
    }

    /// Opens the end at which members ask for this node's catalogue, if the settings say that they may.
    pub(crate) async fn open_catalogue(&self) -> Result<Option<(Network, Identity)>, Failure> {
        let settings = Settings::read(&self.home)?;
        if !settings.network().catalogue {
            return Ok(None);
        }
        let folder = self.member_folder();
        let (roster, identity) = (self.believed_roster()?, folder.identity()?);
        let own = roster.of_key(&identity.key()).and_then(|own| own.catalogue.as_deref());
        let not =
            || NetError::NotAMember { who: "this node".to_owned(), role: "one that has an address for its catalogue" };
        let listen = settings.network().listen.or(own.map(listens_at)).ok_or_else(not)?;
        let network = Network::open_for_catalogues(&identity, roster, Some(listen)).await?;
        Ok(Some((network, identity)))
    }

    /// Answers members who ask, until the endpoint is closed.
    pub(crate) fn catalogue_desk(
        &self,
        network: &Network,
        identity: &Identity,
        shelves: &Arc<Shelves>,
    ) -> Arc<CatalogueDesk> {
        let source = Arc::clone(shelves) as Arc<dyn acequia_net::CatalogueSource>;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock);
        CatalogueDesk::new(network, identity, &self.gate_key(), source, clock)
    }
}

fn unreadable(_: serde_json::Error) -> Failure {
    let kind = std::io::ErrorKind::InvalidData;
    NodeError::Io { what: "a record about the network".to_owned(), doing: "read", kind }.into()
}
