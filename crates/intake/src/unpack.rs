//! Gzip and zip as streams, with limits that hold whatever an archive claims.
//!
//! Nothing is written to a disk by the name that an archive gives it. Names are judged only to tell an honest archive from
//! one that is made to harm: paths that leave it, links, two files in one place, archives in archives.

use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use crate::{IntakeError, Limits};

/// Bytes that are looked at to tell what a file is.
const HEAD_BYTES: u64 = 64 * 1024;

/// What a donated file may be: something to read and to jump in.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// One file of a donation: the file itself, or one inside an archive.
pub(crate) struct Member<'s> {
    /// One-based number inside the archive; 0 for a file that is none.
    pub(crate) number: u64,
    /// How many files there are.
    pub(crate) of: usize,
    /// Its first bytes, unpacked.
    pub(crate) head: Vec<u8>,
    /// It is the copy in CDA that Apple Health puts beside its export; by its name, which is all that tells.
    pub(crate) copy: bool,
    stream: &'s mut dyn Read,
}

impl Member<'_> {
    /// All its bytes, the first included.
    pub(crate) fn stream(&mut self) -> impl BufRead {
        Cursor::new(self.head.clone()).chain(BufReader::with_capacity(256 * 1024, &mut *self.stream))
    }

    fn open(number: u64, of: usize, stream: &mut dyn Read) -> Result<Member<'_>, IntakeError> {
        let mut head = Vec::new();
        (&mut *stream).take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| broken(&error))?;
        if number > 0 && (is_gzip(&head) || is_zip(&head)) {
            return Err(IntakeError::ArchiveNested);
        }
        Ok(Member { number, of, head, copy: false, stream })
    }
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// Hands over each file of a donation in turn, unpacked while it is read.
pub(crate) fn members(
    source: &mut dyn Source,
    limits: &Limits,
    take: &mut dyn FnMut(Member<'_>) -> Result<(), IntakeError>,
) -> Result<(), IntakeError> {
    let packed_bytes = source.seek(SeekFrom::End(0)).map_err(|error| broken(&error))?;
    source.rewind().map_err(|error| broken(&error))?;
    let mut magic = Vec::new();
    (&mut *source).take(4).read_to_end(&mut magic).map_err(|error| broken(&error))?;
    source.rewind().map_err(|error| broken(&error))?;
    if is_gzip(&magic) {
        let packed = BufReader::with_capacity(256 * 1024, source);
        let mut left = limits.unpacked_bytes;
        let mut stream = Bounded {
            inner: flate2::bufread::MultiGzDecoder::new(packed),
            left: &mut left,
            own: growth_limit(packed_bytes, limits),
            limits,
        };
        return take(Member::open(1, 1, &mut stream)?);
    }
    if is_zip(&magic) {
        return zipped(source, packed_bytes, limits, take);
    }
    let mut left = limits.unpacked_bytes;
    let mut stream = Bounded { inner: source, left: &mut left, own: u64::MAX, limits };
    take(Member::open(0, 1, &mut stream)?)
}

/// Reads a file of any size, unpacking gzip on the way; growth beyond the limit ends in an error of kind
/// `FileTooLarge`. Zip needs the whole file and is unpacked into memory, within the limits; it must hold one file.
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
        return Ok(Box::new(Growing { unpacked, left }));
    }
    if magic == *b"PK\x03\x04" {
        let mut bytes = Vec::new();
        whole.take(limits.unpacked_bytes).read_to_end(&mut bytes)?;
        let mut files = Vec::new();
        let taken = members(&mut Cursor::new(bytes), limits, &mut |mut member| {
            let mut content = Vec::new();
            member.stream().read_to_end(&mut content).map_err(|error| broken(&error))?;
            files.push(content);
            Ok(())
        });
        let (Ok(()), 1, Some(unpacked)) = (taken, files.len(), files.pop()) else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        return Ok(Box::new(Cursor::new(unpacked)));
    }
    Ok(Box::new(whole))
}

/// Ends in an error instead of growing without end.
struct Growing<R> {
    unpacked: R,
    left: u64,
}

impl<R: Read> Read for Growing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.unpacked.read(buffer)?;
        self.left = self.left.checked_sub(got as u64).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(got)
    }
}

fn zipped(
    source: &mut dyn Source,
    packed_bytes: u64,
    limits: &Limits,
    take: &mut dyn FnMut(Member<'_>) -> Result<(), IntakeError>,
) -> Result<(), IntakeError> {
    let mut archive = zip::ZipArchive::new(source).map_err(|_| IntakeError::Archive)?;
    if archive.len() > limits.entries {
        return Err(IntakeError::ArchiveContent { files: archive.len() });
    }
    let mut files = Vec::new();
    let (mut claimed_bytes, mut harmful) = (0_u64, archive.has_duplicate_names());
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(|_| IntakeError::Archive)?;
        // A link, a path out of the archive, a locked file.
        let absolute = matches!(entry.name_raw(), [b'/' | b'\\', ..] | [_, b':', ..]);
        harmful |= absolute || entry.is_symlink() || entry.enclosed_name().is_none() || entry.encrypted();
        if !entry.is_dir() {
            claimed_bytes = claimed_bytes.saturating_add(entry.size());
            files.push(at);
        }
    }
    // First, since sizes that are lies also look like files that share bytes.
    if claimed_bytes > limits.unpacked_bytes || claimed_bytes > growth_limit(packed_bytes, limits) {
        return Err(too_large(limits));
    }
    if harmful || archive.has_overlapping_entries().map_err(|_| IntakeError::Archive)? {
        return Err(IntakeError::ArchiveUnsafe);
    }
    if files.is_empty() {
        return Err(IntakeError::ArchiveContent { files: 0 });
    }
    let (mut left, of) = (limits.unpacked_bytes.min(growth_limit(packed_bytes, limits)), files.len());
    for (number, at) in files.into_iter().enumerate() {
        let entry = archive.by_index(at).map_err(|_| IntakeError::Archive)?;
        let own = growth_limit(entry.compressed_size(), limits);
        let copy = entry.name_raw().ends_with(b"export_cda.xml");
        let mut stream = Bounded { inner: entry, left: &mut left, own, limits };
        take(Member { copy, ..Member::open(number as u64 + 1, of, &mut stream)? })?;
    }
    Ok(())
}

fn growth_limit(packed_bytes: u64, limits: &Limits) -> u64 {
    // A small file may shrink a lot without being a bomb.
    const ALWAYS_ALLOWED_BYTES: u64 = 1024 * 1024;
    packed_bytes.saturating_mul(limits.growth).max(ALWAYS_ALLOWED_BYTES)
}

/// Stops at the limit of the whole, `left`, or of this one file, `own`.
struct Bounded<'l, R> {
    inner: R,
    left: &'l mut u64,
    own: u64,
    limits: &'l Limits,
}

/// What a stream ends with when it would unpack to too much.
#[derive(Debug, thiserror::Error)]
#[error("the archive would unpack to too much")]
struct LimitReached(Limits);

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = (*self.left).min(self.own);
        if left == 0 {
            // At the limit exactly there may be nothing more.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(std::io::Error::other(LimitReached(*self.limits))),
            };
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let taken = self.inner.read(&mut out[..most])?;
        *self.left -= taken as u64;
        self.own -= taken as u64;
        Ok(taken)
    }
}

/// Why a stream broke while it was read.
pub(crate) fn broken(error: &std::io::Error) -> IntakeError {
    use std::io::ErrorKind;
    if let Some(LimitReached(limits)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return too_large(limits);
    }
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => IntakeError::Archive,
        kind => IntakeError::Unreadable { kind },
    }
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

    fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn unpack(bytes: &[u8], limits: &Limits) -> Result<Vec<Vec<u8>>, IntakeError> {
        let mut all = Vec::new();
        members(&mut Cursor::new(bytes), limits, &mut |mut member| {
            let mut content = Vec::new();
            member.stream().read_to_end(&mut content).map_err(|error| broken(&error))?;
            all.push(content);
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn files_are_unpacked_one_by_one() {
        let limits = Limits::default();
        assert_eq!(unpack(&gzip(b"a,b\n"), &limits).unwrap(), [b"a,b\n"]);
        assert_eq!(unpack(b"plain", &limits).unwrap(), [b"plain"]);
        let two = zip_of(&[("x.csv", b"a"), ("d/y.csv", b"b")]);
        assert_eq!(unpack(&two, &limits).unwrap(), [b"a", b"b"]);
        let twice = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(unpack(&twice, &limits).unwrap(), [b"a\nb\n"]);
    }

    #[test]
    fn a_stream_is_unpacked_within_limits() {
        let read = |bytes: Vec<u8>| {
            let length = bytes.len() as u64;
            let mut text = Vec::new();
            stream(Cursor::new(bytes), length, &Limits::default())?.read_to_end(&mut text).map(|_| text)
        };
        for bytes in [gzip(b"a,b\n"), zip_of(&[("x.csv", b"a,b\n")]), b"a,b\n".to_vec()] {
            assert_eq!(read(bytes).unwrap(), b"a,b\n");
        }
        assert_eq!(read(b"a".to_vec()).unwrap(), b"a");
        let bomb = gzip(&vec![b' '; 40 * 1024 * 1024]);
        assert_eq!(read(bomb).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = vec![b' '; 40 * 1024 * 1024];
        // Each of a hundred files stays below its own limit; all together do not.
        let one = vec![b' '; 1024 * 1024];
        let names: Vec<String> = (0..100).map(|at| format!("{at}.csv")).collect();
        let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), one.as_slice())).collect();
        for packed in [gzip(&bomb), zip_of(&[("bomb.csv", &bomb)]), zip_of(&many)] {
            let error = unpack(&packed, &Limits::default());
            assert!(matches!(error, Err(IntakeError::TooLarge { .. })), "{error:?}");
        }
        let limits = Limits { unpacked_bytes: 1000, ..Limits::default() };
        assert!(matches!(unpack(&[b'a'; 1001], &limits), Err(IntakeError::TooLarge { .. })));
        assert_eq!(unpack(&[b'a'; 1000], &limits).unwrap()[0].len(), 1000);
    }

    #[test]
    fn an_archive_that_lies_about_sizes_is_refused() {
        let mut packed = zip_of(&[("x.csv", &[b'a'; 4096])]);
        let claim = (4_000_000_000_u32).to_le_bytes();
        let central = packed.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        packed[central + 24..central + 28].copy_from_slice(&claim);
        let limits = Limits { unpacked_bytes: 1 << 30, growth: u64::MAX, ..Limits::default() };
        assert!(matches!(unpack(&packed, &limits), Err(IntakeError::TooLarge { .. })));
        // A claim of little that grows to much is stopped while it is unpacked.
        let mut packed = zip_of(&[("x.csv", &vec![b'a'; 40 * 1024 * 1024])]);
        let central = packed.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        packed[central + 24..central + 28].copy_from_slice(&100_u32.to_le_bytes());
        assert!(unpack(&packed, &Limits::default()).is_err());
    }

    #[test]
    fn archives_made_to_harm_are_refused() {
        let limits = Limits::default();
        let whole = gzip(&[7; 10_000]);
        assert_eq!(unpack(&whole[..whole.len() / 2], &limits), Err(IntakeError::Archive));
        for name in ["../../etc/x.csv", "/etc/x.csv", "a/../../x.csv"] {
            assert_eq!(unpack(&zip_of(&[(name, b"1")]), &limits), Err(IntakeError::ArchiveUnsafe), "{name}");
        }
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("x.csv", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
        assert_eq!(unpack(&writer.finish().unwrap().into_inner(), &limits), Err(IntakeError::ArchiveUnsafe));
        let nested =
            [zip_of(&[("x.zip", &zip_of(&[("y", b"1")]))]), gzip(&gzip(b"1")), zip_of(&[("x.gz", &gzip(b"1"))])];
        for nested in nested {
            assert_eq!(unpack(&nested, &limits), Err(IntakeError::ArchiveNested));
        }
        assert_eq!(unpack(&zip_of(&[]), &limits), Err(IntakeError::ArchiveContent { files: 0 }));
        let crowded = Limits { entries: 1, ..limits };
        let two = zip_of(&[("a.csv", b"1"), ("b.csv", b"2")]);
        assert_eq!(unpack(&two, &crowded), Err(IntakeError::ArchiveContent { files: 2 }));
        // Two entries over the same bytes: one bomb, many names.
        let mut overlapping = zip_of(&[("a.csv", &[b'1'; 100]), ("b.csv", &[b'2'; 100])]);
        let centrals: Vec<usize> =
            (0..overlapping.len() - 4).filter(|at| overlapping[*at..].starts_with(b"PK\x01\x02")).collect();
        overlapping[centrals[1] + 42..centrals[1] + 46].copy_from_slice(&0_u32.to_le_bytes());
        assert!(matches!(unpack(&overlapping, &limits), Err(IntakeError::ArchiveUnsafe | IntakeError::Archive)));
    }
}
