//! The records in SQLite.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use acequia_custody::{ConsentEvent, History};
use acequia_types::{DatasetName, Digest, DonorId, IntakeId, SourceId, Timestamp};
use serde_json::Value;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

use crate::error::sql;
use crate::{Added, Donation, Published, Release, State, Step, StoreError};

/// How long a command waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Layouts, oldest first. One is never changed once released; a new one is added.
const LAYOUTS: [&[&str]; 1] = [&[
    "CREATE TABLE donor_key (donor TEXT PRIMARY KEY NOT NULL, wrapped BLOB NOT NULL)",
    "CREATE TABLE donation (
        intake TEXT PRIMARY KEY NOT NULL, donor TEXT NOT NULL, source TEXT NOT NULL, format TEXT NOT NULL,
        plaintext TEXT NOT NULL, sealed TEXT NOT NULL, bytes BIGINT NOT NULL, mapping TEXT,
        received_at BIGINT NOT NULL, quarantine_code TEXT, detail TEXT NOT NULL)",
    "CREATE TABLE consent_event (
        donor TEXT NOT NULL, at BIGINT NOT NULL, event TEXT NOT NULL, PRIMARY KEY (donor, at, event))",
    "CREATE TABLE step (
        key TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, blobs TEXT NOT NULL, detail TEXT NOT NULL,
        finished_at BIGINT NOT NULL)",
    "CREATE TABLE published_version (
        dataset TEXT NOT NULL, version TEXT NOT NULL, manifest TEXT NOT NULL, seal TEXT NOT NULL, files TEXT NOT NULL,
        published_at BIGINT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (dataset, version))",
]];

/// The node's records. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

fn record(kind: &'static str) -> StoreError {
    StoreError::Record { kind }
}

fn text<T>(
    row: &SqliteRow,
    column: &str,
    kind: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text: String = row.try_get(column).map_err(|_| record(kind))?;
    parse(&text).ok_or(record(kind))
}

fn digest(row: &SqliteRow, column: &str, kind: &'static str) -> Result<Digest, StoreError> {
    text(row, column, kind, |text| Digest::parse(text).ok())
}

fn time(row: &SqliteRow, column: &str, kind: &'static str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_unix_s(row.try_get(column).map_err(|_| record(kind))?))
}

fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str, kind: &'static str) -> Result<T, StoreError> {
    text(row, column, kind, |text| serde_json::from_str(text).ok())
}

impl Store {
    /// Opens the records, making or upgrading them where needed.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Layout`], [`StoreError::Busy`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await;
        let store = Self { pool: pool.map_err(|_| StoreError::Open)? };
        store.upgrade().await?;
        Ok(store)
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // IMMEDIATE takes the write lock at once, so that what is read is still true when it is written.
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(sql("written"))
    }

    async fn upgrade(&self) -> Result<(), StoreError> {
        let known = i64::try_from(LAYOUTS.len()).unwrap_or(i64::MAX);
        let on_disk = |row: SqliteRow| row.try_get::<i64, _>(0).map_err(sql("read: layout"));
        let found =
            on_disk(sqlx::query("PRAGMA user_version").fetch_one(&self.pool).await.map_err(sql("read: layout"))?)?;
        if found > known {
            return Err(StoreError::Layout { found, known });
        }
        if found == known {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(sql("read: layout"))?;
        let found = usize::try_from(on_disk(row)?).unwrap_or(0);
        for statement in LAYOUTS.iter().skip(found).copied().flatten() {
            sqlx::query(*statement).execute(&mut *transaction).await.map_err(sql("written: layout"))?;
        }
        // PRAGMA takes no parameters; the number of layouts is fixed.
        const SET_LAYOUT: &str = "PRAGMA user_version = 1";
        sqlx::query(SET_LAYOUT).execute(&mut *transaction).await.map_err(sql("written: layout"))?;
        transaction.commit().await.map_err(sql("written: layout"))
    }

    /// A donor's key as it is wrapped under the node's root key.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn donor_key(&self, donor: &DonorId) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query("SELECT wrapped FROM donor_key WHERE donor = ?").bind(donor.as_str());
        let row = query.fetch_optional(&self.pool).await.map_err(sql("read: keys"))?;
        row.map(|row| row.try_get("wrapped").map_err(|_| record("key"))).transpose()
    }

    /// Records a donor's wrapped key unless there is one; returns the one that counts.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn put_donor_key_if_absent(&self, donor: &DonorId, wrapped: &[u8]) -> Result<Vec<u8>, StoreError> {
        let query = sqlx::query("INSERT INTO donor_key (donor, wrapped) VALUES (?, ?) ON CONFLICT (donor) DO NOTHING");
        query.bind(donor.as_str()).bind(wrapped).execute(&self.pool).await.map_err(sql("written: keys"))?;
        self.donor_key(donor).await?.ok_or(record("key"))
    }

    /// Destroys a donor's key, and overwrites its place on disk.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn destroy_donor_key(&self, donor: &DonorId) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(sql("written: keys"))?;
        for statement in ["PRAGMA secure_delete = ON"] {
            sqlx::query(statement).execute(&mut *connection).await.map_err(sql("written: keys"))?;
        }
        let query = sqlx::query("DELETE FROM donor_key WHERE donor = ?").bind(donor.as_str());
        query.execute(&mut *connection).await.map_err(sql("written: keys"))?;
        // The log still holds the old page until it is folded into the file.
        let fold = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        fold.execute(&mut *connection).await.map_err(sql("written: keys"))?;
        Ok(())
    }

    /// Records a donation; the same intake twice is one donation.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn add_donation(&self, donation: &Donation) -> Result<Added, StoreError> {
        let mut transaction = self.begin().await?;
        let query = sqlx::query("SELECT * FROM donation WHERE intake = ?").bind(donation.intake.as_str());
        let found = query.fetch_optional(&mut *transaction).await.map_err(sql("read: donations"))?;
        if let Some(row) = found {
            return Ok(Added::Same(Box::new(donation_of(&row)?)));
        }
        let code = match &donation.state {
            State::Accepted => None,
            State::Quarantined { code } => Some(code.as_str()),
        };
        let insert =
            "INSERT INTO donation (intake, donor, source, format, plaintext, sealed, bytes, mapping, received_at,
            quarantine_code, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(donation.intake.as_str())
            .bind(donation.donor.as_str())
            .bind(donation.source.as_str())
            .bind(&donation.format)
            .bind(donation.plaintext.to_string())
            .bind(donation.sealed.to_string())
            .bind(i64::try_from(donation.bytes).unwrap_or(i64::MAX))
            .bind(donation.mapping.map(|mapping| mapping.to_string()))
            .bind(donation.received_at.unix_s())
            .bind(code)
            .bind(donation.detail.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(sql("written: donations"))?;
        transaction.commit().await.map_err(sql("written: donations"))?;
        Ok(Added::New)
    }

    /// One donation.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn donation(&self, intake: &IntakeId) -> Result<Option<Donation>, StoreError> {
        let query = sqlx::query("SELECT * FROM donation WHERE intake = ?").bind(intake.as_str());
        let row = query.fetch_optional(&self.pool).await.map_err(sql("read: donations"))?;
        row.as_ref().map(donation_of).transpose()
    }

    /// Every donation, in the order of intake ids.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn donations(&self) -> Result<Vec<Donation>, StoreError> {
        let rows = sqlx::query("SELECT * FROM donation ORDER BY intake").fetch_all(&self.pool).await;
        rows.map_err(sql("read: donations"))?.iter().map(donation_of).collect()
    }

    /// Adds consent events; one that is on file already counts once. Returns how many were new.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn append_consent(&self, donor: &DonorId, events: &[ConsentEvent]) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let mut added = 0;
        for event in events {
            let event_text = serde_json::to_string(event).map_err(|_| record("consent"))?;
            let insert = "INSERT INTO consent_event (donor, at, event) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
            let query = sqlx::query(insert).bind(donor.as_str()).bind(event.at.unix_s()).bind(event_text);
            added += query.execute(&mut *transaction).await.map_err(sql("written: consent"))?.rows_affected();
        }
        transaction.commit().await.map_err(sql("written: consent"))?;
        Ok(added)
    }

    /// One donor's consent; `None` when nothing is on file or an event cannot be understood, which denies.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn consent(&self, donor: &DonorId) -> Result<Option<History>, StoreError> {
        let query = sqlx::query("SELECT donor, event FROM consent_event WHERE donor = ? ORDER BY at, event");
        let rows = query.bind(donor.as_str()).fetch_all(&self.pool).await.map_err(sql("read: consent"))?;
        Ok(histories(&rows).remove(donor))
    }

    /// Everybody's consent. A donor with an event that cannot be understood is left out, which denies.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn consents(&self) -> Result<BTreeMap<DonorId, History>, StoreError> {
        let query = sqlx::query("SELECT donor, event FROM consent_event ORDER BY donor, at, event");
        Ok(histories(&query.fetch_all(&self.pool).await.map_err(sql("read: consent"))?))
    }

    /// A finished step.
    ///
    /// # Errors
    /// [`StoreError::Sql`]. A step that cannot be understood is `None`: it is made again.
    pub async fn step(&self, key: &Digest) -> Result<Option<Step>, StoreError> {
        let query = sqlx::query("SELECT * FROM step WHERE key = ?").bind(key.to_string());
        let row = query.fetch_optional(&self.pool).await.map_err(sql("read: steps"))?;
        Ok(row.as_ref().and_then(|row| step_of(row).ok()))
    }

    /// Records a finished step. The first record of a key stays.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn put_step(&self, step: &Step) -> Result<(), StoreError> {
        let insert =
            "INSERT INTO step (key, name, blobs, detail, finished_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let query = sqlx::query(insert)
            .bind(step.key.to_string())
            .bind(&step.name)
            .bind(serde_json::to_string(&step.blobs).map_err(|_| record("step"))?)
            .bind(step.detail.to_string())
            .bind(step.finished_at.unix_s());
        query.execute(&self.pool).await.map_err(sql("written: steps"))?;
        Ok(())
    }

    /// Every finished step, in the order of keys.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn steps(&self) -> Result<Vec<Step>, StoreError> {
        let rows = sqlx::query("SELECT * FROM step ORDER BY key").fetch_all(&self.pool).await;
        rows.map_err(sql("read: steps"))?.iter().map(step_of).collect()
    }

    /// Forgets finished steps, so that they are made again.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn forget_steps(&self, keys: &[Digest]) -> Result<(), StoreError> {
        for key in keys {
            let query = sqlx::query("DELETE FROM step WHERE key = ?").bind(key.to_string());
            query.execute(&self.pool).await.map_err(sql("written: steps"))?;
        }
        Ok(())
    }

    /// Publishes a version. `decide` sees everybody's consent as it is in the very transaction that assigns the version,
    /// and returns the version or the reason why not.
    ///
    /// # Errors
    /// What `decide` returns; [`StoreError::Immutable`] when another manifest is out under the same version.
    pub async fn publish<E: From<StoreError>>(
        &self,
        decide: impl FnOnce(&BTreeMap<DonorId, History>) -> Result<Release, E>,
    ) -> Result<Published, E> {
        let mut transaction = self.begin().await?;
        let query = sqlx::query("SELECT donor, event FROM consent_event ORDER BY donor, at, event");
        let rows = query.fetch_all(&mut *transaction).await.map_err(sql("read: consent"))?;
        let release = decide(&histories(&rows))?;
        let (dataset, version) = (release.dataset.to_string(), release.version.clone());
        let query = sqlx::query("SELECT manifest FROM published_version WHERE dataset = ? AND version = ?");
        let found = query
            .bind(&dataset)
            .bind(&version)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(sql("read: versions"))?;
        if let Some(row) = found {
            return if digest(&row, "manifest", "version")? == release.manifest {
                Ok(Published::Already)
            } else {
                Err(StoreError::Immutable { dataset, version }.into())
            };
        }
        let insert = "INSERT INTO published_version (dataset, version, manifest, seal, files, published_at, detail)
            VALUES (?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(dataset)
            .bind(version)
            .bind(release.manifest.to_string())
            .bind(&release.seal)
            .bind(serde_json::to_string(&release.files).map_err(|_| record("version"))?)
            .bind(release.published_at.unix_s())
            .bind(release.detail.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(sql("written: versions"))?;
        transaction.commit().await.map_err(sql("written: versions"))?;
        Ok(Published::New)
    }

    /// Every published version, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn releases(&self) -> Result<Vec<Release>, StoreError> {
        let query = sqlx::query("SELECT * FROM published_version ORDER BY published_at, dataset, version");
        query.fetch_all(&self.pool).await.map_err(sql("read: versions"))?.iter().map(release_of).collect()
    }

    /// One published version.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn release(&self, dataset: &DatasetName, version: &str) -> Result<Option<Release>, StoreError> {
        let query = sqlx::query("SELECT * FROM published_version WHERE dataset = ? AND version = ?");
        let row = query.bind(dataset.to_string()).bind(version).fetch_optional(&self.pool).await;
        row.map_err(sql("read: versions"))?.as_ref().map(release_of).transpose()
    }

    /// SQLite's own integrity check.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub async fn check(&self) -> Result<(), StoreError> {
        let row = sqlx::query("PRAGMA integrity_check").fetch_one(&self.pool).await.map_err(|_| StoreError::Damaged)?;
        let words: String = row.try_get(0).map_err(|_| StoreError::Damaged)?;
        if words == "ok" { Ok(()) } else { Err(StoreError::Damaged) }
    }
}

fn histories(rows: &[SqliteRow]) -> BTreeMap<DonorId, History> {
    let mut by_donor: BTreeMap<DonorId, Option<Vec<ConsentEvent>>> = BTreeMap::new();
    for row in rows {
        let Ok(donor) = text(row, "donor", "consent", |text| DonorId::parse(text).ok()) else { continue };
        let events = by_donor.entry(donor).or_insert_with(|| Some(Vec::new()));
        match (json::<ConsentEvent>(row, "event", "consent"), events.as_mut()) {
            (Ok(event), Some(events)) => events.push(event),
            // One unreadable event makes the whole history unknown: it may have been a withdrawal.
            _ => *events = None,
        }
    }
    by_donor.into_iter().filter_map(|(donor, events)| Some((donor, History::new(events?)))).collect()
}

fn donation_of(row: &SqliteRow) -> Result<Donation, StoreError> {
    const KIND: &str = "donation";
    let mapping: Option<String> = row.try_get("mapping").map_err(|_| record(KIND))?;
    let code: Option<String> = row.try_get("quarantine_code").map_err(|_| record(KIND))?;
    let bytes: i64 = row.try_get("bytes").map_err(|_| record(KIND))?;
    Ok(Donation {
        intake: text(row, "intake", KIND, |text| IntakeId::parse(text).ok())?,
        donor: text(row, "donor", KIND, |text| DonorId::parse(text).ok())?,
        source: text(row, "source", KIND, |text| SourceId::parse(text).ok())?,
        format: row.try_get("format").map_err(|_| record(KIND))?,
        plaintext: digest(row, "plaintext", KIND)?,
        sealed: digest(row, "sealed", KIND)?,
        bytes: u64::try_from(bytes).map_err(|_| record(KIND))?,
        mapping: mapping.map(|text| Digest::parse(&text).map_err(|_| record(KIND))).transpose()?,
        received_at: time(row, "received_at", KIND)?,
        state: code.map_or(State::Accepted, |code| State::Quarantined { code }),
        detail: text(row, "detail", KIND, |text| Value::from_str(text).ok())?,
    })
}

fn step_of(row: &SqliteRow) -> Result<Step, StoreError> {
    const KIND: &str = "step";
    Ok(Step {
        key: digest(row, "key", KIND)?,
        name: row.try_get("name").map_err(|_| record(KIND))?,
        blobs: json(row, "blobs", KIND)?,
        detail: json(row, "detail", KIND)?,
        finished_at: time(row, "finished_at", KIND)?,
    })
}

fn release_of(row: &SqliteRow) -> Result<Release, StoreError> {
    const KIND: &str = "version";
    Ok(Release {
        dataset: text(row, "dataset", KIND, |text| DatasetName::parse(text).ok())?,
        version: row.try_get("version").map_err(|_| record(KIND))?,
        manifest: digest(row, "manifest", KIND)?,
        seal: row.try_get("seal").map_err(|_| record(KIND))?,
        files: json(row, "files", KIND)?,
        published_at: time(row, "published_at", KIND)?,
        detail: json(row, "detail", KIND)?,
    })
}
