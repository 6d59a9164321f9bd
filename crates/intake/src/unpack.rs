//! Gzip and zip, with limits that hold whatever an archive claims.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use crate::{IntakeError, Limits};

/// Unpacks one layer of gzip or zip; other bytes are returned as they are.
pub(crate) fn unpack<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, IntakeError> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return bounded(flate2::read::MultiGzDecoder::new(bytes), bytes.len(), limits).map(Cow::Owned);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return unzip(bytes, limits).map(Cow::Owned);
    }
    if bytes.len() as u64 > limits.unpacked_bytes {
        return Err(too_large(limits));
    }
    Ok(Cow::Borrowed(bytes))
}

/// Reads a file of any size, unpacking gzip on the way; growth beyond the limit ends in an error of kind
/// `FileTooLarge`. Zip needs the whole file and is taken up to the limits of [`unpack`].
///
/// # Errors
/// The kinds of [`std::io::Error`]; what is wrong with an archive is of kind `InvalidData`.
pub fn stream(
    mut packed: impl Read + Send + 'static,
    packed_bytes: u64,
    limits: &Limits,
) -> std::io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; 4];
    let mut have = 0;
    while have < magic.len() {
        match packed.read(&mut magic[have..])? {
            0 => break,
            got => have += got,
        }
    }
    let head = Cursor::new(magic[..have].to_vec());
    let whole = head.chain(packed);
    if magic[..have].starts_with(&[0x1f, 0x8b]) {
        let left = packed_bytes.saturating_mul(limits.growth).max(1 << 20);
        let unpacked = flate2::read::MultiGzDecoder::new(std::io::BufReader::with_capacity(1 << 16, whole));
        return Ok(Box::new(Bounded { unpacked, left }));
    }
    if magic == *b"PK\x03\x04" {
        let mut bytes = Vec::new();
        whole.take(limits.unpacked_bytes).read_to_end(&mut bytes)?;
        let unpacked = unzip(&bytes, limits).map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
        return Ok(Box::new(Cursor::new(unpacked)));
    }
    Ok(Box::new(whole))
}

/// Ends in an error instead of growing without end.
struct Bounded<R> {
    unpacked: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.unpacked.read(buffer)?;
        self.left = self.left.checked_sub(got as u64).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(got)
    }
}

fn unzip(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, IntakeError> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| IntakeError::Archive)?;
    let mut files = Vec::new();
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(|_| IntakeError::Archive)?;
        if !entry.is_dir() {
            files.push((at, entry.enclosed_name().is_some(), entry.size()));
        }
    }
    let [(at, true, claimed_bytes)] = files[..] else {
        return Err(IntakeError::ArchiveContent { files: files.len() });
    };
    if claimed_bytes > limits.unpacked_bytes || claimed_bytes > growth_limit(bytes.len(), limits) {
        return Err(too_large(limits));
    }
    let entry = archive.by_index(at).map_err(|_| IntakeError::Archive)?;
    bounded(entry, bytes.len(), limits)
}

fn growth_limit(packed_bytes: usize, limits: &Limits) -> u64 {
    // A small file may shrink a lot without being a bomb.
    const ALWAYS_ALLOWED_BYTES: u64 = 1024 * 1024;
    (packed_bytes as u64).saturating_mul(limits.growth).max(ALWAYS_ALLOWED_BYTES)
}

fn bounded(reader: impl Read, packed_bytes: usize, limits: &Limits) -> Result<Vec<u8>, IntakeError> {
    let limit_bytes = limits.unpacked_bytes.min(growth_limit(packed_bytes, limits));
    let mut unpacked = Vec::new();
    reader.take(limit_bytes + 1).read_to_end(&mut unpacked).map_err(|_| IntakeError::Archive)?;
    if unpacked.len() as u64 > limit_bytes { Err(too_large(limits)) } else { Ok(unpacked) }
}

fn too_large(limits: &Limits) -> IntakeError {
    IntakeError::TooLarge { limit_bytes: limits.unpacked_bytes, growth: limits.growth }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn one_layer_is_unpacked() {
        assert_eq!(&*unpack(&gzip(b"a,b\n"), &Limits::default()).unwrap(), b"a,b\n");
        assert_eq!(&*unpack(&zipped(&[("x.csv", b"a,b\n")]), &Limits::default()).unwrap(), b"a,b\n");
        assert_eq!(&*unpack(b"plain", &Limits::default()).unwrap(), b"plain");
    }

    #[test]
    fn a_stream_is_unpacked_within_limits() {
        let read = |bytes: Vec<u8>| {
            let length = bytes.len() as u64;
            let mut text = Vec::new();
            stream(Cursor::new(bytes), length, &Limits::default())?.read_to_end(&mut text).map(|_| text)
        };
        for bytes in [gzip(b"a,b\n"), zipped(&[("x.csv", b"a,b\n")]), b"a,b\n".to_vec()] {
            assert_eq!(read(bytes).unwrap(), b"a,b\n");
        }
        assert_eq!(read(b"a".to_vec()).unwrap(), b"a");
        let bomb = gzip(&vec![b' '; 40 * 1024 * 1024]);
        assert_eq!(read(bomb).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = vec![b' '; 40 * 1024 * 1024];
        for packed in [gzip(&bomb), zipped(&[("bomb.csv", &bomb)])] {
            assert!(matches!(unpack(&packed, &Limits::default()), Err(IntakeError::TooLarge { .. })));
        }
    }

    #[test]
    fn an_archive_that_claims_ten_gigabytes_is_refused_before_unpacking() {
        let mut packed = zipped(&[("x.csv", &[b'a'; 4096])]);
        let claim = (4_000_000_000_u32).to_le_bytes();
        let central = packed.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        packed[central + 24..central + 28].copy_from_slice(&claim);
        let limits = Limits { unpacked_bytes: 1 << 30, growth: u64::MAX };
        assert!(matches!(unpack(&packed, &limits), Err(IntakeError::TooLarge { .. })));
    }

    #[test]
    fn damaged_and_crowded_archives_are_told_apart() {
        let whole = gzip(&[7; 10_000]);
        assert_eq!(unpack(&whole[..whole.len() / 2], &Limits::default()), Err(IntakeError::Archive));
        let two = zipped(&[("a.csv", b"1"), ("b.csv", b"2")]);
        assert_eq!(unpack(&two, &Limits::default()), Err(IntakeError::ArchiveContent { files: 2 }));
        let outside = zipped(&[("../../etc/x.csv", b"1")]);
        assert_eq!(unpack(&outside, &Limits::default()), Err(IntakeError::ArchiveContent { files: 1 }));
    }
}
