//! Blobs of a bucket, on a real server.

use std::sync::Arc;
use std::time::Instant;

use acequia_blobs::{BlobError, BlobStore};
use acequia_types::{Coded, Digest, Exit};

use crate::contract::{Both, noise, parts};
use crate::server::{BUCKET, KEY, SECRET, Server};

const OWNER: &str = "node-1";
const MIB: u64 = 1024 * 1024;

fn open(server: &Server, prefix: &str) -> BlobStore {
    BlobStore::connect(&format!("s3://{BUCKET}/{prefix}"), OWNER, server.environment()).unwrap()
}

/// Key of a blob.
fn key(prefix: &str, digest: &Digest) -> String {
    let name = digest.to_string();
    format!("{prefix}/{}/{name}", &name[..2])
}

/// Like [`open`], but some variables are others.
fn changed(server: &Server, changes: &[(&str, Option<&str>)]) -> BlobStore {
    let mut environment = server.environment();
    for (name, value) in changes {
        environment.retain(|(known, _)| known != name);
        environment.extend(value.map(|value| ((*name).to_owned(), value.to_owned())));
    }
    BlobStore::connect(&format!("s3://{BUCKET}/node"), OWNER, environment).unwrap()
}

/// Hands every part of the contract a place of its own under `address`, and clears it.
fn keeps_the_contract(address: &str, environment: &[(String, String)]) {
    for (name, part) in parts() {
        eprintln!("{address}: {name}");
        let address = format!("{address}/{name}");
        let other = Other::of(&address, environment);
        let (_, prefix) = address.trim_start_matches("s3://").split_once('/').unwrap();
        let prefix = prefix.to_owned();
        let write_over = move |digest: &Digest, bytes: &[u8]| other.put(&key(&prefix, digest), bytes);
        let store = BlobStore::connect(&address, OWNER, environment.iter().cloned()).unwrap();
        part(&Both { store: store.clone(), write_over: Box::new(write_over) });
        for digest in store.list().unwrap() {
            store.remove(&digest).unwrap();
        }
    }
}

#[test]
fn a_bucket_keeps_the_contract() {
    let Some(server) = Server::or_skip("the contract of blobs on a bucket") else { return };
    keeps_the_contract(&format!("s3://{BUCKET}/contract"), &server.environment());
    assert_eq!(server.open_uploads(), 0);
}

/// For whoever wants to know whether a store of their own will do: `ACEQUIA_TEST_S3=s3://bucket/prefix`, with the variables that a
/// node has.
#[test]
fn the_store_of_the_environment_keeps_the_contract() {
    let Ok(address) = std::env::var("ACEQUIA_TEST_S3") else {
        eprintln!("skipped: ACEQUIA_TEST_S3 names no bucket of your own");
        return;
    };
    keeps_the_contract(&address, &std::env::vars().collect::<Vec<_>>());
}

/// Somebody else with the same keys.
struct Other(object_store::aws::AmazonS3, tokio::runtime::Runtime);

impl Other {
    fn of(address: &str, environment: &[(String, String)]) -> Self {
        let mut builder = object_store::aws::AmazonS3Builder::new().with_url(address);
        for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("AWS_")) {
            if let Ok(known) = name.to_lowercase().parse() {
                builder = builder.with_config(known, value);
            }
        }
        Self(builder.build().unwrap(), tokio::runtime::Runtime::new().unwrap())
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        use object_store::ObjectStoreExt;
        self.1.block_on(self.0.put(&key.into(), bytes.to_vec().into())).unwrap();
    }
}

#[test]
fn a_range_costs_little_more_than_its_bytes() {
    let Some(server) = Server::or_skip("what a range of a bucket costs") else { return };
    let store = open(&server, "node");
    let bytes = noise(64 * 1024 * 1024, 7);
    let digest = store.put(&bytes).unwrap();
    let (before, requests) = (server.relay().to_client(), server.relay().requests());
    let range = 20 * MIB + 5..21 * MIB + 5;
    assert!(store.read_range(&digest, range).unwrap() == bytes[20 * 1024 * 1024 + 5..21 * 1024 * 1024 + 5]);
    let got = server.relay().to_client() - before;
    assert!(got < 2 * MIB + MIB / 8, "{got} bytes came for one MiB");
    assert_eq!(server.relay().requests() - requests, 2);
    // From its beginning to its end in pieces of 256 KiB, as the hub reads: each byte comes once.
    let (before, requests) = (server.relay().to_client(), server.relay().requests());
    for start in (0..64 * MIB).step_by(256 * 1024) {
        let at = usize::try_from(start).unwrap();
        assert!(store.read_range(&digest, start..start + 256 * 1024).unwrap() == bytes[at..at + 256 * 1024]);
    }
    let got = server.relay().to_client() - before;
    assert!(got < 65 * MIB, "{got} bytes came for 64 MiB");
    assert!(server.relay().requests() - requests <= 64);
}

#[test]
fn what_is_there_is_not_sent_again() {
    let Some(server) = Server::or_skip("putting twice into a bucket") else { return };
    let store = open(&server, "node");
    let requests = server.relay().requests();
    store.put(b"first").unwrap();
    // Whose it is, twice when nobody's yet; whether it is there, its bytes.
    assert_eq!(server.relay().requests() - requests, 4);
    store.put_new(b"second").unwrap();
    assert_eq!(server.relay().requests() - requests, 5);
    for length in [100_000, 17 * 1024 * 1024] {
        let bytes = noise(length, 8);
        store.put(&bytes).unwrap();
        let before = server.relay().to_server();
        store.put(&bytes).unwrap();
        assert!(server.relay().to_server() - before < 4096, "{length}");
    }
}

#[test]
fn credentials_that_are_wrong_are_told_and_never_shown() {
    let Some(server) = Server::or_skip("wrong credentials of a bucket") else { return };
    let digest = Digest::of(b"x");
    let wrong: [&[(&str, Option<&str>)]; 2] =
        [&[("AWS_SECRET_ACCESS_KEY", Some("another+secret"))], &[("AWS_ACCESS_KEY_ID", Some("AKIDUNKNOWN"))]];
    for changes in wrong {
        let store = changed(&server, changes);
        let errors = [
            store.put(b"x").unwrap_err(),
            store.get(&digest).unwrap_err(),
            store.read_range(&digest, 0..1).unwrap_err(),
            store.contains(&digest).unwrap_err(),
            store.list().unwrap_err(),
            store.remove(&digest).unwrap_err(),
            store.check_all().unwrap_err(),
            store.sweep().unwrap_err(),
            store.try_out().unwrap_err().error,
        ];
        for error in errors {
            assert_eq!((error.code(), error.exit()), ("BL010", Exit::NotPermitted), "{error}");
            let said = format!("{error} {error:?} {} {store:?}", error.hint());
            for secret in [SECRET, KEY, "another+secret", "AKIDUNKNOWN", "Signature="] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
}

#[test]
fn no_credentials_are_told_as_such() {
    let environment = |rest: &[(&str, &str)]| {
        let all = [&[("AWS_ENDPOINT", "http://127.0.0.1:1"), ("AWS_ALLOW_HTTP", "true")], rest].concat();
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let connect = |rest: &[(&str, &str)]| BlobStore::connect("s3://blobs/node", OWNER, environment(rest));
    // Nothing is there that machines of AWS ask for theirs.
    let store = connect(&[("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")]).unwrap();
    let place = "s3://blobs/node".to_owned();
    let answer = "no credentials were found".to_owned();
    assert_eq!(store.put(b"x").unwrap_err(), BlobError::Refused { place, answer });
    // Half of a pair, and what is no file of certificates.
    assert_eq!(connect(&[("AWS_ACCESS_KEY_ID", KEY)]).unwrap_err().code(), "BL010");
    assert_eq!(connect(&[("AWS_CA_BUNDLE", "/nowhere/ca.pem")]).unwrap_err().code(), "BL001");
}

#[test]
fn a_bucket_that_is_not_there_is_told_as_such() {
    let Some(server) = Server::or_skip("a bucket that is missing") else { return };
    let store = BlobStore::connect("s3://no-such-bucket/node", OWNER, server.environment()).unwrap();
    let digest = Digest::of(b"x");
    let place = "s3://no-such-bucket/node".to_owned();
    let missing = BlobError::NoBucket { place };
    assert_eq!(store.put(b"x").unwrap_err(), missing);
    assert_eq!(store.get(&digest).unwrap_err(), missing);
    assert_eq!(store.contains(&digest).unwrap_err(), missing);
    assert_eq!(store.read_range(&digest, 0..1).unwrap_err(), missing);
    assert_eq!(store.list().unwrap_err(), missing);
    assert_eq!(store.remove(&digest).unwrap_err(), missing);
    assert_eq!(store.try_out().unwrap_err().error, missing);
}

#[test]
fn a_server_that_is_gone_is_asked_for_a_while_and_not_for_ever() {
    let Some(mut server) = Server::or_skip("a bucket out of reach") else { return };
    let store = open(&server, "node");
    let digest = store.put(b"some bytes").unwrap();
    server.kill();
    let began = Instant::now();
    for error in [
        store.get(&digest).map(drop).unwrap_err(),
        store.contains(&digest).map(drop).unwrap_err(),
        store.put(b"more").map(drop).unwrap_err(),
    ] {
        assert_eq!((error.code(), error.exit()), ("BL009", Exit::Temporary), "{error}");
    }
    assert!(began.elapsed().as_secs() < 100, "{:?}", began.elapsed());
    // It comes back while somebody asks.
    server.relay().cut();
    server.restart();
    let server = Arc::new(server);
    let mends = Arc::clone(&server);
    let later = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        mends.relay().mend();
    });
    assert_eq!(&*store.get(&digest).unwrap(), b"some bytes");
    later.join().unwrap();
    assert_eq!(store.put(b"more").unwrap(), Digest::of(b"more"));
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_that_counts() {
    let Some(server) = Server::or_skip("an upload to a bucket that breaks off") else { return };
    let store = open(&server, "node");
    let bytes = noise(40 * 1024 * 1024, 11);
    let digest = Digest::of(&bytes);
    store.put(b"first").unwrap();
    server.relay().cut_after(20 * MIB);
    assert_eq!(store.put(&bytes).unwrap_err().code(), "BL009");
    server.relay().mend();
    assert_eq!((store.contains(&digest), store.list().unwrap().len()), (Ok(false), 1));
    assert_eq!(server.open_uploads(), 1);
    assert_eq!((store.sweep(), store.sweep()), (Ok(1), Ok(0)));
    assert_eq!(server.open_uploads(), 0);
    store.put(&bytes).unwrap();
    assert!(store.get(&digest).unwrap() == bytes);
}

#[test]
fn sweeping_touches_nothing_of_others() {
    let Some(server) = Server::or_skip("sweeping a bucket") else { return };
    let (store, beside) = (open(&server, "node"), open(&server, "node-2"));
    beside.put(b"first").unwrap();
    server.relay().cut_after(9 * MIB);
    assert_eq!(beside.put(&noise(20 * 1024 * 1024, 12)).unwrap_err().code(), "BL009");
    server.relay().mend();
    assert_eq!((store.sweep(), server.open_uploads()), (Ok(0), 1));
    assert_eq!((beside.sweep(), server.open_uploads()), (Ok(1), 0));
}

#[test]
fn another_node_changes_nothing() {
    let Some(server) = Server::or_skip("two nodes in one bucket") else { return };
    let store = open(&server, "node");
    let digest = store.put(b"mine").unwrap();
    let other = BlobStore::connect(&format!("s3://{BUCKET}/node"), "node-2", server.environment()).unwrap();
    let foreign = BlobError::Foreign { place: format!("s3://{BUCKET}/node") };
    assert_eq!(other.put(b"theirs").unwrap_err(), foreign);
    assert_eq!(other.remove(&digest).unwrap_err(), foreign);
    assert_eq!(other.sweep().unwrap_err(), foreign);
    assert_eq!(other.try_out().unwrap_err().error, foreign);
    assert_eq!((&*store.get(&digest).unwrap(), store.list().unwrap()), (b"mine".as_slice(), vec![digest]));
    // Those of one node agree, whoever came first.
    let same: Vec<BlobStore> = (0..4).map(|_| open(&server, "together")).collect();
    std::thread::scope(|scope| {
        for store in &same {
            scope.spawn(|| store.put(b"ours").unwrap());
        }
    });
}

#[test]
fn what_a_disk_of_the_server_changed_is_seen_when_it_is_read() {
    let Some(server) = Server::or_skip("damage below a bucket") else { return };
    let store = open(&server, "node");
    let digest = store.put(b"some bytes").unwrap();
    std::fs::write(server.object(&key("node", &digest)), b"some bytez").unwrap();
    assert_eq!(store.get(&digest).unwrap_err(), BlobError::Damaged { digest });
    assert_eq!(store.check_all().unwrap(), [digest]);
    // Known limit: its entity tag is what it was, so that putting the bytes again believes in them. Removing helps.
    store.put(b"some bytes").unwrap();
    assert_eq!(store.is_whole(&digest), Ok(false));
    store.remove(&digest).unwrap();
    store.put(b"some bytes").unwrap();
    assert_eq!(store.is_whole(&digest), Ok(true));
}

#[test]
fn blobs_move_there_and_back_and_go_on_where_they_stopped() {
    let Some(server) = Server::or_skip("moving blobs to a bucket") else { return };
    let (folder, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = BlobStore::open(folder.path()).unwrap();
    for number in 0..40 {
        here.put(&noise(1000 + number, number as u64 + 60)).unwrap();
    }
    let large = here.put(&noise(20 * 1024 * 1024, 59)).unwrap();
    let all = here.list().unwrap();
    let there = open(&server, "node");
    // It breaks off in the large one or around it, starts again, and counts add up.
    server.relay().cut_after(6 * MIB);
    assert_eq!(here.copy_all(&all, &there, &|| {}).unwrap_err().code(), "BL009");
    server.relay().mend();
    let moved = there.list().unwrap().len() as u64;
    let copied = here.copy_all(&all, &there, &|| {}).unwrap();
    assert_eq!((copied.present, copied.copied, copied.mended), (moved, 41 - moved, 0));
    // One is damaged there, one here.
    Other::of(&format!("s3://{BUCKET}"), &server.environment()).put(&key("node", &large), b"other");
    let lost = all.iter().find(|digest| **digest != large).unwrap();
    let name = lost.to_string();
    std::fs::write(folder.path().join(&name[..2]).join(&name), b"other").unwrap();
    there.remove(lost).unwrap();
    let copied = here.copy_all(&all, &there, &|| {}).unwrap();
    assert_eq!((copied.present, copied.copied, copied.mended, copied.damaged), (39, 0, 1, vec![*lost]));
    assert_eq!(copied.bytes, 20 * MIB);
    let copied = there.copy_all(&there.list().unwrap(), &BlobStore::open(back.path()).unwrap(), &|| {}).unwrap();
    assert_eq!((copied.copied, copied.damaged.len()), (40, 0));
    assert_eq!(BlobStore::open(back.path()).unwrap().check_all().unwrap(), []);
}

#[test]
fn calls_may_come_from_tasks_of_any_runtime() {
    let Some(server) = Server::or_skip("a bucket inside a runtime") else { return };
    for builder in [tokio::runtime::Builder::new_current_thread, tokio::runtime::Builder::new_multi_thread] {
        let runtime = builder().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = open(&server, "node");
            let bytes = noise(9 * 1024 * 1024, 13);
            let digest = store.put(&bytes).unwrap();
            assert!(store.get(&digest).unwrap() == bytes);
            let clone = store.clone();
            let read = tokio::task::spawn_blocking(move || clone.read_range(&digest, 0..100).unwrap());
            assert!(read.await.unwrap() == bytes[..100]);
            // The last one is dropped inside the runtime.
            drop(store);
        });
    }
}
