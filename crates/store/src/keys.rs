//! The key store: donors' keys and those of deposits, wrapped, in an SQLite file of their own.
//!
//! It is kept apart from the records so that a backup of the records holds no key. Its own backups live for days, not
//! years: a copy of it brings back the keys that were destroyed since. There is one epoch at a time; every donor's key is
//! wrapped under the key of the epoch. Destroying a donor's key begins a new epoch, so that older copies of a wrapped key are
//! of no use to anybody who lacks the old epoch's key, which is gone.
//!
//! No write-ahead log: what is deleted is overwritten in the one file (`secure_delete`), and the rollback journal, which holds
//! what was there before, is emptied when a change is done. A journal that were only marked as done would keep destroyed keys.
//! Source: reference design §3.5.

use std::path::Path;

use acequia_types::{DonorId, Timestamp};
use sqlx::{AnyPool, Row};

use crate::StoreError;
use crate::database::{record, sqlite_url, text};
use crate::error::sql;

const KIND: &str = "key";
/// Newest layout of the key store this program knows.
const KNOWN: i64 = 2;

/// A wrapped key with the donor it belongs to.
pub type Wrapped = (DonorId, Vec<u8>);

/// The epoch under whose key all donors' keys are wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Rising number.
    pub number: u64,
    /// Its key, wrapped under the node's root.
    pub wrapped: Vec<u8>,
    /// When it began.
    pub began_at: Timestamp,
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Epoch({})", self.number)
    }
}

/// Donors' keys, wrapped. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyStore {
    pool: AnyPool,
}

fn read() -> impl FnOnce(sqlx::Error) -> StoreError {
    sql("read: keys")
}

fn written() -> impl FnOnce(sqlx::Error) -> StoreError {
    sql("written: keys")
}

fn epoch_of(row: &sqlx::any::AnyRow) -> Result<Epoch, StoreError> {
    let number: i64 = row.try_get("number").map_err(|_| record(KIND))?;
    let began_at: i64 = row.try_get("began_at").map_err(|_| record(KIND))?;
    Ok(Epoch {
        number: u64::try_from(number).map_err(|_| record(KIND))?,
        wrapped: row.try_get("wrapped").map_err(|_| record(KIND))?,
        began_at: Timestamp::from_unix_s(began_at),
    })
}

impl KeyStore {
    /// Opens the key store, making it where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Layout`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = crate::database::pool(
            &sqlite_url(path),
            1,
            &[
                "PRAGMA busy_timeout = 10000",
                "PRAGMA journal_mode = TRUNCATE",
                "PRAGMA synchronous = FULL",
                // Overwrites deleted content.
                "PRAGMA secure_delete = ON",
            ],
        )
        .await?;
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(written())?;
        let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(read())?;
        let found: i64 = row.try_get(0).map_err(read())?;
        if found > KNOWN {
            return Err(StoreError::Layout { found, known: KNOWN });
        }
        // Older programs left journals that were only marked as done; any change empties them.
        let mut journal = path.as_os_str().to_owned();
        journal.push("-journal");
        if found == KNOWN && std::fs::metadata(&journal).is_ok_and(|file| file.len() > 0) {
            sqlx::query("PRAGMA user_version = 2").execute(&mut *transaction).await.map_err(written())?;
        }
        let mut statements: Vec<&'static str> = Vec::new();
        if found < 1 {
            statements.extend([
                "CREATE TABLE epoch (number INTEGER PRIMARY KEY NOT NULL, wrapped BLOB NOT NULL, began_at INTEGER NOT NULL) STRICT",
                "CREATE TABLE donor_key (donor TEXT PRIMARY KEY NOT NULL, wrapped BLOB NOT NULL) STRICT",
            ]);
        }
        if found < KNOWN {
            statements.extend([
                "CREATE TABLE deposit_key (deposit TEXT PRIMARY KEY NOT NULL, wrapped BLOB NOT NULL) STRICT",
                "PRAGMA user_version = 2",
            ]);
        }
        for statement in statements {
            sqlx::query(statement).execute(&mut *transaction).await.map_err(written())?;
        }
        transaction.commit().await.map_err(written())?;
        Ok(Self { pool })
    }

    /// The epoch; begun with `wrapped` when there is none yet.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn epoch(&self, wrapped: &[u8], now: Timestamp) -> Result<Epoch, StoreError> {
        let insert =
            "INSERT INTO epoch (number, wrapped, began_at) SELECT 1, $1, $2 WHERE NOT EXISTS (SELECT 1 FROM epoch)";
        let query = sqlx::query(insert).bind(wrapped.to_vec()).bind(now.unix_s());
        query.execute(&self.pool).await.map_err(written())?;
        epoch_of(&sqlx::query("SELECT * FROM epoch").fetch_one(&self.pool).await.map_err(read())?)
    }

    /// The epoch, if one has begun.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn current_epoch(&self) -> Result<Option<Epoch>, StoreError> {
        let row = sqlx::query("SELECT * FROM epoch").fetch_optional(&self.pool).await.map_err(read())?;
        row.as_ref().map(epoch_of).transpose()
    }

    /// A donor's wrapped key with the epoch it is wrapped under, read together.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn donor_key(&self, donor: &DonorId) -> Result<Option<(Epoch, Vec<u8>)>, StoreError> {
        let query = "SELECT e.number, e.wrapped, e.began_at, d.wrapped AS donor_wrapped FROM donor_key d, epoch e
            WHERE d.donor = $1";
        let row = sqlx::query(query).bind(donor.as_str()).fetch_optional(&self.pool).await.map_err(read())?;
        row.map(|row| Ok((epoch_of(&row)?, row.try_get("donor_wrapped").map_err(|_| record(KIND))?))).transpose()
    }

    /// Records a donor's key, wrapped under the key of `epoch`, unless there is one. Says whether the epoch still is that one;
    /// if not, nothing is recorded and the key must be wrapped anew.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn put_if_absent(&self, donor: &DonorId, epoch: u64, wrapped: &[u8]) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(written())?;
        let row = sqlx::query("SELECT * FROM epoch").fetch_one(&mut *transaction).await.map_err(read())?;
        if epoch_of(&row)?.number != epoch {
            return Ok(false);
        }
        let insert = "INSERT INTO donor_key (donor, wrapped) VALUES ($1, $2) ON CONFLICT (donor) DO NOTHING";
        let query = sqlx::query(insert).bind(donor.as_str()).bind(wrapped.to_vec());
        query.execute(&mut *transaction).await.map_err(written())?;
        transaction.commit().await.map_err(written())?;
        Ok(true)
    }

    /// Begins a new epoch without the keys of `leaving`, in one transaction: all others are wrapped anew, the old epoch's key
    /// is destroyed. `rewrap` gets the old epoch and everybody who stays.
    ///
    /// # Errors
    /// What `rewrap` returns; [`StoreError::Sql`].
    pub async fn rotate<E: From<StoreError>>(
        &self,
        leaving: &[&DonorId],
        now: Timestamp,
        rewrap: impl FnOnce(&Epoch, Vec<Wrapped>) -> Result<(Vec<u8>, Vec<Wrapped>), E>,
    ) -> Result<u64, E> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(written())?;
        for donor in leaving {
            let delete = sqlx::query("DELETE FROM donor_key WHERE donor = $1").bind(donor.as_str());
            delete.execute(&mut *transaction).await.map_err(written())?;
        }
        let row = sqlx::query("SELECT * FROM epoch").fetch_one(&mut *transaction).await.map_err(read())?;
        let old = epoch_of(&row)?;
        let rows =
            sqlx::query("SELECT donor, wrapped FROM donor_key ORDER BY donor").fetch_all(&mut *transaction).await;
        let mut staying = Vec::new();
        for row in rows.map_err(read())? {
            let donor = text(&row, "donor", KIND, |text| DonorId::parse(text).ok())?;
            staying.push((donor, row.try_get("wrapped").map_err(|_| record(KIND))?));
        }
        let (wrapped, keys) = rewrap(&old, staying)?;
        for (donor, wrapped) in keys {
            let update = sqlx::query("UPDATE donor_key SET wrapped = $1 WHERE donor = $2").bind(wrapped);
            update.bind(donor.as_str().to_owned()).execute(&mut *transaction).await.map_err(written())?;
        }
        let number = old.number + 1;
        let update = sqlx::query("UPDATE epoch SET number = $1, wrapped = $2, began_at = $3");
        let update = update.bind(i64::try_from(number).map_err(|_| record(KIND))?).bind(wrapped).bind(now.unix_s());
        update.execute(&mut *transaction).await.map_err(written())?;
        transaction.commit().await.map_err(written())?;
        Ok(number)
    }

    /// The wrapped key of a deposit: `wrapped`, unless it has one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn put_deposit_key(&self, deposit: &str, wrapped: &[u8]) -> Result<Vec<u8>, StoreError> {
        let insert = "INSERT INTO deposit_key (deposit, wrapped) VALUES ($1, $2) ON CONFLICT (deposit) DO NOTHING";
        let query = sqlx::query(insert).bind(deposit.to_owned()).bind(wrapped.to_vec());
        query.execute(&self.pool).await.map_err(written())?;
        self.deposit_key(deposit).await?.ok_or(record(KIND))
    }

    /// The wrapped key of a deposit, if it has one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn deposit_key(&self, deposit: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query("SELECT wrapped FROM deposit_key WHERE deposit = $1").bind(deposit.to_owned());
        let row = query.fetch_optional(&self.pool).await.map_err(read())?;
        row.map(|row| row.try_get("wrapped").map_err(|_| record(KIND))).transpose()
    }

    /// Destroys the key of a deposit, if it has one: what is sealed under it cannot be opened any more.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn remove_deposit_key(&self, deposit: &str) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM deposit_key WHERE deposit = $1").bind(deposit.to_owned());
        query.execute(&self.pool).await.map(drop).map_err(written())
    }

    /// Donors that have a key, in order.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn donors(&self) -> Result<Vec<DonorId>, StoreError> {
        let rows = sqlx::query("SELECT donor FROM donor_key ORDER BY donor").fetch_all(&self.pool).await;
        let donor = |row| text(row, "donor", KIND, |text| DonorId::parse(text).ok());
        rows.map_err(read())?.iter().map(donor).collect()
    }
}
