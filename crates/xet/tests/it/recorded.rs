//! What real clients uploaded, see `data/recordings/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_types::{Digest, DigestWriter};
use acequia_xet::{Codec, File, Shard, XetError, XetHash, Xorb, XorbIndex, XorbReader};

/// Uploads to one address: xorbs under the hashes of their addresses, shards, and what was in the files.
pub(crate) struct Recording {
    pub(crate) xorbs: Vec<(XetHash, Vec<u8>)>,
    pub(crate) shards: Vec<Vec<u8>>,
    pub(crate) files: BTreeMap<String, (u64, String)>,
}

pub(crate) type Stored = BTreeMap<XetHash, (Vec<u8>, Arc<XorbIndex>)>;

impl Recording {
    fn open(folder: &Path) -> Self {
        let (mut xorbs, mut shards, mut files) = (Vec::new(), Vec::new(), BTreeMap::new());
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            match path.extension().unwrap().to_str().unwrap() {
                "xorb" => xorbs.push((XetHash::parse(name).unwrap(), bytes)),
                "shard" => shards.push(bytes),
                _ => {
                    let listed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                    for file in listed.as_array().unwrap() {
                        let text = |key: &str| file[key].as_str().unwrap().to_owned();
                        files.insert(text("hash"), (file["bytes"].as_u64().unwrap(), text("sha256")));
                    }
                }
            }
        }
        xorbs.sort_unstable();
        Self { xorbs, shards, files }
    }

    pub(crate) fn stored(&self) -> Stored {
        let read = |(hash, bytes): &(XetHash, Vec<u8>)| {
            (*hash, (bytes.clone(), Arc::new(Xorb::read(bytes, hash).unwrap().into_index())))
        };
        self.xorbs.iter().map(read).collect()
    }
}

/// All recordings of a folder, by name.
pub(crate) fn recordings(folder: &Path) -> Vec<(PathBuf, Recording)> {
    let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut folders: Vec<PathBuf> = folders.collect();
    folders.sort_unstable();
    folders.into_iter().map(|folder| (folder.clone(), Recording::open(&folder))).collect()
}

pub(crate) fn small() -> Vec<(PathBuf, Recording)> {
    recordings(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings"))
}

/// What is in the files of a shard: hash of each, length and SHA-256.
pub(crate) fn rebuilt(shard: &[u8], stored: &mut Stored) -> Result<BTreeMap<String, (u64, String)>, XetError> {
    let mut files = BTreeMap::new();
    for file in Shard::read(shard)?.files() {
        let mut digest = DigestWriter::default();
        let mut length = 0;
        let mut content = file.rebuild(stored)?;
        while let Some(piece) = content.next()? {
            std::io::Write::write_all(&mut digest, piece).unwrap();
            length += u64::try_from(piece.len()).unwrap();
        }
        assert_eq!(length, file.bytes());
        let digest = digest.finish();
        // Whoever rebuilds compares; here, so that a changed digest counts as noticed.
        if file.sha256().is_some_and(|stated| stated != digest) {
            return Err(XetError::FileHash { file: 0 });
        }
        files.insert(file.hash().to_string(), (length, digest.to_string()));
    }
    Ok(files)
}

/// The content of a file of a shard.
pub(crate) fn rebuilt_content(file: &File<'_>, stored: &mut Stored) -> Vec<u8> {
    let (mut all, mut content) = (Vec::new(), file.rebuild(stored).unwrap());
    while let Some(piece) = content.next().unwrap() {
        all.extend_from_slice(piece);
    }
    all
}

fn check(recordings: Vec<(PathBuf, Recording)>) {
    for (name, recording) in recordings {
        let mut stored = recording.stored();
        let (mut files, mut described) = (BTreeMap::new(), Vec::new());
        for shard in &recording.shards {
            files.extend(rebuilt(shard, &mut stored).unwrap_or_else(|error| panic!("{}: {error}", name.display())));
            let shard = Shard::read(shard).unwrap();
            assert!(shard.files().iter().all(|file| file.sha256().is_some() || file.bytes() == 0));
            for xorb in shard.xorbs() {
                assert!(xorb.describes(&stored[&xorb.hash()].1));
                described.push(xorb.hash());
            }
        }
        assert_eq!(files, recording.files, "{}", name.display());
        described.sort_unstable();
        assert!(described.iter().eq(recording.xorbs.iter().map(|(hash, _)| hash)));
        for (hash, bytes) in &recording.xorbs {
            // The same in pieces, and with a walk over the chunks.
            for step in [1_000_003, 4_093, 7].iter().filter(|step| bytes.len() / **step < 100_000) {
                let mut reader = XorbReader::default();
                let mut digest = DigestWriter::default();
                for piece in bytes.chunks(*step) {
                    reader
                        .feed(piece, |_, content| {
                            std::io::Write::write_all(&mut digest, content).unwrap();
                            Ok::<(), XetError>(())
                        })
                        .unwrap();
                }
                let index = reader.finish(hash).unwrap();
                assert_eq!(index, *stored[hash].1);
                let xorb = Xorb::read(bytes, hash).unwrap();
                let mut walked = DigestWriter::default();
                let count = u32::try_from(index.chunks().len()).unwrap();
                let mut chunks = xorb.chunks(&(0..count)).unwrap();
                while let Some((_, content)) = chunks.next().unwrap() {
                    std::io::Write::write_all(&mut walked, content).unwrap();
                }
                assert_eq!(walked.finish(), digest.finish());
                assert!(xorb.chunks(&(0..count + 1)).is_none());
            }
        }
    }
}

#[test]
fn uploads_of_real_clients_are_rebuilt() {
    let recordings = small();
    assert_eq!(recordings.len(), 7);
    let indices: Vec<_> = recordings.iter().flat_map(|(_, recording)| recording.stored().into_values()).collect();
    for codec in [Codec::Plain, Codec::Lz4, Codec::GroupedLz4] {
        assert!(
            indices.iter().any(|(_, index)| index.chunks().iter().any(|chunk| chunk.codec() == codec)),
            "{codec:?}"
        );
    }
    check(recordings);
    // The hash of what was sent, as any other tool tells it.
    assert_eq!(
        Digest::of(b"made up\n").to_string(),
        "b0e76ff73bda4879cbe86fd7040b54dda54b7dfd96a4f2c0724c07814da7fefd"
    );
}

/// `ACEQUIA_XET=folder`, with what `record.py folder large` made.
#[test]
fn large_uploads_are_rebuilt() {
    if let Some(folder) = std::env::var_os("ACEQUIA_XET") {
        check(recordings(Path::new(&folder)));
    }
}
