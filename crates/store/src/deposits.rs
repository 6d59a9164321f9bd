//! What lies sealed of deposits: objects, their parts while they arrive, and the blobs they are made of. What was deposited,
//! committed and handed in stands in journals; the tables here say only where bytes lie.

use std::collections::BTreeSet;

use acequia_types::{Digest, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::database::{digest, record, time};
use crate::error::sql;
use crate::{Store, StoreError};

const KIND: &str = "deposited object";

/// Sealed bytes of a deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Which deposit.
    pub deposit: String,
    /// What it is: a digest of the bytes.
    pub object: String,
    /// 0 for the whole object; a part of one that is still arriving otherwise, from 1.
    pub part: u64,
    /// Length in bytes, unsealed.
    pub bytes: u64,
    /// What clients know it by.
    pub tag: String,
    /// When it came.
    pub at: Timestamp,
    /// The blobs it is made of, in order; empty where only the row was asked for.
    pub blobs: Vec<Digest>,
}

fn unsigned(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column).map_err(|_| record(KIND))?;
    u64::try_from(number).map_err(|_| record(KIND))
}

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| record(KIND))
}

fn object_of(row: &AnyRow) -> Result<StoredObject, StoreError> {
    let text = |column| row.try_get::<String, _>(column).map_err(|_| record(KIND));
    Ok(StoredObject {
        deposit: text("deposit")?,
        object: text("object")?,
        part: unsigned(row, "part")?,
        bytes: unsigned(row, "bytes")?,
        tag: text("tag")?,
        at: time(row, "at", KIND)?,
        blobs: Vec::new(),
    })
}

async fn blobs_of(
    connection: &mut AnyConnection,
    deposit: &str,
    object: &str,
    part: u64,
) -> Result<Vec<Digest>, StoreError> {
    let query = "SELECT blob FROM deposit_blob WHERE deposit = $1 AND object = $2 AND part = $3 ORDER BY number";
    let query = sqlx::query(query).bind(deposit.to_owned()).bind(object.to_owned()).bind(signed(part)?);
    let rows = query.fetch_all(connection).await.map_err(sql("read: deposits"))?;
    rows.iter().map(|row| digest(row, "blob", KIND)).collect()
}

async fn forget(connection: &mut AnyConnection, deposit: &str, object: &str, part: u64) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM deposit_blob WHERE deposit = $1 AND object = $2 AND part = $3",
        "DELETE FROM deposit_object WHERE deposit = $1 AND object = $2 AND part = $3",
    ] {
        let query = sqlx::query(statement).bind(deposit.to_owned()).bind(object.to_owned()).bind(signed(part)?);
        query.execute(&mut *connection).await.map_err(sql("written: deposits"))?;
    }
    Ok(())
}

impl Store {
    /// Records where an object or a part of one lies, its blobs being there already. A whole object stays what it is once it is
    /// here, and its parts are parts no more; a part is replaced. Returns the blobs that nothing refers to any more.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn put_object(&self, new: &StoredObject) -> Result<Vec<Digest>, StoreError> {
        let mut transaction = self.begin().await?;
        let (deposit, object) = (new.deposit.as_str(), new.object.as_str());
        let query = "SELECT part FROM deposit_object WHERE deposit = $1 AND object = $2";
        let query = sqlx::query(query).bind(deposit.to_owned()).bind(object.to_owned());
        let rows = query.fetch_all(&mut *transaction).await.map_err(sql("read: deposits"))?;
        let known: Vec<u64> = rows.iter().map(|row| unsigned(row, "part")).collect::<Result<_, _>>()?;
        if known.contains(&0) {
            let kept = blobs_of(&mut transaction, deposit, object, 0).await?;
            return Ok(new.blobs.iter().filter(|blob| !kept.contains(blob)).copied().collect());
        }
        let mut left = BTreeSet::new();
        for part in known.into_iter().filter(|part| new.part == 0 || *part == new.part) {
            left.extend(blobs_of(&mut transaction, deposit, object, part).await?);
            forget(&mut transaction, deposit, object, part).await?;
        }
        let insert =
            "INSERT INTO deposit_object (deposit, object, part, bytes, tag, at) VALUES ($1, $2, $3, $4, $5, $6)";
        let query = sqlx::query(insert).bind(deposit.to_owned()).bind(object.to_owned()).bind(signed(new.part)?);
        let query = query.bind(signed(new.bytes)?).bind(new.tag.clone()).bind(new.at.unix_s());
        query.execute(&mut *transaction).await.map_err(sql("written: deposits"))?;
        for (number, blob) in (0u64..).zip(&new.blobs) {
            left.remove(blob);
            let insert = "INSERT INTO deposit_blob (deposit, object, part, number, blob) VALUES ($1, $2, $3, $4, $5)";
            let query = sqlx::query(insert).bind(deposit.to_owned()).bind(object.to_owned()).bind(signed(new.part)?);
            let query = query.bind(signed(number)?).bind(blob.to_string());
            query.execute(&mut *transaction).await.map_err(sql("written: deposits"))?;
        }
        transaction.commit().await.map_err(sql("written: deposits"))?;
        Ok(left.into_iter().collect())
    }

    /// A whole object (`part` 0) or a part of one, with its blobs.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn object(&self, deposit: &str, object: &str, part: u64) -> Result<Option<StoredObject>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(sql("read: deposits"))?;
        let query = "SELECT * FROM deposit_object WHERE deposit = $1 AND object = $2 AND part = $3";
        let query = sqlx::query(query).bind(deposit.to_owned()).bind(object.to_owned()).bind(signed(part)?);
        let row = query.fetch_optional(&mut *connection).await.map_err(sql("read: deposits"))?;
        let Some(row) = row else { return Ok(None) };
        let blobs = blobs_of(&mut connection, deposit, object, part).await?;
        Ok(Some(StoredObject { blobs, ..object_of(&row)? }))
    }

    /// Everything that lies here of a deposit, or of all, without blobs, in the order of names and parts.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn objects(&self, deposit: Option<&str>) -> Result<Vec<StoredObject>, StoreError> {
        let rows = match deposit {
            Some(deposit) => {
                let query = "SELECT * FROM deposit_object WHERE deposit = $1 ORDER BY object, part";
                sqlx::query(query).bind(deposit.to_owned()).fetch_all(&self.pool).await
            }
            None => {
                sqlx::query("SELECT * FROM deposit_object ORDER BY deposit, object, part").fetch_all(&self.pool).await
            }
        };
        rows.map_err(sql("read: deposits"))?.iter().map(object_of).collect()
    }

    /// Bytes that lie here of a deposit, unsealed, what is still arriving included.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn deposited_bytes(&self, deposit: &str) -> Result<u64, StoreError> {
        let query = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM deposit_object WHERE deposit = $1";
        let row = sqlx::query(query).bind(deposit.to_owned()).fetch_one(&self.pool).await;
        unsigned(&row.map_err(sql("read: deposits"))?, "bytes")
    }

    /// Forgets an object or a part of one. Returns its blobs, which nothing refers to any more.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn remove_object(&self, deposit: &str, object: &str, part: u64) -> Result<Vec<Digest>, StoreError> {
        let mut transaction = self.begin().await?;
        let blobs = blobs_of(&mut transaction, deposit, object, part).await?;
        forget(&mut transaction, deposit, object, part).await?;
        transaction.commit().await.map_err(sql("written: deposits"))?;
        Ok(blobs)
    }

    /// Removes what was recorded of an object or part, if it is still that: what somebody else recorded under the name stays. Returns the blobs
    /// that nothing refers to any more.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn take_object_back(&self, stored: &StoredObject) -> Result<Vec<Digest>, StoreError> {
        let (deposit, object, part) = (stored.deposit.as_str(), stored.object.as_str(), stored.part);
        let mut transaction = self.begin().await?;
        let blobs = blobs_of(&mut transaction, deposit, object, part).await?;
        if blobs.is_empty() || blobs != stored.blobs {
            return Ok(Vec::new());
        }
        forget(&mut transaction, deposit, object, part).await?;
        transaction.commit().await.map_err(sql("written: deposits"))?;
        Ok(blobs)
    }

    /// Every blob that a deposit is made of.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn deposited_blobs(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let rows = sqlx::query("SELECT blob FROM deposit_blob").fetch_all(&self.pool).await;
        rows.map_err(sql("read: deposits"))?.iter().map(|row| digest(row, "blob", KIND)).collect()
    }
}
