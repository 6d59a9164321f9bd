//! What the vault keeps shut, and what stays shut for ever.

mod desk;

use std::path::{Path, PathBuf};

use acequia_blobs::{BlobStore, Key};
use acequia_custody::*;
use acequia_store::{Donation, KeyStore, State, Store};
use acequia_types::{Coded, DonorId, IntakeId, SourceId, Timestamp, parse_timestamp};
use acequia_vault::{Use, Vault};

/// What a donor's record holds and nobody else's.
const CANARY: &[u8] = b"canary-7f3a-the-patient-said-so";
const RUN: Use<'_> = Use { actor: "run", reason: "a/b 1.0.0" };

fn at(day: &str) -> Timestamp {
    parse_timestamp(day).unwrap()
}

fn donor(name: &str) -> DonorId {
    DonorId::parse(name).unwrap()
}

/// A node's folder: records and blobs (the data), keys apart.
struct House {
    folder: tempfile::TempDir,
    store: Store,
    vault: Vault,
}

async fn house_in(folder: &Path) -> (Store, Vault) {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    std::fs::create_dir_all(folder.join("keys")).unwrap();
    let store = Store::open(&folder.join("data/records.sqlite")).await.unwrap();
    let keys = KeyStore::open(&folder.join("keys/keys.sqlite")).await.unwrap();
    let blobs = BlobStore::open(&folder.join("data/blobs")).unwrap();
    let root = Key::from_bytes([9; 32]);
    let vault = Vault::start(store.clone(), keys, blobs, &root, at("2026-01-01")).await.unwrap();
    (store, vault)
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, vault) = house_in(folder.path()).await;
        Self { folder, store, vault }
    }

    async fn give(&self, name: &str, plaintext: &[u8]) -> Donation {
        let given = ConsentEvent::give("2026-01-01", &[Purpose::Research]);
        self.store.append_consent(&donor(name), &[given], at("2026-01-01")).await.unwrap();
        let intake = IntakeId::parse(&format!("in-{name}")).unwrap();
        let deposit = self.vault.deposit(&donor(name), &intake, plaintext).await.unwrap();
        let donation = Donation {
            intake,
            donor: donor(name),
            source: SourceId::parse("s").unwrap(),
            format: "text".to_owned(),
            plaintext: deposit.plaintext,
            sealed: deposit.sealed,
            bytes: deposit.bytes,
            mapping: None,
            received_at: at("2026-01-01"),
            state: State::Accepted,
            detail: serde_json::json!({}),
        };
        self.store.add_donation(&donation).await.unwrap();
        donation
    }

    async fn grant(&self, names: &[&str], now: &str) -> Grant {
        let mut grants = Vec::new();
        for name in names {
            let history = self.store.consent(&donor(name)).await.unwrap();
            grants.extend(evaluate(&donor(name), history.as_ref(), Purpose::Research, at(now)).grant());
        }
        Grant::join(Purpose::Research, grants)
    }

    async fn withdraw(&self, name: &str, day: &str) {
        let event = ConsentEvent::new(at(day), ConsentKind::Withdraw { level: Level::default() });
        self.store.append_consent(&donor(name), &[event], at(day)).await.unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

fn holds(file: &Path, wanted: &[u8]) -> bool {
    std::fs::read(file).unwrap().windows(wanted.len()).any(|window| window == wanted)
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

/// A rollback journal holds what was there before a change: it must not outlive it.
#[tokio::test]
async fn a_destroyed_key_and_its_owner_are_in_no_file() {
    let house = House::new().await;
    house.give("canary-donor-5e1", b"a record").await;
    house.give("stays", b"other").await;
    let of_donor = |file: &PathBuf| holds(file, b"canary-donor-5e1");
    assert!(files(house.folder.path()).iter().any(of_donor));
    house.vault.shred(&[&donor("canary-donor-5e1")], at("2026-02-01")).await.unwrap();
    house.store.erase(&donor("canary-donor-5e1"), at("2026-02-01"), None).await.unwrap();
    for file in files(house.folder.path()) {
        assert!(!of_donor(&file), "{}", file.display());
    }
    // What an older program left is emptied on opening.
    let journal = house.folder.path().join("keys/keys.sqlite-journal");
    drop(house.vault);
    let left = [&[0; 512][..], b"canary-donor-5e1"].concat();
    std::fs::write(&journal, left).unwrap();
    KeyStore::open(&house.folder.path().join("keys/keys.sqlite")).await.unwrap();
    assert!(!holds(&journal, b"canary-donor-5e1"));
}

#[tokio::test]
async fn a_record_opens_with_a_grant_that_names_its_donor() {
    let house = House::new().await;
    let (a, b) = (house.give("a", CANARY).await, house.give("b", b"other").await);
    let grant = house.grant(&["a"], "2026-02-01").await;
    let opened = house.vault.open(&a, &grant, RUN, at("2026-02-01")).await.unwrap();
    assert_eq!(opened.open(&grant).unwrap().as_slice(), CANARY);
    assert_eq!(house.vault.open(&b, &grant, RUN, at("2026-02-01")).await.unwrap_err().code(), "VA001");
    let log = house.store.accesses(None).await.unwrap();
    assert_eq!(log.len(), 1, "what was not granted was not even asked for");
    assert_eq!((log[0].1.actor.as_str(), log[0].1.reason.as_str(), log[0].1.objects), ("run", "a/b 1.0.0", 1));
    for file in files(house.folder.path()) {
        assert!(!holds(&file, CANARY), "{}", file.display());
    }
}

/// The grant is old, the consent is not: the vault asks again.
#[tokio::test]
async fn a_withdrawal_in_the_middle_ends_all_use() {
    let house = House::new().await;
    let donations = [house.give("a", CANARY).await, house.give("b", b"other").await];
    let grant = house.grant(&["a", "b"], "2026-02-01").await;
    let both: Vec<&Donation> = donations.iter().collect();
    assert_eq!(house.vault.open_all(&both, &grant, RUN, at("2026-02-01")).await.unwrap().len(), 2);
    house.withdraw("a", "2026-02-02").await;
    let refused = house.vault.open_all(&both, &grant, RUN, at("2026-02-02")).await.unwrap_err();
    assert_eq!((refused.code(), refused.to_string().contains("1 of 2")), ("VA004", true));
    let subject = house.store.subject(&donor("a")).await.unwrap();
    let uses = house.store.accesses(subject.as_deref()).await.unwrap();
    assert!(uses.iter().all(|(entry, access)| entry.at < at("2026-02-02") || access.refused.is_some()));
    assert_eq!(uses.len(), 2);
    house.store.check().await.unwrap();
}

/// Somebody opens as fast as the vault lets, somebody else withdraws: after the withdrawal is on record, no use is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_use_comes_after_a_withdrawal_that_races_it() {
    let house = House::new().await;
    let donation = house.give("a", CANARY).await;
    let grant = house.grant(&["a"], "2026-02-01").await;
    let (vault, now) = (house.vault.clone(), at("2026-02-01"));
    let opening = tokio::spawn(async move {
        let mut opened = 0;
        for _ in 0..400 {
            match vault.open(&donation, &grant, RUN, now).await {
                Ok(_) => opened += 1,
                Err(refused) => {
                    assert_eq!(refused.code(), "VA004");
                    break;
                }
            }
        }
        opened
    });
    while house.store.accesses(None).await.unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    house.withdraw("a", "2026-02-01").await;
    let before = house.store.accesses(None).await.unwrap();
    let opened: usize = opening.await.unwrap();
    let after = house.store.accesses(None).await.unwrap();
    let used = |log: &[(acequia_store::Entry, acequia_store::Access)]| {
        log.iter().filter(|(_, access)| access.refused.is_none()).count()
    };
    assert_eq!(used(&before), used(&after), "a use after the withdrawal was on record");
    assert_eq!(used(&after), opened);
}

#[tokio::test]
async fn after_erasure_no_copy_and_no_backup_of_the_data_opens_anything() {
    let house = House::new().await;
    let (a, b) = (house.give("a", CANARY).await, house.give("b", b"other").await);
    let table = house.vault.seal_work("unify/person", CANARY).unwrap();
    let ledger = house.vault.seal_lasting("release/ledger", b"numbers").unwrap();
    let grant = house.grant(&["a", "b"], "2026-02-01").await;
    // Yesterday's backup of the data, and a copy of the key store as somebody may have taken one.
    let backup = tempfile::tempdir().unwrap();
    copy(&house.folder.path().join("data"), &backup.path().join("data"));
    let stolen = tempfile::tempdir().unwrap();
    copy(&house.folder.path().join("keys"), stolen.path());

    assert_eq!(house.vault.shred(&[&donor("a")], at("2026-02-02")).await.unwrap(), 2);
    house.store.erase(&donor("a"), at("2026-02-02"), None).await.unwrap();
    assert_eq!(house.vault.shred(&[&donor("a")], at("2026-02-02")).await.unwrap(), 3, "again is harmless");
    assert!(house.vault.open(&a, &grant, RUN, at("2026-02-02")).await.is_err());
    let opened = house.vault.open(&b, &grant, RUN, at("2026-02-02")).await.unwrap();
    assert_eq!(opened.open(&grant).unwrap().as_slice(), b"other", "who stays is wrapped anew");
    assert!(house.vault.open_work("unify/person", &table).is_err());
    assert_eq!(house.vault.open_lasting("release/ledger", &ledger).unwrap().as_slice(), b"numbers");
    assert_eq!(house.vault.donors().await.unwrap(), [donor("b")]);

    // The backup comes back beside the keys of today: consent says yes again, the key is gone.
    let restored = tempfile::tempdir().unwrap();
    copy(&backup.path().join("data"), &restored.path().join("data"));
    copy(&house.folder.path().join("keys"), &restored.path().join("keys"));
    let (store, vault) = house_in(restored.path()).await;
    assert!(store.consent(&donor("a")).await.unwrap().is_some());
    assert_eq!(vault.open(&a, &grant, RUN, at("2026-02-03")).await.unwrap_err().code(), "VA002");
    assert!(vault.open_work("unify/person", &table).is_err());

    // A wrapped key of the old epoch put back is of no use: the epoch's key is gone.
    let old = sqlite(&stolen.path().join("keys.sqlite")).await;
    let wrapped: (Vec<u8>,) =
        sqlx::query_as("SELECT wrapped FROM donor_key WHERE donor = 'a'").fetch_one(&old).await.unwrap();
    let today = sqlite(&restored.path().join("keys/keys.sqlite")).await;
    let insert = sqlx::query("INSERT INTO donor_key (donor, wrapped) VALUES ('a', $1)").bind(wrapped.0.clone());
    insert.execute(&today).await.unwrap();
    assert_eq!(vault.open(&a, &grant, RUN, at("2026-02-03")).await.unwrap_err().code(), "BL006");

    // Neither what the donor gave nor the wrapped key lies anywhere: not in the database, its log, the blobs or the backup.
    let name: &[u8] = b"in-a";
    for file in files(house.folder.path()) {
        assert!(!holds(&file, CANARY) && !holds(&file, &wrapped.0), "{}", file.display());
        assert!(!holds(&file, name), "the donation's row is overwritten: {}", file.display());
    }
    for file in files(backup.path()) {
        assert!(!holds(&file, CANARY), "{}", file.display());
    }
    house.store.check().await.unwrap();
}

async fn sqlite(path: &Path) -> sqlx::AnyPool {
    sqlx::AnyPool::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn keys_that_lay_among_the_records_move_to_the_key_store() {
    let house = House::new().await;
    let root = Key::from_bytes([9; 32]);
    let old = root.derive("acequia 2026 vault donor keys v1");
    let key = Key::from_bytes([4; 32]);
    let wrapped = key.wrap(&old, b"a").unwrap();
    let records = sqlite(&house.folder.path().join("data/records.sqlite")).await;
    let insert = sqlx::query("INSERT INTO donor_key (donor, wrapped) VALUES ('a', $1)").bind(wrapped.clone());
    insert.execute(&records).await.unwrap();
    records.close().await;
    // A blob as it was sealed then.
    let intake = IntakeId::parse("in-a").unwrap();
    let object = Key::from_bytes([5; 32]);
    let mut sealed = object.wrap(&key, b"in-a").unwrap();
    sealed.extend(acequia_blobs::seal(&object, b"in-a", CANARY).unwrap());
    let blobs = BlobStore::open(&house.folder.path().join("data/blobs")).unwrap();
    let sealed = blobs.put(&sealed).unwrap();
    let (store, vault) = house_in(house.folder.path()).await;
    assert!(store.old_donor_keys().await.unwrap().is_empty());
    let given = ConsentEvent::give("2026-01-01", &[Purpose::Research]);
    store.append_consent(&donor("a"), &[given], at("2026-01-01")).await.unwrap();
    let donation = Donation {
        intake,
        donor: donor("a"),
        source: SourceId::parse("s").unwrap(),
        format: "text".to_owned(),
        plaintext: acequia_types::Digest::of(CANARY),
        sealed,
        bytes: CANARY.len() as u64,
        mapping: None,
        received_at: at("2026-01-01"),
        state: State::Accepted,
        detail: serde_json::json!({}),
    };
    let grant = house.grant(&["a"], "2026-02-01").await;
    let opened = vault.open(&donation, &grant, RUN, at("2026-02-01")).await.unwrap();
    assert_eq!(opened.open(&grant).unwrap().as_slice(), CANARY);
}
