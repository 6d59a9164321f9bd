//! Who may sign in to a node's pages, and with which passkeys.
//!
//! An account is made by an invitation: a code that somebody hands to a person whom he knows. A passkey comes with a code
//! that counts once; after that passkeys add passkeys. Whoever lost them all is invited again, by two persons. What happened
//! stands in the journal `account`, which names donors by their random names; erasure removes the rest.
//!
//! Source: reference design §3.8, threats T4, T9.

use acequia_types::{Digest, DonorId, SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::database::{record, text, time};
use crate::error::sql;
use crate::{Store, StoreError};

const KIND: &str = "account";
/// Stream of what happened to accounts.
const ACCOUNT: &str = "account";

/// Whom an account is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "role", content = "name")]
pub enum Holder {
    /// Somebody who gave, or is asked to give.
    Donor(DonorId),
    /// An institution that gave the records of a source.
    Institution(SourceId),
}

impl Holder {
    /// `donor` or `institution`.
    pub fn role(&self) -> &'static str {
        match self {
            Self::Donor(_) => "donor",
            Self::Institution(_) => "institution",
        }
    }

    /// Name within the role.
    pub fn name(&self) -> &str {
        match self {
            Self::Donor(donor) => donor.as_str(),
            Self::Institution(source) => source.as_str(),
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its number: 32 hexadecimal digits, at random.
    pub id: String,
    /// Whom it is for.
    #[serde(flatten)]
    pub holder: Holder,
    /// When it was first asked for.
    pub made_at: Timestamp,
    /// When its first passkey was made. From then on one person alone lets nobody in, whatever became of the passkeys.
    pub opened_at: Option<Timestamp>,
    /// How many passkeys open it.
    pub passkeys: u64,
}

/// A passkey of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPasskey {
    /// Its name at the authenticator.
    pub credential: String,
    /// What it is verified by, as JSON.
    pub passkey: String,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it last opened the account.
    pub used_at: Option<Timestamp>,
}

/// By what somebody adds a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener<'a> {
    /// The code whose digest this is.
    Code(&'a Digest),
    /// A passkey of the account, by its name.
    Passkey(&'a str),
}

/// What came of asking for an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invited {
    /// The code counts until then.
    Until(Timestamp),
    /// The account was opened before: a second person must ask for the same. No code counts yet.
    NeedsSecond,
}

fn account_of(row: &AnyRow) -> Result<Account, StoreError> {
    let role: String = row.try_get("role").map_err(|_| record(KIND))?;
    let holder = match role.as_str() {
        "donor" => Holder::Donor(text(row, "name", KIND, |text| DonorId::parse(text).ok())?),
        "institution" => Holder::Institution(text(row, "name", KIND, |text| SourceId::parse(text).ok())?),
        _ => return Err(record(KIND)),
    };
    let passkeys: i64 = row.try_get("passkeys").map_err(|_| record(KIND))?;
    Ok(Account {
        id: row.try_get("id").map_err(|_| record(KIND))?,
        holder,
        made_at: time(row, "made_at", KIND)?,
        opened_at: row.try_get::<Option<i64>, _>("opened_at").map_err(|_| record(KIND))?.map(Timestamp::from_unix_s),
        passkeys: u64::try_from(passkeys).map_err(|_| record(KIND))?,
    })
}

fn passkey_of(row: &AnyRow) -> Result<StoredPasskey, StoreError> {
    let used_at: Option<i64> = row.try_get("used_at").map_err(|_| record(KIND))?;
    Ok(StoredPasskey {
        credential: row.try_get("credential").map_err(|_| record(KIND))?,
        passkey: row.try_get("passkey").map_err(|_| record(KIND))?,
        added_at: time(row, "added_at", KIND)?,
        used_at: used_at.map(Timestamp::from_unix_s),
    })
}

macro_rules! select_account {
    ($which:literal) => {
        concat!(
            "SELECT a.id, a.role, a.name, a.made_at, a.opened_at,
            (SELECT COUNT(*) FROM passkey p WHERE p.account = a.id) AS passkeys FROM account a ",
            $which
        )
    };
}

async fn find(connection: &mut AnyConnection, holder: &Holder) -> Result<Option<Account>, StoreError> {
    let query = sqlx::query(select_account!("WHERE a.role = $1 AND a.name = $2"));
    let query = query.bind(holder.role()).bind(holder.name().to_owned());
    let row = query.fetch_optional(connection).await.map_err(sql("read: accounts"))?;
    row.as_ref().map(account_of).transpose()
}

async fn of_id(connection: &mut AnyConnection, id: &str) -> Result<Option<Account>, StoreError> {
    let query = sqlx::query(select_account!("WHERE a.id = $1")).bind(id.to_owned());
    let row = query.fetch_optional(connection).await.map_err(sql("read: accounts"))?;
    row.as_ref().map(account_of).transpose()
}

async fn run(connection: &mut AnyConnection, statement: &'static str, words: &[&str]) -> Result<u64, StoreError> {
    let mut query = sqlx::query(statement);
    for word in words {
        query = query.bind((*word).to_owned());
    }
    Ok(query.execute(connection).await.map_err(sql("written: accounts"))?.rows_affected())
}

/// Puts on record what happened to an account.
async fn journal(
    connection: &mut AnyConnection,
    holder: &Holder,
    event: &str,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let (subject, entry): (Option<String>, Value) = match holder {
        Holder::Donor(donor) => {
            (Some(crate::consent::subject_of(connection, donor).await?), json!({ "event": event, "by": by }))
        }
        Holder::Institution(source) => (None, json!({ "event": event, "by": by, "institution": source })),
    };
    crate::journal::append(connection, ACCOUNT, at, subject.as_deref(), &entry).await.map(drop)
}

/// Removes an account whole, inside a transaction.
pub(crate) async fn remove(connection: &mut AnyConnection, holder: &Holder) -> Result<bool, StoreError> {
    let Some(account) = find(connection, holder).await? else { return Ok(false) };
    for statement in [
        "DELETE FROM passkey WHERE account = $1",
        "DELETE FROM invitation WHERE account = $1",
        "DELETE FROM account WHERE id = $1",
    ] {
        run(connection, statement, &[&account.id]).await?;
    }
    Ok(true)
}

impl Store {
    /// Invites somebody: from now until `until` the code whose digest this is opens the account once, to add a passkey. `by` is
    /// who knows the person. `id` becomes the account's number if it is new. An older code of the account counts no more.
    ///
    /// Where the account ever had a passkey, two different persons must ask; the code of the second counts, and on its use the
    /// passkeys of before go.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn invite(
        &self,
        holder: &Holder,
        id: &str,
        code: &Digest,
        by: &str,
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Invited, StoreError> {
        let mut transaction = self.begin().await?;
        let account = match find(&mut transaction, holder).await? {
            Some(account) => account,
            None => {
                let insert = "INSERT INTO account (id, role, name, made_at) VALUES ($1, $2, $3, $4)";
                let query = sqlx::query(insert).bind(id.to_owned()).bind(holder.role()).bind(holder.name().to_owned());
                let query = query.bind(now.unix_s()).execute(&mut *transaction).await;
                query.map_err(sql("written: accounts"))?;
                Account { id: id.to_owned(), holder: holder.clone(), made_at: now, opened_at: None, passkeys: 0 }
            }
        };
        // Who asked first, as long as that is not too long ago.
        let query = sqlx::query("SELECT asked_by, expires_at FROM invitation WHERE account = $1 AND code IS NULL");
        let row = query.bind(account.id.clone()).fetch_optional(&mut *transaction).await;
        let first: Option<String> = match row.map_err(sql("read: accounts"))? {
            Some(row) if time(&row, "expires_at", KIND)? >= now => {
                Some(row.try_get("asked_by").map_err(|_| record(KIND))?)
            }
            _ => None,
        };
        run(&mut transaction, "DELETE FROM invitation WHERE account = $1", &[&account.id]).await?;
        // However they write themselves.
        let same = |first: &str| first.trim().to_lowercase() == by.trim().to_lowercase();
        let alone = account.opened_at.is_some() && first.as_deref().is_none_or(same);
        let insert = "INSERT INTO invitation (account, code, asked_by, expires_at) VALUES ($1, $2, $3, $4)";
        let code = (!alone).then(|| code.to_string());
        let query = sqlx::query(insert).bind(account.id.clone()).bind(code).bind(by.to_owned()).bind(until.unix_s());
        query.execute(&mut *transaction).await.map_err(sql("written: accounts"))?;
        let event = if alone { "invitation-asked" } else { "invited" };
        journal(&mut transaction, holder, event, by, now).await?;
        transaction.commit().await.map_err(sql("written: accounts"))?;
        Ok(if alone { Invited::NeedsSecond } else { Invited::Until(until) })
    }

    /// The account that a code opens now.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn invited(&self, code: &Digest, now: Timestamp) -> Result<Option<Account>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(sql("read: accounts"))?;
        let query = sqlx::query("SELECT account FROM invitation WHERE code = $1 AND expires_at >= $2");
        let row = query.bind(code.to_string()).bind(now.unix_s()).fetch_optional(&mut *connection).await;
        let Some(row) = row.map_err(sql("read: accounts"))? else { return Ok(None) };
        let id: String = row.try_get("account").map_err(|_| record(KIND))?;
        of_id(&mut connection, &id).await
    }

    /// Adds a passkey: with a code, which counts once and ends the passkeys of before; or by somebody who signed in with a
    /// passkey that still opens the account. Says whether it was added.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`] for an unknown account.
    pub async fn add_passkey(
        &self,
        account: &str,
        (credential, passkey): (&str, &str),
        by: Opener<'_>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(Account { holder, .. }) = of_id(&mut transaction, account).await? else { return Ok(false) };
        let mut event = "passkey-added";
        match by {
            Opener::Passkey(own) => {
                // What signed in may have been taken away since.
                let query = sqlx::query("SELECT COUNT(*) FROM passkey WHERE account = $1 AND credential = $2");
                let query = query.bind(account.to_owned()).bind(own.to_owned());
                let row = query.fetch_one(&mut *transaction).await.map_err(sql("read: accounts"))?;
                if row.try_get::<i64, _>(0).map_err(|_| record(KIND))? == 0 {
                    return Ok(false);
                }
            }
            Opener::Code(code) => {
                let take = "DELETE FROM invitation WHERE account = $1 AND code = $2 AND expires_at >= $3";
                let query = sqlx::query(take).bind(account.to_owned()).bind(code.to_string()).bind(now.unix_s());
                let taken = query.execute(&mut *transaction).await.map_err(sql("written: accounts"))?.rows_affected();
                if taken == 0 {
                    return Ok(false);
                }
                if run(&mut transaction, "DELETE FROM passkey WHERE account = $1", &[account]).await? > 0 {
                    event = "recovered";
                }
            }
        }
        let insert = "INSERT INTO passkey (credential, account, passkey, added_at) VALUES ($1, $2, $3, $4)";
        let query = sqlx::query(insert).bind(credential.to_owned()).bind(account.to_owned()).bind(passkey.to_owned());
        query.bind(now.unix_s()).execute(&mut *transaction).await.map_err(sql("written: accounts"))?;
        let open = "UPDATE account SET opened_at = $1 WHERE id = $2 AND opened_at IS NULL";
        let query = sqlx::query(open).bind(now.unix_s()).bind(account.to_owned());
        query.execute(&mut *transaction).await.map_err(sql("written: accounts"))?;
        journal(&mut transaction, &holder, event, "holder", now).await?;
        transaction.commit().await.map_err(sql("written: accounts"))?;
        Ok(true)
    }

    /// Takes a passkey away, but not the last one. Says whether it was taken.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn remove_passkey(&self, account: &str, credential: &str, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(found) = of_id(&mut transaction, account).await? else { return Ok(false) };
        let take = "DELETE FROM passkey WHERE account = $1 AND credential = $2";
        if found.passkeys < 2 || run(&mut transaction, take, &[account, credential]).await? == 0 {
            return Ok(false);
        }
        journal(&mut transaction, &found.holder, "passkey-removed", "holder", now).await?;
        transaction.commit().await.map_err(sql("written: accounts"))?;
        Ok(true)
    }

    /// Puts on record that a passkey opened its account, with what it is verified by from now on.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn signed_in(
        &self,
        account: &str,
        (credential, passkey): (&str, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let update = "UPDATE passkey SET passkey = $1, used_at = $2 WHERE account = $3 AND credential = $4";
        let query = sqlx::query(update).bind(passkey.to_owned()).bind(now.unix_s()).bind(account.to_owned());
        query.bind(credential.to_owned()).execute(&mut *transaction).await.map_err(sql("written: accounts"))?;
        if let Some(Account { holder, .. }) = of_id(&mut transaction, account).await? {
            journal(&mut transaction, &holder, "signed-in", "holder", now).await?;
        }
        transaction.commit().await.map_err(sql("written: accounts"))
    }

    /// Takes away a passkey of which there may be a copy, even the last one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn passkey_copied(&self, holder: &Holder, credential: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        run(&mut transaction, "DELETE FROM passkey WHERE credential = $1", &[credential]).await?;
        journal(&mut transaction, holder, "passkey-copied", "node", now).await?;
        transaction.commit().await.map_err(sql("written: accounts"))
    }

    /// Closes an account: its passkeys and codes open nothing any more. That it was open stays on record, so that one person alone
    /// cannot let somebody else in. Says whether there was something to close.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn close_account(&self, holder: &Holder, by: &str, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(account) = find(&mut transaction, holder).await? else { return Ok(false) };
        let passkeys = run(&mut transaction, "DELETE FROM passkey WHERE account = $1", &[&account.id]).await?;
        let codes = run(&mut transaction, "DELETE FROM invitation WHERE account = $1", &[&account.id]).await?;
        if passkeys + codes == 0 {
            return Ok(false);
        }
        journal(&mut transaction, holder, "closed", by, now).await?;
        transaction.commit().await.map_err(sql("written: accounts"))?;
        Ok(true)
    }

    /// Every account, by role and name.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let query = sqlx::query(select_account!("ORDER BY a.role, a.name"));
        let rows = query.fetch_all(&self.pool).await.map_err(sql("read: accounts"))?;
        rows.iter().map(account_of).collect()
    }

    /// One account by its number.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn account(&self, id: &str) -> Result<Option<Account>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(sql("read: accounts"))?;
        of_id(&mut connection, id).await
    }

    /// The passkeys of an account, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn passkeys(&self, account: &str) -> Result<Vec<StoredPasskey>, StoreError> {
        let query = "SELECT credential, passkey, added_at, used_at FROM passkey WHERE account = $1
            ORDER BY added_at, credential";
        let rows = sqlx::query(query).bind(account.to_owned()).fetch_all(&self.pool).await;
        rows.map_err(sql("read: accounts"))?.iter().map(passkey_of).collect()
    }
}
