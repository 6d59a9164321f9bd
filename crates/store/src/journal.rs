//! Journals: streams of entries that are only ever added, each chained to the one before.
//!
//! An entry names a donor by the subject's random name, so that after erasure it still says what was done and when, but no
//! longer about whom. What an entry says is up to whoever writes the stream; no value of a record goes in.

use std::collections::BTreeSet;

use acequia_custody::{ChainBroken, History, Purpose, Reason};
use acequia_types::{Digest, DonorId, Timestamp, digest_named};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::database::{digest, json, record, time};
use crate::error::sql;
use crate::{Store, StoreError, Tombstone};

const KIND: &str = "journal";
/// Stream of accesses to donors' records.
const ACCESS: &str = "access";
/// Stream of tombstones.
const VERSIONS: &str = "versions";

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Place in the stream, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// About whom, by random name.
    pub subject: Option<String>,
    /// What.
    pub entry: Value,
    /// Digest of the entry, over everything before it too.
    pub digest: Digest,
}

/// An access to a donor's record, opened or refused (reference design §3.11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Which part of the program, or who.
    pub actor: String,
    /// For what; nothing when the data were handed back to the donor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// Why: the data set or request it was for.
    pub reason: String,
    /// How many objects.
    pub objects: u64,
    /// Why it was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Reason>,
}

fn link(stream: &str, number: u64, at: Timestamp, subject: Option<&str>, entry: &str, previous: &Digest) -> Digest {
    let parts: [(&str, &[u8]); 7] = [
        ("stream", stream.as_bytes()),
        ("number", &number.to_le_bytes()),
        ("at", &at.unix_s().to_le_bytes()),
        ("has subject", &[u8::from(subject.is_some())]),
        ("subject", subject.unwrap_or_default().as_bytes()),
        ("entry", entry.as_bytes()),
        ("previous", previous.as_bytes()),
    ];
    digest_named("acequia journal v1", parts)
}

fn beginning(stream: &str) -> Digest {
    digest_named("acequia journal beginning v1", [("stream", stream.as_bytes())])
}

fn number(row: &AnyRow) -> Result<u64, StoreError> {
    let number: i64 = row.try_get("number").map_err(|_| record(KIND))?;
    u64::try_from(number).map_err(|_| record(KIND))
}

fn entry_of(row: &AnyRow) -> Result<Entry, StoreError> {
    Ok(Entry {
        number: number(row)?,
        at: time(row, "at", KIND)?,
        subject: row.try_get("subject").map_err(|_| record(KIND))?,
        entry: json(row, "entry", KIND)?,
        digest: digest(row, "digest", KIND)?,
    })
}

/// Adds an entry inside a transaction.
pub(crate) async fn append(
    connection: &mut AnyConnection,
    stream: &str,
    at: Timestamp,
    subject: Option<&str>,
    entry: &Value,
) -> Result<u64, StoreError> {
    let last = "SELECT number, digest FROM journal WHERE stream = $1 ORDER BY number DESC LIMIT 1";
    let last = sqlx::query(last).bind(stream.to_owned()).fetch_optional(&mut *connection).await;
    let (place, previous) = match last.map_err(sql("read: journal"))? {
        Some(row) => (number(&row)? + 1, digest(&row, "digest", KIND)?),
        None => (1, beginning(stream)),
    };
    let text = entry.to_string();
    let chained = link(stream, place, at, subject, &text, &previous);
    let insert = "INSERT INTO journal (stream, number, at, subject, entry, previous, digest)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let query = sqlx::query(insert).bind(stream.to_owned()).bind(i64::try_from(place).map_err(|_| record(KIND))?);
    let query = query.bind(at.unix_s()).bind(subject.map(str::to_owned)).bind(text).bind(previous.to_string());
    query.bind(chained.to_string()).execute(connection).await.map_err(sql("written: journal"))?;
    Ok(place)
}

async fn read(connection: &mut AnyConnection, stream: &str) -> Result<Vec<Entry>, StoreError> {
    let query = "SELECT number, at, subject, entry, digest FROM journal WHERE stream = $1 ORDER BY number";
    let rows = sqlx::query(query).bind(stream.to_owned()).fetch_all(connection).await;
    rows.map_err(sql("read: journal"))?.iter().map(entry_of).collect()
}

/// Puts a tombstone on record inside a transaction, unless the version has one. Says whether it is new.
pub(crate) async fn bury(
    connection: &mut AnyConnection,
    tombstone: &Tombstone,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let same = |(_, other): &(Timestamp, Tombstone)| {
        (&other.dataset, &other.version) == (&tombstone.dataset, &tombstone.version)
    };
    if tombstones(read(connection, VERSIONS).await?)?.iter().any(same) {
        return Ok(false);
    }
    let entry = serde_json::to_value(tombstone).map_err(|_| record(KIND))?;
    append(connection, VERSIONS, at, None, &entry).await?;
    Ok(true)
}

fn tombstones(entries: Vec<Entry>) -> Result<Vec<(Timestamp, Tombstone)>, StoreError> {
    let read = |entry: Entry| Ok((entry.at, Tombstone::deserialize(&entry.entry).map_err(|_| record(KIND))?));
    entries.into_iter().map(read).collect()
}

impl Store {
    /// Versions that are not served any more, and since when, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn tombstones(&self) -> Result<Vec<(Timestamp, Tombstone)>, StoreError> {
        tombstones(self.entries(VERSIONS).await?)
    }

    /// Puts a tombstone on record; a version that has one keeps it. Says whether it is new.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn take_down(&self, tombstone: &Tombstone, at: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let new = bury(&mut transaction, tombstone, at).await?;
        transaction.commit().await.map_err(sql("written: journal"))?;
        Ok(new)
    }

    /// Adds an entry to a stream. `decide` sees the stream as it is in the very transaction that adds to it, and returns the
    /// entry or the reason why not.
    ///
    /// # Errors
    /// What `decide` returns; [`StoreError::Sql`].
    pub async fn append_entry<E: From<StoreError>>(
        &self,
        stream: &str,
        at: Timestamp,
        subject: Option<&str>,
        decide: impl FnOnce(&[Entry]) -> Result<Value, E>,
    ) -> Result<u64, E> {
        let mut transaction = self.begin().await?;
        let entry = decide(&read(&mut transaction, stream).await?)?;
        let number = append(&mut transaction, stream, at, subject, &entry).await?;
        transaction.commit().await.map_err(sql("written: journal"))?;
        Ok(number)
    }

    /// The same for any number of entries, all or none.
    ///
    /// # Errors
    /// Those of `decide`; [`StoreError::Sql`].
    pub async fn append_entries<E: From<StoreError>>(
        &self,
        stream: &str,
        at: Timestamp,
        decide: impl FnOnce(&[Entry]) -> Result<Vec<Value>, E>,
    ) -> Result<(), E> {
        let mut transaction = self.begin().await?;
        for entry in decide(&read(&mut transaction, stream).await?)? {
            append(&mut transaction, stream, at, None, &entry).await?;
        }
        transaction.commit().await.map_err(sql("written: journal"))?;
        Ok(())
    }

    /// Adds an entry to a stream whose last entry still is number `last` (0: it has none). `None` when somebody else was first, and
    /// nothing was added. For streams that are too long to read at every entry.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn append_after(
        &self,
        stream: &str,
        last: u64,
        at: Timestamp,
        entry: &Value,
    ) -> Result<Option<u64>, StoreError> {
        let mut transaction = self.begin().await?;
        let query = "SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM journal WHERE stream = $1";
        let row = sqlx::query(query).bind(stream.to_owned()).fetch_one(&mut *transaction).await;
        if number(&row.map_err(sql("read: journal"))?)? != last {
            return Ok(None);
        }
        let number = append(&mut transaction, stream, at, None, entry).await?;
        transaction.commit().await.map_err(sql("written: journal"))?;
        Ok(Some(number))
    }

    /// A stream from entry number `last + 1` on, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn entries_after(&self, stream: &str, last: u64) -> Result<Vec<Entry>, StoreError> {
        let query =
            "SELECT number, at, subject, entry, digest FROM journal WHERE stream = $1 AND number > $2 ORDER BY number";
        let query = sqlx::query(query).bind(stream.to_owned()).bind(i64::try_from(last).map_err(|_| record(KIND))?);
        query.fetch_all(&self.pool).await.map_err(sql("read: journal"))?.iter().map(entry_of).collect()
    }

    /// A stream, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn entries(&self, stream: &str) -> Result<Vec<Entry>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(sql("read: journal"))?;
        read(&mut connection, stream).await
    }

    /// How many entries a stream has. Much cheaper than to read it.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn length(&self, stream: &str) -> Result<u64, StoreError> {
        let query = "SELECT COALESCE(MAX(number), 0) AS number FROM journal WHERE stream = $1";
        let row = sqlx::query(query).bind(stream.to_owned()).fetch_one(&self.pool).await;
        number(&row.map_err(sql("read: journal"))?)
    }

    /// What a stream says about one subject, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn entries_about(&self, stream: &str, subject: &str) -> Result<Vec<Entry>, StoreError> {
        let query =
            "SELECT number, at, subject, entry, digest FROM journal WHERE subject = $1 AND stream = $2 ORDER BY number";
        let rows = sqlx::query(query).bind(subject.to_owned()).bind(stream.to_owned()).fetch_all(&self.pool).await;
        rows.map_err(sql("read: journal"))?.iter().map(entry_of).collect()
    }

    /// Names of the streams that begin with `prefix`, in order.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT DISTINCT stream FROM journal ORDER BY stream").fetch_all(&self.pool).await;
        let mut names = Vec::new();
        for row in rows.map_err(sql("read: journal"))? {
            let name: String = row.try_get("stream").map_err(|_| record(KIND))?;
            if name.starts_with(prefix) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Asks some donors' consent in the transaction that puts the access on record, so that a withdrawal is either seen here or
    /// comes after. `decide` says of each donor whether the access is refused, and why. Returns the donors that may be opened.
    ///
    /// # Errors
    /// [`StoreError::Sql`]; then nothing may be opened.
    pub async fn record_access<'d>(
        &self,
        donors: &[(&'d DonorId, u64)],
        access: &Access,
        at: Timestamp,
        decide: impl Fn(&DonorId, Option<&History>) -> Option<Reason>,
    ) -> Result<BTreeSet<&'d DonorId>, StoreError> {
        let mut transaction = self.begin().await?;
        let names: BTreeSet<&DonorId> = donors.iter().map(|(donor, _)| *donor).collect();
        let histories = crate::consent::histories_of_some(&mut transaction, &names).await?;
        let mut open = BTreeSet::new();
        for (donor, objects) in donors {
            let refused = decide(donor, histories.get(*donor));
            if refused.is_none() {
                open.insert(*donor);
            }
            let entry = Access { objects: *objects, refused, ..access.clone() };
            let entry = serde_json::to_value(entry).map_err(|_| record(KIND))?;
            let subject = crate::consent::subject_of(&mut transaction, donor).await?;
            append(&mut transaction, ACCESS, at, Some(&subject), &entry).await?;
        }
        transaction.commit().await.map_err(sql("written: journal"))?;
        Ok(open)
    }

    /// Every access, or those to one subject's records: the donor's own part.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn accesses(&self, subject: Option<&str>) -> Result<Vec<(Entry, Access)>, StoreError> {
        let read = |entry: Entry| {
            let access = Access::deserialize(&entry.entry).map_err(|_| record(KIND))?;
            Ok((entry, access))
        };
        let entries = match subject {
            Some(subject) => self.entries_about(ACCESS, subject).await?,
            None => self.entries(ACCESS).await?,
        };
        entries.into_iter().map(read).collect()
    }

    /// Verifies every journal. Returns how many entries there are.
    ///
    /// # Errors
    /// [`StoreError::Chain`] with the first place that is wrong.
    pub async fn verify_journals(&self) -> Result<u64, StoreError> {
        let query = "SELECT stream, number, at, subject, entry, previous, digest FROM journal ORDER BY stream, number";
        let rows = sqlx::query(query).fetch_all(&self.pool).await.map_err(sql("read: journal"))?;
        let (mut stream, mut place, mut previous) = (None::<String>, 0, Digest::of(b""));
        for row in &rows {
            let name: String = row.try_get("stream").map_err(|_| record(KIND))?;
            if stream.as_ref() != Some(&name) {
                (place, previous) = (0, beginning(&name));
            }
            place += 1;
            let broken = |broken| StoreError::Chain { broken };
            if number(row)? != place || digest(row, "previous", KIND)? != previous {
                return Err(broken(ChainBroken::Order { place }));
            }
            let subject: Option<String> = row.try_get("subject").map_err(|_| record(KIND))?;
            let text: String = row.try_get("entry").map_err(|_| record(KIND))?;
            let found = digest(row, "digest", KIND)?;
            if link(&name, place, time(row, "at", KIND)?, subject.as_deref(), &text, &previous) != found {
                return Err(broken(ChainBroken::Changed { place }));
            }
            (stream, previous) = (Some(name), found);
        }
        Ok(rows.len() as u64)
    }
}
