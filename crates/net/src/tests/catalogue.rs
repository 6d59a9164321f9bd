//! What a member tells of its catalogue, and what must not be believed, given or written, whoever speaks the protocol by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use acequia_gate::{Artefact, ExitSeal, GateKey, Manifest, OriginGate, Outbound, ReleasedFile, readmit};
use acequia_types::{DatasetName, Digest, Timestamp, parse_day, parse_timestamp};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::clock;
use crate::catalogue::{ENTRIES_MAX, PIECE_BYTES_MAX};
use crate::message::{CatalogueReply, read};
use crate::{
    CatalogueClient, CatalogueDesk, CatalogueSource, Entry, Frame, Heard, Identity, KnownVersion, Link, Member,
    MemberFolder, Members, NetError, Network, Offered, Page, Protocol, Roster, check_manifest,
};

const GATE: [u8; 32] = [3; 32];

fn now() -> Timestamp {
    parse_timestamp("2026-11-29").unwrap()
}

fn seal_with(secret: &[u8; 32], manifest: &Digest) -> ExitSeal {
    let message = [b"acequia exit seal v1\0".as_slice(), manifest.as_bytes()].concat();
    ExitSeal::from_text(hex::encode(iroh::SecretKey::from_bytes(secret).sign(&message).to_bytes()))
}

fn manifest(name: &str, version: &str, files: Vec<ReleasedFile>) -> Manifest {
    Manifest {
        schema: "acequia-release/1".into(),
        artefact: Artefact::Dataset,
        dataset: DatasetName::parse(name).unwrap(),
        version: version.into(),
        title: "Title".into(),
        summary: "Summary.".into(),
        license: "CC-BY-4.0".into(),
        terms: Default::default(),
        released_on: parse_day("2026-01-01").unwrap(),
        program: "acequia".into(),
        recipe: Digest::of(b"recipe"),
        seed: 1,
        inputs: Vec::new(),
        splits: Vec::new(),
        files,
    }
}

fn outbound(manifest: &Manifest) -> Outbound<Manifest> {
    let verifier = GateKey::from_secret(&GATE).verifier();
    readmit(&manifest.to_bytes(), &seal_with(&GATE, &manifest.digest()), &verifier).unwrap()
}

fn published(manifest: &Manifest) -> Entry {
    Entry::Published {
        artefact: manifest.artefact,
        dataset: manifest.dataset.clone(),
        version: manifest.version.clone(),
        manifest: manifest.digest(),
        seal: seal_with(&GATE, &manifest.digest()),
        published_at: parse_timestamp("2026-11-01").unwrap(),
    }
}

fn down(manifest: &Manifest) -> Entry {
    Entry::TakenDown {
        dataset: manifest.dataset.clone(),
        version: manifest.version.clone(),
        reason: "withdrawal".into(),
        successor: Some("2.0.0".into()),
        at: parse_timestamp("2026-11-02").unwrap(),
    }
}

/// A member with a gate, and its list.
struct Teller {
    _folder: tempfile::TempDir,
    identity: Identity,
    gate: (String, String),
}

impl Teller {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = MemberFolder::of_node(folder.path()).identity().unwrap();
        let gate = gate_of(&GATE, &identity);
        Self { _folder: folder, identity, gate }
    }

    fn heard(&self) -> Heard {
        Heard::nothing_of("publisher", self.identity.key())
    }

    fn page(&self, entries: &[Entry], since: u64) -> Page {
        Offered::new(entries.to_vec(), []).page(since, &self.gate, &self.identity)
    }
}

fn gate_of(secret: &[u8; 32], identity: &Identity) -> (String, String) {
    let gate = GateKey::from_secret(secret);
    (gate.verifier().to_hex(), gate.say_whose(identity.key().as_bytes()))
}

#[track_caller]
fn contradiction(heard: &mut Heard, page: &Page, words: &str) {
    let before = (heard.count(), heard.versions().to_vec());
    match heard.take(page, now()) {
        Err(NetError::Contradiction { reason, .. }) => assert!(reason.contains(words), "{reason}"),
        other => panic!("{words}: {other:?}"),
    }
    assert_eq!((heard.count(), heard.versions().to_vec()), before, "nothing of it is taken in");
}

#[test]
fn a_list_is_heard_page_by_page_and_again_as_it_was_kept() {
    let teller = Teller::new();
    let manifests: Vec<Manifest> = (0..300).map(|at| manifest("a/b", &format!("{at}.0.0"), Vec::new())).collect();
    let mut entries: Vec<Entry> = manifests.iter().map(published).collect();
    let (mut heard, mut kept) = (teller.heard(), Vec::new());
    // An empty list says which gate is the member's.
    let empty = teller.page(&[], 0);
    heard.take(&empty, now()).unwrap();
    assert!(heard.gate().is_some() && heard.count() == 0);
    kept.push(empty);
    loop {
        let page = teller.page(&entries, heard.count());
        heard.take(&page, now()).unwrap();
        let followed = page.is_followed();
        kept.push(page);
        if !followed {
            break;
        }
    }
    assert_eq!((heard.count(), kept.len()), (300, 3));
    entries.push(down(&manifests[7]));
    let page = teller.page(&entries, heard.count());
    heard.take(&page, now()).unwrap();
    kept.push(page);
    let version = heard.version(&manifests[7].dataset, "7.0.0").unwrap();
    assert_eq!(version.taken_down.as_ref().unwrap().successor.as_deref(), Some("2.0.0"));
    assert!(heard.version(&manifests[7].dataset, "8.0.0").unwrap().taken_down.is_none());
    // Nothing new.
    heard.take(&teller.page(&entries, heard.count()), now()).unwrap();

    let mut again = teller.heard();
    for page in &kept {
        let text = serde_json::to_string(page).unwrap();
        again.replay(&serde_json::from_str(&text).unwrap()).unwrap();
    }
    assert_eq!((again.count(), again.versions(), again.bound()), (heard.count(), heard.versions(), heard.bound()));
}

#[test]
fn whoever_tells_two_stories_is_not_believed() {
    let teller = Teller::new();
    let [one, two, three] = ["1.0.0", "2.0.0", "3.0.0"].map(|version| manifest("a/b", version, Vec::new()));
    let entries = [published(&one), published(&two), down(&one)];
    let mut heard = teller.heard();
    heard.take(&teller.page(&entries, 0), now()).unwrap();
    let heard = || heard.clone();

    // A version with other content under its number, whether something new is told besides or not.
    let mut other = one.clone();
    other.title = "Another".into();
    let changed = [published(&other), published(&two), down(&one)];
    contradiction(&mut heard(), &teller.page(&changed, 3), "changed entries");
    let longer = [&changed[..], &[published(&three)]].concat();
    contradiction(&mut heard(), &teller.page(&longer, 3), "changed entries");
    // A tombstone that vanishes, with and without something in its place.
    contradiction(&mut heard(), &teller.page(&entries[..2], 3), "fewer entries");
    let without = [entries[0].clone(), entries[1].clone(), published(&three)];
    contradiction(&mut heard(), &teller.page(&without, 3), "changed entries");
    // Another gate, another member, a gate of nobody.
    let mut gate = Teller { gate: gate_of(&[4; 32], &teller.identity), ..Teller::new() };
    gate.identity = teller.identity.clone();
    contradiction(&mut heard(), &gate.page(&entries, 3), "another key");
    contradiction(&mut heard(), &Teller::new().page(&entries, 3), "not signed");
    let stolen = Teller::new();
    let mut of_stolen = stolen.heard();
    let borrowed = Offered::new(entries.to_vec(), []).page(0, &teller.gate, &stolen.identity);
    contradiction(&mut of_stolen, &borrowed, "does not say that it is this member's");

    // What cannot have happened.
    let add = |entry: Entry| teller.page(&[&entries[..], &[entry]].concat(), 3);
    contradiction(&mut heard(), &add(published(&two)), "twice");
    contradiction(&mut heard(), &add(down(&one)), "taken down twice");
    contradiction(&mut heard(), &add(down(&three)), "never was published");
    let edit = |entry: Entry, key: &str, value: Value| {
        let mut text = serde_json::to_value(entry).unwrap();
        text.as_object_mut().unwrap().values_mut().next().unwrap()[key] = value;
        serde_json::from_value::<Entry>(text).unwrap()
    };
    for (entry, words) in [
        (edit(published(&three), "seal", json!(seal_with(&[4; 32], &three.digest()))), "seal"),
        (edit(published(&three), "seal", json!("")), "seal"),
        (edit(published(&three), "manifest", json!(Digest::of(b"x"))), "seal"),
        (edit(published(&three), "version", json!("../1")), "number"),
        (edit(published(&three), "version", json!("v3")), "number"),
        (edit(published(&three), "version", json!("1".repeat(65))), "number"),
        (edit(published(&three), "published_at", json!("2030-01-01T00:00:00Z")), "future"),
        (edit(published(&three), "published_at", json!("1900-01-01T00:00:00Z")), "future"),
        (edit(down(&two), "reason", json!("<b>")), "reason"),
        (edit(down(&two), "successor", json!("<b>")), "number"),
        (edit(down(&two), "at", json!("2030-01-01T00:00:00Z")), "future"),
    ] {
        contradiction(&mut heard(), &add(entry), words);
    }
    // Counts that do not fit, and huge ones.
    let page = add(published(&three));
    let edit = |key: &str, value: Value| {
        let mut text = serde_json::to_value(&page).unwrap();
        text[key] = value;
        serde_json::from_value::<Page>(text).unwrap()
    };
    contradiction(&mut heard(), &edit("since", json!(2)), "add up");
    contradiction(&mut heard(), &edit("since", json!(u64::MAX)), "add up");
    contradiction(&mut heard(), &edit("of", json!(3)), "add up");
    contradiction(&mut heard(), &edit("of", json!(u64::MAX)), "add up");
    contradiction(&mut heard(), &edit("entries", json!([])), "add up");
    let many: Vec<Entry> = (0..=ENTRIES_MAX).map(|_| published(&three)).collect();
    contradiction(&mut teller.heard(), &teller.page(&many, 0), "too long");
    // And what is true is still taken.
    heard().take(&page, now()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_byte_of_a_page_is_changed_nothing_false_is_believed(at in any::<prop::sample::Index>(), bits in 1u8..) {
        let teller = Teller::new();
        let [one, two] = ["1.0.0", "2.0.0"].map(|version| manifest("a/b", version, Vec::new()));
        let page = teller.page(&[published(&one), published(&two), down(&one)], 0);
        let mut bytes = Frame::from(&CatalogueReply::Page { page: page.clone() }).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        crate::read_anything(&bytes);
        if let Ok((CatalogueReply::Page { page: changed }, _)) = read::<CatalogueReply>("x", &bytes) {
            let mut heard = teller.heard();
            // How many there are in all is not signed: it only says whether to ask on. Signatures have several spellings.
            let spelt = |page: &Page| serde_json::to_string(page).unwrap().to_lowercase();
            let same = spelt(&Page { of: page.of, ..changed.clone() }) == spelt(&page);
            prop_assert!(heard.take(&changed, now()).is_err() || same);
        }
    }
}

#[test]
fn a_manifest_is_taken_in_only_whole_sealed_and_harmless() {
    let teller = Teller::new();
    let origin = OriginGate::of_member(&teller.gate.0, teller.identity.key().as_bytes(), &teller.gate.1).unwrap();
    let known = |manifest: &Manifest| KnownVersion {
        artefact: Artefact::Dataset,
        dataset: DatasetName::parse("a/b").unwrap(),
        version: "1.0.0".into(),
        manifest: manifest.digest(),
        seal: seal_with(&GATE, &manifest.digest()),
        published_at: now(),
        taken_down: None,
    };
    let file = |path: &str, content: &[u8]| ReleasedFile::of(path, content);
    let good = manifest("a/b", "1.0.0", vec![file("README.md", b"x"), file("data/a", b"y"), file("data/b", b"y")]);
    check_manifest(&known(&good), &origin, &good.to_bytes()).unwrap();
    assert!(matches!(check_manifest(&known(&good), &origin, b"{}"), Err(NetError::Manifest { .. })));
    let foreign = KnownVersion { seal: seal_with(&[4; 32], &good.digest()), ..known(&good) };
    assert!(matches!(check_manifest(&foreign, &origin, &good.to_bytes()), Err(NetError::Gate(_))));
    let mut lying = file("b", b"y");
    lying.bytes = 2;
    let mut huge = [file("a", b"1"), file("b", b"2")];
    huge.iter_mut().for_each(|file| file.bytes = u64::MAX);
    for (bad, words) in [
        (manifest("a/c", "1.0.0", Vec::new()), "another version"),
        (manifest("a/b", "1.0.1", Vec::new()), "another version"),
        (manifest("a/b", "1.0.0", vec![file("../x", b"")]), "plain"),
        (manifest("a/b", "1.0.0", vec![file("/etc/passwd", b"")]), "plain"),
        (manifest("a/b", "1.0.0", vec![file("a\\..\\x", b"")]), "plain"),
        (manifest("a/b", "1.0.0", vec![file("manifest.json", b"")]), "plain"),
        (manifest("a/b", "1.0.0", vec![file("a", b""), file("A", b"1")]), "twice"),
        (manifest("a/b", "1.0.0", vec![file("a", b""), file("a/b", b"1")]), "folder"),
        (manifest("a/b", "1.0.0", vec![file("a", b"y"), lying]), "sizes"),
        (manifest("a/b", "1.0.0", huge.to_vec()), "sizes"),
        (manifest("a/b", "1.0.0", (0..10_001).map(|at| file(&at.to_string(), b"")).collect()), "too many"),
    ] {
        match check_manifest(&known(&bad), &origin, &bad.to_bytes()) {
            Err(NetError::Manifest { reason, .. }) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{words}: {other:?}"),
        }
    }
}

/// Blobs of a member, among them some that nobody may have.
#[derive(Default)]
struct Shop {
    offered: RwLock<Arc<Offered>>,
    blobs: RwLock<BTreeMap<Digest, Bytes>>,
    read: Mutex<BTreeSet<Digest>>,
}

impl CatalogueSource for Shop {
    fn offered(&self) -> Arc<Offered> {
        Arc::clone(&self.offered.read().unwrap())
    }

    fn read(&self, sha256: &Digest, range: Range<u64>) -> Option<Bytes> {
        self.read.lock().unwrap().insert(*sha256);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        self.blobs.read().unwrap().get(sha256).and_then(|bytes| bytes.get(range).map(Bytes::copy_from_slice))
    }
}

impl Shop {
    fn holding(files: &[&[u8]]) -> Arc<Self> {
        let shop = Self::default();
        for content in files {
            shop.blobs.write().unwrap().insert(Digest::of(content), Bytes::copy_from_slice(content));
        }
        Arc::new(shop)
    }

    fn serve(&self, entries: Vec<Entry>, served: &[&Manifest]) {
        for manifest in served {
            self.blobs.write().unwrap().insert(manifest.digest(), manifest.to_bytes().into());
        }
        let served: Vec<Outbound<Manifest>> = served.iter().map(|manifest| outbound(manifest)).collect();
        *self.offered.write().unwrap() = Arc::new(Offered::new(entries, &served));
    }
}

/// Three members that tell, one that only asks, and a stranger.
struct Net {
    folder: tempfile::TempDir,
    roster: Arc<Roster>,
    listens: BTreeMap<&'static str, SocketAddr>,
}

const TELLERS: [&str; 3] = ["first", "second", "third"];

impl Net {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = |name: &str| MemberFolder::of_node(&folder.path().join(name)).identity().unwrap();
        let listens: BTreeMap<&'static str, SocketAddr> =
            TELLERS.map(|name| (name, UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap())).into();
        let member = |name: &str| Member {
            name: name.to_owned(),
            title: None,
            key: identity(name).key(),
            roles: BTreeSet::new(),
            addresses: Vec::new(),
            catalogue: listens.get(name).map(ToString::to_string),
            web: None,
        };
        let members = ["first", "reader", "second", "third"].map(member).to_vec();
        let roster = Arc::new(Members::new("Test", members, None, Vec::new()).unwrap().sign(&identity("first")));
        Self { folder, roster, listens }
    }

    fn identity(&self, name: &str) -> Identity {
        MemberFolder::of_node(&self.folder.path().join(name)).identity().unwrap()
    }

    async fn open(&self, name: &'static str) -> Network {
        let listen = self.listens.get(name).copied();
        // The port of a member that went is free a moment later.
        for _ in 0..100 {
            match Network::open_for_catalogues(&self.identity(name), Arc::clone(&self.roster), listen).await {
                Err(NetError::Bind { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
                opened => return opened.unwrap(),
            }
        }
        panic!("the port of {name} is never free")
    }

    async fn desk(&self, name: &'static str, shop: &Arc<Shop>) -> Network {
        let network = self.open(name).await;
        let (identity, source) = (self.identity(name), Arc::clone(shop) as Arc<dyn CatalogueSource>);
        let desk = CatalogueDesk::new(&network, &identity, &GateKey::from_secret(&GATE), source, clock());
        let served = network.clone();
        tokio::spawn(async move { desk.serve(&served).await });
        network
    }

    /// A member that answers every question of a piece as `answer` says.
    async fn by_hand(&self, name: &'static str, answer: fn(Range<usize>) -> Frame) -> Network {
        let network = self.open(name).await;
        let mut links = network.listen(Protocol::Catalogue);
        tokio::spawn(async move {
            while let Some(link) = links.recv().await {
                tokio::spawn(async move {
                    while let Some(mut incoming) = link.next().await {
                        let Ok(bytes) = incoming.read().await else { return };
                        let asked = read::<Value>("x", &bytes).unwrap().0["piece"].clone();
                        let number = |key: &str| usize::try_from(asked[key].as_u64().unwrap()).unwrap();
                        incoming.answer(&answer(number("from")..number("from") + number("length"))).await;
                    }
                });
            }
        });
        network
    }

    async fn client(&self) -> CatalogueClient {
        CatalogueClient::new(self.open("reader").await)
    }

    fn members(&self, names: &[&str]) -> Vec<&Member> {
        names.iter().map(|name| self.roster.named(name).unwrap()).collect()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn say(link: &Link, head: &Value) -> Value {
    let asked = Frame::by_hand(head, &[]);
    let answer = tokio::time::timeout(Duration::from_secs(20), link.ask(&asked)).await.unwrap().unwrap();
    read::<Value>("x", &answer).unwrap().0
}

/// Leaves, so that its port is free.
async fn leave(network: Network) {
    network.close().await;
}

/// Three pieces and a bit.
fn content() -> Vec<u8> {
    (0..PIECE_BYTES_MAX * 3 + 77).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_served_is_given_and_only_to_members() {
    let net = Net::new();
    let (open, gone, sealed) =
        (content(), b"of a version that was taken down".as_slice(), b"a sealed record".as_slice());
    let shop = Shop::holding(&[&open, gone, sealed]);
    let served = manifest("a/b", "1.0.0", vec![ReleasedFile::of("data/open", &open), ReleasedFile::of("empty", b"")]);
    let taken_down = manifest("a/b", "0.9.0", vec![ReleasedFile::of("data/gone", gone)]);
    shop.blobs.write().unwrap().insert(taken_down.digest(), taken_down.to_bytes().into());
    shop.serve(vec![published(&taken_down), published(&served), down(&taken_down)], &[&served]);
    let first = net.desk("first", &shop).await;

    let client = net.client().await;
    let teller = net.roster.named("first").unwrap();
    let mut heard = Heard::nothing_of("first", teller.key);
    heard.take(&client.page(teller, 0).await.unwrap(), now()).unwrap();
    assert_eq!((heard.count(), heard.versions().len()), (3, 2));
    assert_eq!(client.small(teller, &served.digest(), 1 << 20).await.unwrap(), served.to_bytes());
    assert!(matches!(client.small(teller, &served.digest(), 10).await, Err(NetError::NotHad { .. })));
    for nobody in [taken_down.digest(), Digest::of(gone), Digest::of(sealed), Digest::of(b"never there")] {
        let refused = client.small(teller, &nobody, 1 << 20).await;
        assert!(
            matches!(&refused, Err(NetError::NotHad { asked, .. }) if asked.contains("does not have it")),
            "{refused:?}"
        );
        assert!(!shop.read.lock().unwrap().contains(&nobody), "nothing is read that is not given");
    }

    let reader = net.open("reader").await;
    let link = reader.dial(teller, Protocol::Catalogue).await.unwrap();
    let piece =
        |from: u64, length: u64| json!({ "piece": { "sha256": Digest::of(&open), "from": from, "length": length } });
    assert_eq!(say(&link, &piece(0, u64::MAX)).await, "piece", "as much of it as there is in one");
    assert_eq!(say(&link, &piece(u64::MAX, u64::MAX)).await, "not-here");
    assert_eq!(say(&link, &piece(open.len() as u64 + 1, 1)).await, "not-here");
    // What is no question gets a no, and the next one an answer.
    for bad in
        [json!({}), json!("piece"), json!({ "since": { "since": -1 } }), json!({ "since": { "since": 1, "more": 1 } })]
    {
        assert!(say(&link, &bad).await["no"]["reason"].is_string(), "{bad}");
    }
    let long = json!({ "piece": { "sha256": "0".repeat(5000), "from": 0, "length": 1 } });
    assert!(say(&link, &long).await["no"]["reason"].as_str().unwrap().contains("too long"));
    let behind = link.ask(&Frame::by_hand(&piece(0, 1), b"more")).await.unwrap();
    assert!(read::<Value>("x", &behind).unwrap().0["no"].is_object());
    assert_eq!(say(&link, &json!({ "since": { "since": u64::MAX } })).await["page"]["page"]["of"], 3);
    // A member that leaves connections behind, as one that is killed does, is heard over its newest.
    let mut left = Vec::new();
    for _ in 0..12 {
        left.push(reader.dial(teller, Protocol::Catalogue).await.unwrap());
    }
    let newest = left.pop().unwrap();
    assert_eq!(say(&newest, &piece(0, 1)).await, "piece");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(link.is_closed() && left.iter().filter(|link| link.is_closed()).count() >= 4, "some at a time");
    let link = newest;

    // It is taken down: the next question gets nothing.
    shop.serve(vec![published(&taken_down), published(&served), down(&taken_down), down(&served)], &[]);
    assert_eq!(say(&link, &piece(0, 1)).await, "not-here");

    // A stranger with a roster of its own.
    let stranger = net.identity("stranger");
    let mut members = net.roster.document().clone();
    members.members[1].key = stranger.key();
    let forged = Arc::new(members.sign(&stranger));
    let network = Network::open_for_catalogues(&stranger, Arc::clone(&forged), None).await.unwrap();
    if let Ok(link) = network.dial(forged.named("first").unwrap(), Protocol::Catalogue).await {
        let asked = Frame::by_hand(&json!({ "since": { "since": 0 } }), &[]);
        let answer = tokio::time::timeout(Duration::from_secs(20), link.ask(&asked)).await;
        assert!(!matches!(answer, Ok(Ok(_))), "a stranger was answered");
    }
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_from_whoever_gives_it_and_goes_on_where_it_was() {
    let net = Net::new();
    let open = content();
    let (sha256, bytes) = (Digest::of(&open), open.len() as u64);
    let version = manifest("a/b", "1.0.0", vec![ReleasedFile::of("data/open", &open)]);
    let shop = Shop::holding(&[&open]);
    shop.serve(vec![published(&version)], &[&version]);
    let second = net.desk("second", &shop).await;
    let nothing = net.desk("first", &Shop::holding(&[])).await;
    let client = net.client().await;
    let (part, target) = (net.at("parts/x"), net.at("into/deep/x"));
    let pieces = Mutex::new(Vec::new());
    let on_piece = |bytes: u64| pieces.lock().unwrap().push(bytes);

    // The first has nothing; the third is not there at all.
    let members = net.members(&["first", "second"]);
    let fetched = client.fetch(&members, (&sha256, bytes), &part, &target, &on_piece).await.unwrap();
    assert_eq!((fetched.bytes, fetched.resumed_bytes), (bytes, 0));
    assert_eq!(fetched.from, BTreeSet::from(["second".to_owned()]));
    assert_eq!(std::fs::read(&target).unwrap(), open);
    assert_eq!(pieces.lock().unwrap().as_slice(), [PIECE_BYTES_MAX, PIECE_BYTES_MAX, PIECE_BYTES_MAX, 77]);
    assert!(!part.exists());

    // A part from an earlier try is continued; a wrong one, or one that is too long, is fetched anew.
    let half = open.len() / 2;
    for (left, resumed) in
        [(open[..half].to_vec(), half as u64), (vec![0; half], 0), (vec![0; open.len() + 1], 0), (open.clone(), bytes)]
    {
        std::fs::write(&part, &left).unwrap();
        let fetched = client.fetch(&members, (&sha256, bytes), &part, &target, &|_| {}).await.unwrap();
        assert_eq!((fetched.resumed_bytes, fetched.liars.len()), (resumed, 0));
        assert_eq!(std::fs::read(&target).unwrap(), open);
    }
    // Two at once do not write over one another.
    let held = std::fs::File::create(&part).unwrap();
    held.try_lock().unwrap();
    let refused = client.fetch(&members, (&sha256, bytes), &part, &target, &|_| {}).await;
    assert!(matches!(refused, Err(NetError::Fetching)));
    drop(held);
    // An empty file is known already.
    let empty = (&Digest::of(b""), 0);
    client.fetch(&[], empty, &part, &net.at("into/empty"), &|_| {}).await.unwrap();
    let wrong = client.fetch(&members, (&sha256, 0), &part, &net.at("into/none"), &|_| {}).await;
    assert!(matches!(wrong, Err(NetError::NotHad { .. })) && !net.at("into/none").exists());
    nothing.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_other_bytes_is_found_out_and_the_next_one_asked() {
    let net = Net::new();
    let open = content();
    let (sha256, bytes) = (Digest::of(&open), open.len() as u64);
    let version = manifest("a/b", "1.0.0", vec![ReleasedFile::of("data/open", &open)]);
    let shop = Shop::holding(&[&open]);
    shop.serve(vec![published(&version)], &[&version]);
    let honest = net.desk("third", &shop).await;
    let liar = net.by_hand("first", |range| Frame::by_hand(&json!("piece"), &vec![7; range.len()])).await;
    // It gives the first piece right, and then nothing.
    let fickle = net
        .by_hand("second", |range| match range.start {
            0 => Frame::by_hand(&json!("piece"), &content()[range]),
            _ => Frame::by_hand(&json!("not-here"), &[]),
        })
        .await;
    let client = net.client().await;
    let (part, target) = (net.at("parts/x"), net.at("into/x"));
    let all = net.members(&["first", "second", "third"]);

    let fetched = client.fetch(&all, (&sha256, bytes), &part, &target, &|_| {}).await.unwrap();
    assert_eq!(fetched.liars, BTreeSet::from(["first".to_owned()]));
    assert_eq!(fetched.from, BTreeSet::from(["second".to_owned(), "third".to_owned()]));
    assert_eq!(std::fs::read(&target).unwrap(), open);

    // Half of it from one, half from a liar: it is fetched anew, from each alone, and the right one is named.
    let order = net.members(&["second", "first", "third"]);
    std::fs::remove_file(&target).unwrap();
    let fetched = client.fetch(&order, (&sha256, bytes), &part, &target, &|_| {}).await.unwrap();
    assert_eq!(fetched.liars, BTreeSet::from(["first".to_owned()]));
    assert_eq!(std::fs::read(&target).unwrap(), open);

    // Nobody honest: nothing gets the name.
    std::fs::remove_file(&target).unwrap();
    let refused = client.fetch(&order[..2], (&sha256, bytes), &part, &target, &|_| {}).await;
    assert!(
        matches!(&refused, Err(NetError::NotHad { asked, .. }) if asked.contains("first (gave other bytes)")),
        "{refused:?}"
    );
    assert!(!target.exists());

    // Pieces that are cut off, too long, of another kind, or pages.
    leave(liar).await;
    leave(fickle).await;
    let answers: [fn(Range<usize>) -> Frame; 5] = [
        |range| Frame::by_hand(&json!("piece"), &vec![7; range.len() - 1]),
        |range| Frame::by_hand(&json!("piece"), &vec![7; range.len() + 1]),
        |range| Frame::by_hand(&json!("piece"), &vec![7; range.len() * 4]),
        |_| Frame::by_hand(&json!({ "no": { "reason": "\u{1b}[2J no" } }), &[]),
        |_| Frame::by_hand(&json!(["what"]), &[]),
    ];
    for answer in answers {
        let broken = net.by_hand("first", answer).await;
        let client = net.client().await;
        let refused = client.fetch(&order[1..2], (&sha256, bytes), &part, &target, &|_| {}).await.unwrap_err();
        assert!(matches!(&refused, NetError::NotHad { asked, .. } if !asked.contains('\u{1b}')), "{refused:?}");
        assert!(!target.exists());
        leave(broken).await;
    }
    honest.close().await;
}
