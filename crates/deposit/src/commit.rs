//! A commit as clients send it: lines of JSON, read as they arrive.

use acequia_gate::is_plain_path;
use acequia_types::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::DepositError;

/// Longest line: a file that stands in the commit, in base64. Longer files travel by themselves.
pub const LONGEST_LINE_BYTES: usize = 16 << 20;

/// One line of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitLine {
    /// What the commit is about.
    Header {
        /// One line.
        title: String,
        /// The rest of the message.
        message: String,
        /// The commit that it was made from, if the client says.
        parent: Option<String>,
    },
    /// A file with its bytes.
    File {
        /// Where.
        path: String,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// A file whose bytes arrived before.
    Large {
        /// Where.
        path: String,
        /// SHA-256 of its bytes.
        oid: Digest,
        /// Length, if the client says.
        bytes: Option<u64>,
    },
    /// A file is not there any more.
    Delete {
        /// Which.
        path: String,
    },
    /// A folder is not there any more.
    DeleteFolder {
        /// Which, without slashes at its ends.
        path: String,
    },
}

/// Cuts lines out of what arrives, with one line in memory at a time.
#[derive(Debug, Default)]
pub struct CommitReader {
    rest: Vec<u8>,
    line: usize,
}

impl CommitReader {
    /// The lines that are whole now.
    ///
    /// # Errors
    /// [`DepositError::Line`], [`DepositError::Path`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<(usize, CommitLine)>, DepositError> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            lines.extend(self.take()?);
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > LONGEST_LINE_BYTES {
            return Err(DepositError::Line {
                line: self.line + 1,
                what: "is too long: large files travel by themselves",
            });
        }
        Ok(lines)
    }

    /// The last line, which need not end with a line break.
    ///
    /// # Errors
    /// As [`CommitReader::push`].
    pub fn finish(mut self) -> Result<Option<(usize, CommitLine)>, DepositError> {
        self.take()
    }

    fn take(&mut self) -> Result<Option<(usize, CommitLine)>, DepositError> {
        self.line += 1;
        let line = std::mem::take(&mut self.rest);
        if line.len() > LONGEST_LINE_BYTES {
            return Err(DepositError::Line { line: self.line, what: "is too long: large files travel by themselves" });
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        Ok(Some((self.line, parse(&line, self.line)?)))
    }
}

#[derive(Deserialize)]
struct Line {
    key: String,
    value: Value,
}

/// A path that a deposit can have. `.git` would be a repository inside for whoever downloads it.
fn path_of(value: &Value, line: usize) -> Result<String, DepositError> {
    let path = value.get("path").and_then(Value::as_str).ok_or(DepositError::Path { line })?;
    let plain = is_plain_path(path) && path.split('/').all(|part| !part.eq_ignore_ascii_case(".git"));
    if plain { Ok(path.to_owned()) } else { Err(DepositError::Path { line }) }
}

fn parse(bytes: &[u8], line: usize) -> Result<CommitLine, DepositError> {
    let wrong = |what| DepositError::Line { line, what };
    let Line { key, value } =
        serde_json::from_slice(bytes).map_err(|_| wrong("is no object with `key` and `value`"))?;
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    match key.as_str() {
        "header" => {
            let parent = text("parentCommit").filter(|parent| !parent.is_empty()).map(str::to_owned);
            let title = text("summary").unwrap_or_default().lines().next().unwrap_or_default();
            let title: String = title.chars().filter(|c| !c.is_control()).take(200).collect();
            let message: String = text("description").unwrap_or_default().chars().take(10_000).collect();
            Ok(CommitLine::Header { title, message, parent })
        }
        "file" => {
            let content = text("content").ok_or_else(|| wrong("has a file without content"))?;
            let content = match text("encoding").unwrap_or("utf-8") {
                "base64" => STANDARD.decode(content).map_err(|_| wrong("has a file that is no base64"))?,
                "utf-8" => content.as_bytes().to_vec(),
                _ => return Err(wrong("has a file in an encoding that is not known")),
            };
            Ok(CommitLine::File { path: path_of(&value, line)?, content })
        }
        "lfsFile" => {
            let oid = text("oid").and_then(|oid| Digest::parse(oid).ok());
            let oid = oid.filter(|_| matches!(text("algo").unwrap_or("sha256"), "sha256" | "sha_256"));
            let oid = oid.ok_or_else(|| wrong("has a large file without its SHA-256"))?;
            Ok(CommitLine::Large {
                path: path_of(&value, line)?,
                oid,
                bytes: value.get("size").and_then(Value::as_u64),
            })
        }
        "deletedFile" | "deletedEntry" => Ok(CommitLine::Delete { path: path_of(&value, line)? }),
        "deletedFolder" => {
            let path = text("path").ok_or(DepositError::Path { line })?.trim_matches('/');
            let plain = path_of(&serde_json::json!({ "path": path }), line)?;
            Ok(CommitLine::DeleteFolder { path: plain })
        }
        _ => Err(wrong("has a `key` that is not known")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<CommitLine>, DepositError> {
        let mut reader = CommitReader::default();
        let mut lines = Vec::new();
        for piece in pieces {
            lines.extend(reader.push(piece)?);
        }
        lines.extend(reader.finish()?);
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    const COMMIT: &str = concat!(
        r#"{"key":"header","value":{"summary":"First\nsecond","description":"d","parentCommit":"ab"}}"#,
        "\n",
        r#"{"key":"file","value":{"content":"aGk=","path":"README.md","encoding":"base64"}}"#,
        "\n\n",
        r#"{"key":"lfsFile","value":{"path":"a/b.parquet","algo":"sha256","oid":"#,
        r#""e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":7}}"#,
        "\n",
        r#"{"key":"deletedFolder","value":{"path":"old/"}}"#,
    );

    #[test]
    fn lines_are_read_as_clients_write_them() {
        let lines = read(&[COMMIT.as_bytes()]).unwrap();
        assert_eq!(lines.len(), 4);
        let parent = Some("ab".to_owned());
        assert_eq!(lines[0], CommitLine::Header { title: "First".into(), message: "d".into(), parent });
        assert_eq!(lines[1], CommitLine::File { path: "README.md".into(), content: b"hi".to_vec() });
        assert_eq!(lines[2], CommitLine::Large { path: "a/b.parquet".into(), oid: Digest::of(b""), bytes: Some(7) });
        assert_eq!(lines[3], CommitLine::DeleteFolder { path: "old".into() });
    }

    #[test]
    fn what_is_no_commit_is_refused_with_its_line() {
        for (text, code) in [
            ("x", "DP004"),
            ("[]", "DP004"),
            (r#"{"key":"squash","value":{}}"#, "DP004"),
            (r#"{"key":"file","value":{"path":"a","content":"%","encoding":"base64"}}"#, "DP004"),
            (r#"{"key":"lfsFile","value":{"path":"a","oid":"1"}}"#, "DP004"),
            (r#"{"key":"file","value":{"path":"../a","content":""}}"#, "DP005"),
            (r#"{"key":"file","value":{"path":"a//b","content":""}}"#, "DP005"),
            (r#"{"key":"file","value":{"path":".git/config","content":""}}"#, "DP005"),
            (r#"{"key":"deletedFile","value":{"path":"/a"}}"#, "DP005"),
        ] {
            use acequia_types::Coded;
            let text = format!("\n{text}\n");
            let error = read(&[text.as_bytes()]).unwrap_err();
            assert_eq!(error.code(), code, "{text}");
            assert!(error.to_string().contains("line 2"), "{error}");
        }
        let long = vec![b' '; LONGEST_LINE_BYTES + 1];
        assert!(read(&[&long]).is_err() && read(&[&long, b"\n"]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_does_not_matter_how_lines_arrive(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(COMMIT.len())).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([COMMIT.len()]);
            let pieces: Vec<&[u8]> =
                cuts.iter().copied().rev().chain([0]).collect::<Vec<_>>().into_iter().rev().zip(ends)
                    .map(|(from, to)| &COMMIT.as_bytes()[from..to]).collect();
            prop_assert_eq!(read(&pieces).unwrap(), read(&[COMMIT.as_bytes()]).unwrap());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&[&bytes]);
        }
    }
}
