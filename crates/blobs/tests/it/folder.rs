//! Blobs of a folder.

use acequia_blobs::{BlobError, BlobStore};
use acequia_types::Digest;

use crate::contract::{Both, parts};

#[test]
fn a_folder_keeps_the_contract() {
    for (name, part) in parts() {
        eprintln!("folder: {name}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let write_over = move |digest: &Digest, bytes: &[u8]| {
            let name = digest.to_string();
            std::fs::write(path.join(&name[..2]).join(&name), bytes).unwrap();
        };
        part(&Both { store: BlobStore::open(folder.path()).unwrap(), write_over: Box::new(write_over) });
    }
}

#[test]
fn what_was_left_aside_is_no_blob_and_can_be_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    std::fs::write(folder.path().join("aside").join(".aside-1-1"), b"half").unwrap();
    assert!(store.list().unwrap().is_empty());
    assert_eq!((store.sweep(), store.sweep()), (Ok(1), Ok(0)));
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let name = store.put(b"x").unwrap().to_string();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.path()), mode(&folder.path().join(&name[..2]).join(&name))), (0o700, 0o600));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_no_empty_one() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(folder.path()).unwrap();
    let digest = store.put(b"x").unwrap();
    let name = digest.to_string();
    let shard = folder.path().join(&name[..2]);
    std::fs::remove_dir_all(&shard).unwrap();
    symlink(&shard, &shard).unwrap();
    assert!(matches!(store.contains(&digest), Err(BlobError::Io { .. })));
    std::fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(store.try_out().unwrap_err().tried.as_str(), "written");
}
