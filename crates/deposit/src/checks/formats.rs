//! Whether files can be opened without running what somebody put into them. Looks at beginnings and headers only, whatever the length.

use serde_json::Value;

use crate::DepositError;
use crate::stow::SealedFile;

/// Files that run, or that programs run when they open them.
const RUNS: [(&str, &str); 27] = [
    (".pkl", "a pickle"),
    (".pickle", "a pickle"),
    (".pt", "a pickle of PyTorch"),
    (".pth", "a pickle of PyTorch"),
    (".ckpt", "a pickle of PyTorch"),
    (".bin", "a pickle of PyTorch or unknown bytes"),
    (".joblib", "a pickle of joblib"),
    (".dill", "a pickle"),
    (".mar", "an archive with programs"),
    (".keras", "an archive with programs"),
    (".h5", "a file that may hold programs"),
    (".hdf5", "a file that may hold programs"),
    (".pb", "a graph that may write files"),
    (".py", "a program"),
    (".ipynb", "a program"),
    (".sh", "a program"),
    (".bat", "a program"),
    (".ps1", "a program"),
    (".js", "a program"),
    (".r", "a program"),
    (".exe", "a program"),
    (".dll", "a program"),
    (".so", "a program"),
    (".dylib", "a program"),
    (".jar", "a program"),
    (".whl", "a program"),
    (".rds", "a file of R that may hold programs"),
];

/// Archives, which are not looked into.
const ARCHIVES: [&str; 8] = [".tar", ".tgz", ".tar.gz", ".tar.zst", ".7z", ".rar", ".xz", ".bz2"];

/// Longest header of a safetensors file (its own limit is 100 MB).
pub(super) const LONGEST_HEADER_BYTES: u64 = 16 << 20;
/// Where the list of an archive is looked for: its end, with the longest comment.
const ZIP_END_BYTES: u64 = 22 + 65_535;
/// Longest list of an archive.
const LONGEST_LIST_BYTES: u64 = 64 << 20;
/// Fields of a graph on the outermost level: there are a dozen.
const MOST_FIELDS: usize = 100_000;

/// What is wrong with a file, if anything, and by which code that is looked up.
pub(crate) fn check(path: &str, file: &SealedFile) -> Result<Option<(&'static str, String)>, DepositError> {
    if let Some(what) = runs_or_hides(path, file)? {
        return Ok(Some((RUNNING, what)));
    }
    let lower = path.to_ascii_lowercase();
    let malformed = match () {
        () if lower.ends_with(".safetensors") => safetensors(file)?,
        () if lower.ends_with(".onnx") => onnx(file)?,
        () => None,
    };
    Ok(malformed.map(|what| (MALFORMED, what)))
}

/// Files that may run, or that cannot be looked into.
const RUNNING: &str = "DP019";
/// Model files that are not what their name says.
const MALFORMED: &str = "DP020";

/// What may run in a file, or that it cannot be looked into.
fn runs_or_hides(path: &str, file: &SealedFile) -> Result<Option<String>, DepositError> {
    let lower = path.to_ascii_lowercase();
    if let Some((_, what)) = RUNS.iter().find(|(ending, _)| lower.ends_with(ending)) {
        return Ok(Some(format!(
            "is {what} by its name, which may run when it is opened; give ONNX, safetensors or Parquet"
        )));
    }
    if ARCHIVES.iter().any(|ending| lower.ends_with(ending)) {
        return Ok(Some("is an archive, which is not looked into; give the files themselves".to_owned()));
    }
    let start = file.read(0..512)?;
    let end = file.read(file.len().saturating_sub(1)..file.len())?;
    if let Some(what) = runs(&start, &end) {
        return Ok(Some(format!("is {what} by its content, which may run when it is opened")));
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return zip(file);
    }
    Ok(None)
}

/// What content runs, by its first and its last bytes.
fn runs(start: &[u8], end: &[u8]) -> Option<&'static str> {
    // Protocols 2 to 5 begin with their number (PEP 3154); older ones with a mark or an import, and end with a full stop.
    let old = |start: &[u8]| {
        start.starts_with(b"(dp")
            || start.starts_with(b"(lp")
            || start.starts_with(b"c__builtin__")
            || start.starts_with(b"cos\n")
            || start.starts_with(b"cposix\n")
    };
    match start {
        [0x80, 2..=5, ..] => Some("a pickle"),
        _ if old(start) && end == b"." => Some("a pickle"),
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => Some("a program"),
        [0xca, 0xfe, 0xba, 0xbe, ..] | [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => Some("a program"),
        [b'#', b'!', ..] => Some("a script"),
        // NumPy's arrays of objects are pickles (NEP 1).
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..]
            if start.windows(3).any(|window| window == b"'|O" || window == b"'O'") =>
        {
            Some("an array of pickles")
        }
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)))
}

/// Looks at the list of an archive (APPNOTE.TXT 6.3.10, 4.3.12 and 4.3.16).
fn zip(file: &SealedFile) -> Result<Option<String>, DepositError> {
    let unreadable = || Ok(Some("is an archive whose list cannot be read".to_owned()));
    let tail = file.read(file.len().saturating_sub(ZIP_END_BYTES)..file.len())?;
    let Some(at) = tail.windows(4).rposition(|window| window == b"PK\x05\x06") else { return unreadable() };
    let (Some(bytes), Some(from)) = (u32_at(&tail, at + 12), u32_at(&tail, at + 16)) else { return unreadable() };
    // Longer lists are those of ZIP64, which nothing here needs.
    if bytes > LONGEST_LIST_BYTES || from == u64::from(u32::MAX) || from.saturating_add(bytes) > file.len() {
        return unreadable();
    }
    let list = file.read(from..from + bytes)?;
    let mut at = 0;
    while at < list.len() {
        let lengths = (u16_at(&list, at + 28), u16_at(&list, at + 30), u16_at(&list, at + 32));
        let (true, (Some(name), Some(extra), Some(comment))) = (list[at..].starts_with(b"PK\x01\x02"), lengths) else {
            return unreadable();
        };
        let name_bytes = usize::try_from(name).unwrap_or(usize::MAX);
        let Some(name) = list.get(at + 46..at + 46 + name_bytes) else { return unreadable() };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if RUNS.iter().any(|(ending, _)| name.ends_with(ending)) {
            return Ok(Some("is an archive with a pickle or a program in it".to_owned()));
        }
        at += 46 + name_bytes + usize::try_from(extra + comment).unwrap_or(usize::MAX);
    }
    Ok(Some("is an archive, which is not looked into; give the files themselves".to_owned()))
}

/// Bits of one number, by the names that safetensors has for types.
pub(super) fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E5M2FNUZ" | "F8_E4M3FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

/// Looks at the header: tensors lie one after the other and fill the file.
fn safetensors(file: &SealedFile) -> Result<Option<String>, DepositError> {
    let wrong = |what: &str| Ok(Some(format!("is no safetensors file: {what}")));
    let start = file.read(0..8)?;
    let Ok(length) = start.as_slice().try_into().map(u64::from_le_bytes) else { return wrong("it is too short") };
    if length > LONGEST_HEADER_BYTES || length.saturating_add(8) > file.len() {
        return wrong("its header is too long");
    }
    let header: Value = match serde_json::from_slice(&file.read(8..8 + length)?) {
        Ok(header) => header,
        Err(_) => return wrong("its header is no JSON"),
    };
    let Some(tensors) = header.as_object() else { return wrong("its header is no object") };
    let mut places = Vec::new();
    for (_, tensor) in tensors.iter().filter(|(name, _)| *name != "__metadata__") {
        let numbers =
            |key: &str| -> Option<Vec<u64>> { tensor.get(key)?.as_array()?.iter().map(Value::as_u64).collect() };
        let read = || {
            let bits = bits(tensor.get("dtype")?.as_str()?)?;
            let count = numbers("shape")?.iter().try_fold(1u64, |product, side| product.checked_mul(*side))?;
            let bytes = count.checked_mul(bits)?.checked_add(7)? / 8;
            match numbers("data_offsets")?.as_slice() {
                [from, to] if to.checked_sub(*from)? == bytes => Some((*from, *to)),
                _ => None,
            }
        };
        let Some(place) = read() else { return wrong("a tensor has a type, shape and place that do not fit") };
        places.push(place);
    }
    places.sort_unstable();
    let mut end = 0;
    for (from, to) in places {
        if from != end {
            return wrong("its tensors overlap or leave gaps");
        }
        end = to;
    }
    if end != file.len() - 8 - length { wrong("its tensors do not fill it") } else { Ok(None) }
}

/// A number of variable length (Protocol Buffers, "Base 128 Varints"), and its length.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(7 * at).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, at as u64 + 1));
        }
    }
    None
}

/// Walks over the outermost fields of a graph (onnx.proto, `ModelProto`), reading none of them.
fn onnx(file: &SealedFile) -> Result<Option<String>, DepositError> {
    let wrong = |what: &str| Ok(Some(format!("is no ONNX graph: {what}")));
    let (mut at, mut version, mut graph, mut operators) = (0, false, false, false);
    for _ in 0..MOST_FIELDS {
        if at == file.len() {
            return if version && graph && operators {
                Ok(None)
            } else {
                wrong("its version, graph or operator sets are missing")
            };
        }
        let head = file.read(at..at + 20)?;
        let Some((key, key_bytes)) = varint(&head) else { return wrong("it breaks off") };
        let rest = head.get(usize::try_from(key_bytes).unwrap_or(usize::MAX)..).unwrap_or_default();
        let more = match key & 7 {
            0 => varint(rest).map(|(_, bytes)| bytes),
            1 => Some(8),
            2 => varint(rest).and_then(|(length, bytes)| length.checked_add(bytes)),
            5 => Some(4),
            _ => None,
        };
        let next = more.and_then(|more| at.checked_add(key_bytes)?.checked_add(more));
        let Some(next) = next.filter(|next| *next <= file.len()) else { return wrong("it breaks off") };
        match (key >> 3, key & 7) {
            (1, 0) => version = true,
            (7, 2) => graph = true,
            (8, 2) => operators = true,
            _ => {}
        }
        at = next;
    }
    wrong("it has too many fields")
}

#[cfg(test)]
mod tests {
    use acequia_blobs::{BlobStore, Key};
    use acequia_store::StoredObject;
    use acequia_types::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::Sealed;

    /// A file of a deposit with this content.
    pub(crate) fn file(content: &[u8]) -> (tempfile::TempDir, SealedFile) {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Sealed::new(BlobStore::open(folder.path()).unwrap(), Key::generate().unwrap(), "d");
        let mut writer = sealed.writer("o", 0, content.len() as u64);
        writer.write(content).unwrap();
        let (writer, written) = writer.finish().unwrap();
        writer.keep();
        let stored = StoredObject {
            deposit: "d".to_owned(),
            object: "o".to_owned(),
            part: 0,
            bytes: written.bytes,
            tag: String::new(),
            at: Timestamp::from_unix_s(0),
            blobs: written.blobs,
        };
        (folder, sealed.file(&stored))
    }

    fn finding(path: &str, content: &[u8]) -> Option<String> {
        let (_folder, file) = file(content);
        check(path, &file).unwrap().map(|(_, what)| what)
    }

    #[test]
    fn findings_have_codes() {
        let code = |path: &str, content: &[u8]| check(path, &file(content).1).unwrap().unwrap().0;
        assert_eq!(code("a.pkl", b""), "DP019");
        assert_eq!(code("a.zip", b"PK\x03\x04"), "DP019");
        assert_eq!(code("a.safetensors", b""), "DP020");
        assert_eq!(code("a.onnx", b""), "DP020");
    }

    fn tensors(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend(std::iter::repeat_n(0, data));
        bytes
    }

    #[test]
    fn what_runs_is_refused_by_name_and_by_content() {
        for path in ["model.pkl", "pytorch_model.bin", "A/B.PT", "modeling.py", "weights.ckpt", "x.tar.gz"] {
            assert!(finding(path, b"x").is_some(), "{path}");
        }
        for content in [
            &b"\x80\x04\x95\x0f\x00\x00\x00."[..],
            b"(dp0\nS'a'\np1\nI1\ns.",
            b"\x7fELF\x02",
            b"MZ\x90",
            b"#!/bin/sh\n",
            b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False}",
        ] {
            assert!(finding("weights.dat", content).is_some());
        }
        assert_eq!(finding("notes.txt", b"(dp is how a pickle begins"), None);
        assert_eq!(finding("table.csv", b"a,b\n1,2\n"), None);
    }

    #[test]
    fn a_pickle_in_an_archive_is_found() {
        let name = b"archive/data.pkl";
        let mut zip = b"PK\x03\x04".to_vec();
        zip.resize(30, 0);
        let from = zip.len() as u32;
        zip.extend_from_slice(b"PK\x01\x02");
        zip.extend(std::iter::repeat_n(0, 24));
        zip.extend_from_slice(&(name.len() as u16).to_le_bytes());
        zip.extend(std::iter::repeat_n(0, 16));
        zip.extend_from_slice(name);
        let bytes = zip.len() as u32 - from;
        zip.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        zip.extend_from_slice(&bytes.to_le_bytes());
        zip.extend_from_slice(&from.to_le_bytes());
        zip.extend_from_slice(&[0, 0]);
        assert!(finding("weights.dat", &zip).unwrap().contains("with a pickle"));
        assert!(finding("weights.dat", b"PK\x03\x04archive/data.pkl").unwrap().contains("cannot be read"));
    }

    #[test]
    fn safetensors_must_fill_their_file() {
        let good = r#"{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F64","shape":[],"data_offsets":[24,32]}}"#;
        assert_eq!(finding("m.safetensors", &tensors(good, 32)), None);
        for (header, data) in [
            (good.to_owned(), 31),
            (good.to_owned(), 33),
            (good.replace("[24,32]", "[20,28]"), 32),
            (good.replace("F32", "F99"), 32),
            (good.replace("[2,3]", "[2,4]"), 32),
            (good.replace("[2,3]", "[18446744073709551615,18446744073709551615]"), 32),
            ("[]".to_owned(), 0),
            ("{".to_owned(), 0),
        ] {
            assert!(finding("m.safetensors", &tensors(&header, data)).is_some(), "{header} {data}");
        }
        assert!(finding("m.safetensors", b"").is_some());
        assert!(finding("m.safetensors", &[0xff; 16]).is_some());
    }

    #[test]
    fn a_graph_must_be_whole() {
        let good = [&[0x08, 0x09][..], &[0x3a, 0x03, 1, 2, 3], &[0x42, 0x02, 0x10, 0x11]].concat();
        assert_eq!(finding("m.onnx", &good), None);
        assert!(finding("m.onnx", &good[..good.len() - 1]).is_some());
        assert!(finding("m.onnx", &good[..7]).is_some(), "no operator sets");
        assert!(finding("m.onnx", b"").is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(
            start in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY"]),
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            path in prop::sample::select(vec!["a.onnx", "a.safetensors", "a"]),
        ) {
            let (_folder, file) = file(&[start, &bytes].concat());
            check(path, &file).unwrap();
            // Whatever was found: who looks does not fall.
            crate::checks::summary::of(path, &file).unwrap();
        }
    }
}
