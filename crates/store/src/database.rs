//! The records in SQLite or PostgreSQL. Both understand the statements here; where they differ, `dialect` decides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use acequia_custody::History;
use acequia_types::{DatasetName, Digest, DonorId, IntakeId, SourceId, Timestamp};
use serde_json::Value;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, Connection, Executor, Row, Transaction};

use crate::error::sql;
use crate::layouts::{self, Dialect};
use crate::{Added, Donation, Publication, Published, Release, State, Step, StoreError};

/// How long a command waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The node's records. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: AnyPool,
    pub(crate) dialect: Dialect,
}

pub(crate) fn record(kind: &'static str) -> StoreError {
    StoreError::Record { kind }
}

pub(crate) fn text<T>(
    row: &AnyRow,
    column: &str,
    kind: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text: String = row.try_get(column).map_err(|_| record(kind))?;
    parse(&text).ok_or(record(kind))
}

pub(crate) fn digest(row: &AnyRow, column: &str, kind: &'static str) -> Result<Digest, StoreError> {
    text(row, column, kind, |text| Digest::parse(text).ok())
}

pub(crate) fn time(row: &AnyRow, column: &str, kind: &'static str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_unix_s(row.try_get(column).map_err(|_| record(kind))?))
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(
    row: &AnyRow,
    column: &str,
    kind: &'static str,
) -> Result<T, StoreError> {
    text(row, column, kind, |text| serde_json::from_str(text).ok())
}

impl Store {
    /// Opens the records in an SQLite file, making or upgrading them where needed.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Layout`], [`StoreError::Busy`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::connect(&sqlite_url(path)).await
    }

    /// Opens the records by URL: `sqlite://file?mode=rwc` or `postgres://user@host/database`. They are made or upgraded where
    /// needed.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let dialect = Dialect::of(url).ok_or(StoreError::Open)?;
        let settings: &[&str] = match dialect {
            Dialect::Sqlite => &[
                "PRAGMA busy_timeout = 10000",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
                // What is deleted is overwritten.
                "PRAGMA secure_delete = ON",
            ],
            Dialect::Postgres => &["SET lock_timeout = 10000", "SET client_min_messages = warning"],
        };
        let pool = pool(url, 4, settings).await?;
        let store = Self { pool, dialect };
        store.upgrade().await?;
        Ok(store)
    }

    /// Begins a transaction that is the only one to write, so that what is read is still true when it is written.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        match self.dialect {
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(sql("written")),
            Dialect::Postgres => {
                let mut transaction = self.pool.begin().await.map_err(sql("written"))?;
                transaction.execute("LOCK TABLE layout IN EXCLUSIVE MODE").await.map_err(sql("written"))?;
                Ok(transaction)
            }
        }
    }

    async fn upgrade(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(sql("read: layout"))?;
        let known = layouts::KNOWN;
        let found = layouts::found(&mut connection, self.dialect).await?;
        if found > known {
            return Err(StoreError::Layout { found, known });
        }
        if found == known {
            return Ok(());
        }
        let mut transaction = match self.dialect {
            Dialect::Sqlite => connection.begin_with("BEGIN IMMEDIATE").await.map_err(sql("written: layout"))?,
            Dialect::Postgres => {
                let mut transaction = connection.begin().await.map_err(sql("written: layout"))?;
                let make = "CREATE TABLE IF NOT EXISTS layout (version BIGINT NOT NULL)";
                transaction.execute(make).await.map_err(sql("written: layout"))?;
                let lock = "LOCK TABLE layout IN EXCLUSIVE MODE";
                transaction.execute(lock).await.map_err(sql("written: layout"))?;
                transaction
            }
        };
        // Another command may have been first.
        let found = layouts::found(&mut transaction, self.dialect).await?;
        layouts::upgrade(&mut transaction, self.dialect, found).await?;
        transaction.commit().await.map_err(sql("written: layout"))
    }

    /// Donors' keys that lie among the records, as they did before there was a key store of their own.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn old_donor_keys(&self) -> Result<Vec<(DonorId, Vec<u8>)>, StoreError> {
        if self.dialect == Dialect::Postgres {
            return Ok(Vec::new());
        }
        let rows = sqlx::query("SELECT donor, wrapped FROM donor_key ORDER BY donor").fetch_all(&self.pool).await;
        let key = |row: &AnyRow| {
            let donor = text(row, "donor", "key", |text| DonorId::parse(text).ok())?;
            Ok((donor, row.try_get("wrapped").map_err(|_| record("key"))?))
        };
        rows.map_err(sql("read: keys"))?.iter().map(key).collect()
    }

    /// Destroys a donor's key among the records, and overwrites its place on disk.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn destroy_donor_key(&self, donor: &DonorId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM donor_key WHERE donor = $1").bind(donor.as_str());
        query.execute(&self.pool).await.map_err(sql("written: keys"))?;
        self.fold().await
    }

    /// Folds the write-ahead log into the file, so that overwritten pages are gone from both. A crash between an erasure and this leaves
    /// them in the log: whoever goes on with the erasure folds again.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another command reads; [`StoreError::Sql`].
    pub async fn fold(&self) -> Result<(), StoreError> {
        match self.dialect {
            Dialect::Sqlite => {
                // The row it answers with is read, or the checkpoint would not be finished. It says whether somebody was in the way.
                let rows = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&self.pool).await;
                let rows = rows.map_err(sql("written: log"))?;
                let busy = rows.iter().any(|row| row.try_get::<i64, _>(0).is_ok_and(|busy| busy != 0));
                if busy { Err(StoreError::Busy) } else { Ok(()) }
            }
            Dialect::Postgres => Ok(()),
        }
    }

    /// Records a donation; the same intake twice is one donation.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn add_donation(&self, donation: &Donation) -> Result<Added, StoreError> {
        let mut transaction = self.begin().await?;
        let query = sqlx::query("SELECT * FROM donation WHERE intake = $1").bind(donation.intake.as_str());
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
            quarantine_code, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
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
        let query = sqlx::query("SELECT * FROM donation WHERE intake = $1").bind(intake.as_str());
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

    /// What one donor gave, in the order of intake ids.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn donations_of(&self, donor: &DonorId) -> Result<Vec<Donation>, StoreError> {
        let query = sqlx::query("SELECT * FROM donation WHERE donor = $1 ORDER BY intake").bind(donor.as_str());
        let rows = query.fetch_all(&self.pool).await;
        rows.map_err(sql("read: donations"))?.iter().map(donation_of).collect()
    }

    /// What belongs to one source, in the order of intake ids.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn donations_from(&self, source: &SourceId) -> Result<Vec<Donation>, StoreError> {
        let query = sqlx::query("SELECT * FROM donation WHERE source = $1 ORDER BY intake").bind(source.as_str());
        let rows = query.fetch_all(&self.pool).await;
        rows.map_err(sql("read: donations"))?.iter().map(donation_of).collect()
    }

    /// Donors of whom something belongs to another source than this one.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn donors_beside(&self, source: &SourceId) -> Result<BTreeSet<DonorId>, StoreError> {
        let query = "SELECT DISTINCT donor FROM donation WHERE source <> $1";
        let rows = sqlx::query(query).bind(source.as_str()).fetch_all(&self.pool).await;
        let donor = |row: &AnyRow| text(row, "donor", "donation", |text| DonorId::parse(text).ok());
        rows.map_err(sql("read: donations"))?.iter().map(donor).collect()
    }

    /// A finished step.
    ///
    /// # Errors
    /// [`StoreError::Sql`]. A step that cannot be understood is `None`: it is made again.
    pub async fn step(&self, key: &Digest) -> Result<Option<Step>, StoreError> {
        let query = sqlx::query("SELECT * FROM step WHERE key = $1").bind(key.to_string());
        let row = query.fetch_optional(&self.pool).await.map_err(sql("read: steps"))?;
        Ok(row.as_ref().and_then(|row| step_of(row).ok()))
    }

    /// Records a finished step. The first record of a key stays.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn put_step(&self, step: &Step) -> Result<(), StoreError> {
        let insert = "INSERT INTO step (key, name, blobs, detail, finished_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
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
            let query = sqlx::query("DELETE FROM step WHERE key = $1").bind(key.to_string());
            query.execute(&self.pool).await.map_err(sql("written: steps"))?;
        }
        Ok(())
    }

    /// Publishes a version. `decide` sees everybody's consent as it is in the very transaction that assigns the version,
    /// and returns the version, perhaps with tombstones of earlier ones that go on record with it, or the reason why not.
    ///
    /// # Errors
    /// What `decide` returns; [`StoreError::Immutable`] when another manifest is out under the same version.
    pub async fn publish<E: From<StoreError>, P: Into<Publication>>(
        &self,
        decide: impl FnOnce(&BTreeMap<DonorId, History>) -> Result<P, E>,
    ) -> Result<Published, E> {
        let mut transaction = self.begin().await?;
        let Publication { release, superseded } = decide(&crate::consent::histories(&mut transaction).await?)?.into();
        let (dataset, version) = (release.dataset.to_string(), release.version.clone());
        let query = sqlx::query("SELECT manifest FROM published_version WHERE dataset = $1 AND version = $2");
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
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
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
        for tombstone in &superseded {
            crate::journal::bury(&mut transaction, tombstone, release.published_at).await?;
        }
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
        let query = sqlx::query("SELECT * FROM published_version WHERE dataset = $1 AND version = $2");
        let row = query.bind(dataset.to_string()).bind(version).fetch_optional(&self.pool).await;
        row.map_err(sql("read: versions"))?.as_ref().map(release_of).transpose()
    }

    /// The database's own integrity check, and every chain.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Chain`].
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.dialect == Dialect::Sqlite {
            let check = sqlx::query("PRAGMA integrity_check").fetch_one(&self.pool).await;
            let words: String = check.and_then(|row| row.try_get(0)).map_err(|_| StoreError::Damaged)?;
            if words != "ok" {
                return Err(StoreError::Damaged);
            }
        }
        self.verify_consents().await?;
        self.verify_journals().await.map(drop)
    }
}

/// URL of an SQLite file.
pub(crate) fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => url.push(char::from(*byte)),
            byte => url.push_str(&format!("%{byte:02x}")),
        }
    }
    url + "?mode=rwc"
}

/// Connections to a database, each with these settings.
pub(crate) async fn pool(url: &str, most: u32, settings: &'static [&'static str]) -> Result<AnyPool, StoreError> {
    // Installing the drivers again is refused and changes nothing.
    let _ = sqlx::any::install_drivers(&[sqlx::sqlite::any::DRIVER, sqlx::postgres::any::DRIVER]);
    // The pool's task that closes idle connections can spin without end while the program ends; without limits on their
    // age it is not started.
    let ages = AnyPoolOptions::new().idle_timeout(None).max_lifetime(None);
    let options = ages.max_connections(most).acquire_timeout(BUSY_TIMEOUT);
    let options = options.after_connect(move |connection, _| {
        Box::pin(async move {
            for setting in settings {
                // A PRAGMA may answer with a row; it is read, or the statement would not be finished.
                sqlx::query(*setting).fetch_all(&mut *connection).await?;
            }
            Ok(())
        })
    });
    options.connect(url).await.map_err(|_| StoreError::Open)
}

fn donation_of(row: &AnyRow) -> Result<Donation, StoreError> {
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

fn step_of(row: &AnyRow) -> Result<Step, StoreError> {
    const KIND: &str = "step";
    Ok(Step {
        key: digest(row, "key", KIND)?,
        name: row.try_get("name").map_err(|_| record(KIND))?,
        blobs: json(row, "blobs", KIND)?,
        detail: json(row, "detail", KIND)?,
        finished_at: time(row, "finished_at", KIND)?,
    })
}

fn release_of(row: &AnyRow) -> Result<Release, StoreError> {
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
