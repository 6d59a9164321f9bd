//! Commits as clients of the Hub send them, in pieces of any length.

#![no_main]

use acequia_deposit::{CommitLine, CommitReader};
use libfuzzer_sys::fuzz_target;

fn read(pieces: &mut dyn Iterator<Item = &[u8]>) -> Option<Vec<(usize, CommitLine)>> {
    let (mut reader, mut lines) = (CommitReader::default(), Vec::new());
    for piece in pieces {
        lines.extend(reader.push(piece).ok()?);
    }
    lines.extend(reader.finish().ok()?);
    Some(lines)
}

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how long the pieces are.
    let [step, bytes @ ..] = bytes else { return };
    let whole = read(&mut std::iter::once(bytes));
    assert_eq!(read(&mut bytes.chunks(usize::from(*step) + 1)), whole);
    for (_, line) in whole.unwrap_or_default() {
        let (CommitLine::File { path, .. }
        | CommitLine::Large { path, .. }
        | CommitLine::Delete { path }
        | CommitLine::DeleteFolder { path }) = line
        else {
            continue;
        };
        // Whoever downloads it joins it to a folder.
        assert!(!path.is_empty() && !path.starts_with('/') && path.split('/').all(|part| !["", ".", "..", ".git"].contains(&part)));
    }
});
