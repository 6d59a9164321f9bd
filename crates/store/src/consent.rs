//! Consent records: chains that only grow, one per subject.

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::{
    ConsentEvent, ConsentKind, History, Link, Party, Recorded, SALT_BYTES, beginning, commit, verify_chain,
};
use acequia_types::{Digest, DonorId, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::database::{digest, json, record, text, time};
use crate::error::sql;
use crate::{Holder, NoticeText, Store, StoreError};

const KIND: &str = "consent";

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::Sql { doing: "written: no randomness" })?;
    Ok(bytes)
}

fn number(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column).map_err(|_| record(KIND))?;
    u64::try_from(number).map_err(|_| record(KIND))
}

fn link_of(row: &AnyRow) -> Result<Link, StoreError> {
    Ok(Link {
        number: number(row, "number")?,
        known_at: time(row, "known_at", KIND)?,
        commitment: digest(row, "commitment", KIND)?,
        previous: digest(row, "previous", KIND)?,
        digest: digest(row, "digest", KIND)?,
    })
}

/// The name that stands for a donor; made when there is none.
pub(crate) async fn subject_of(connection: &mut AnyConnection, donor: &DonorId) -> Result<String, StoreError> {
    let query = sqlx::query("SELECT subject FROM subject WHERE donor = $1").bind(donor.as_str());
    let found = query.fetch_optional(&mut *connection).await.map_err(sql("read: consent"))?;
    if let Some(row) = found {
        return row.try_get("subject").map_err(|_| record(KIND));
    }
    let subject = hex::encode(random::<16>()?);
    let insert = sqlx::query("INSERT INTO subject (subject, donor) VALUES ($1, $2)").bind(&subject);
    insert.bind(donor.as_str()).execute(connection).await.map_err(sql("written: consent"))?;
    Ok(subject)
}

/// Adds one event as text, inside a transaction.
pub(crate) async fn append_text(
    connection: &mut AnyConnection,
    donor: &DonorId,
    event: &str,
    known_at: Timestamp,
) -> Result<(), StoreError> {
    let subject = subject_of(connection, donor).await?;
    let last = "SELECT number, known_at, commitment, previous, digest FROM consent_link WHERE subject = $1
        ORDER BY number DESC LIMIT 1";
    let last = sqlx::query(last).bind(&subject).fetch_optional(&mut *connection).await.map_err(sql("read: consent"))?;
    let last = last.as_ref().map(link_of).transpose()?;
    // A clock that went back cannot make a record look older than the one before it.
    let known_at = last.as_ref().map_or(known_at, |last| known_at.max(last.known_at));
    let (previous, place) = last.map_or_else(|| (beginning(&subject), 1), |last| (last.digest, last.number + 1));
    let salt = random::<SALT_BYTES>()?;
    let link = Link::after(previous, place, known_at, commit(&salt, event.as_bytes()));
    let seq = "SELECT COALESCE(MAX(seq), 0) + 1 FROM consent_link";
    let seq = sqlx::query(seq).fetch_one(&mut *connection).await.map_err(sql("read: consent"))?;
    let seq: i64 = seq.try_get(0).map_err(|_| record(KIND))?;
    let written = || sql("written: consent");
    let insert = "INSERT INTO consent_link (seq, subject, number, known_at, commitment, previous, digest)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let query = sqlx::query(insert).bind(seq).bind(&subject).bind(i64::try_from(place).map_err(|_| record(KIND))?);
    let query = query.bind(known_at.unix_s()).bind(link.commitment.to_string()).bind(link.previous.to_string());
    query.bind(link.digest.to_string()).execute(&mut *connection).await.map_err(written())?;
    let insert = "INSERT INTO consent_payload (seq, subject, salt, event) VALUES ($1, $2, $3, $4)";
    let query = sqlx::query(insert).bind(seq).bind(subject).bind(salt.to_vec()).bind(event.to_owned());
    query.execute(connection).await.map(drop).map_err(written())
}

const EVENTS: &str = "SELECT s.donor, l.known_at, p.event FROM subject s
    JOIN consent_link l ON l.subject = s.subject LEFT JOIN consent_payload p ON p.seq = l.seq";

/// The histories of some donors, as the connection sees them now.
pub(crate) async fn histories_of_some(
    connection: &mut AnyConnection,
    donors: &BTreeSet<&DonorId>,
) -> Result<BTreeMap<DonorId, History>, StoreError> {
    let mut rows = Vec::new();
    for donor in donors {
        let query = sqlx::query(OF_ONE).bind(donor.as_str().to_owned());
        rows.extend(query.fetch_all(&mut *connection).await.map_err(sql("read: consent"))?);
    }
    Ok(histories_of(&rows))
}

const OF_ONE: &str = "SELECT s.donor, l.known_at, p.event FROM subject s
    JOIN consent_link l ON l.subject = s.subject LEFT JOIN consent_payload p ON p.seq = l.seq WHERE s.donor = $1";

/// Everybody's history, as the connection sees it now.
pub(crate) async fn histories(connection: &mut AnyConnection) -> Result<BTreeMap<DonorId, History>, StoreError> {
    let rows = sqlx::query(EVENTS).fetch_all(connection).await.map_err(sql("read: consent"))?;
    Ok(histories_of(&rows))
}

fn histories_of(rows: &[AnyRow]) -> BTreeMap<DonorId, History> {
    let mut by_donor: BTreeMap<DonorId, Option<Vec<Recorded>>> = BTreeMap::new();
    for row in rows {
        let Ok(donor) = text(row, "donor", KIND, |text| DonorId::parse(text).ok()) else { continue };
        let events = by_donor.entry(donor).or_insert_with(|| Some(Vec::new()));
        match (json::<ConsentEvent>(row, "event", KIND), time(row, "known_at", KIND), events.as_mut()) {
            (Ok(event), Ok(known_at), Some(events)) => events.push(Recorded { known_at, event }),
            // One unreadable event makes the whole history unknown: it may have been a withdrawal.
            _ => *events = None,
        }
    }
    by_donor.into_iter().filter_map(|(donor, events)| Some((donor, History::recorded(events?)))).collect()
}

/// Adds those of some events that are not on file, inside a transaction. Returns how many.
async fn append_new(
    connection: &mut AnyConnection,
    donor: &DonorId,
    events: &[ConsentEvent],
    known_at: Timestamp,
) -> Result<u64, StoreError> {
    let query = "SELECT p.event FROM consent_payload p JOIN subject s ON s.subject = p.subject WHERE s.donor = $1";
    let rows = sqlx::query(query).bind(donor.as_str().to_owned()).fetch_all(&mut *connection).await;
    let mut on_file = BTreeSet::new();
    for row in rows.map_err(sql("read: consent"))? {
        on_file.insert(row.try_get::<String, _>("event").map_err(|_| record(KIND))?);
    }
    let mut added = 0;
    for event in events {
        let event = serde_json::to_string(event).map_err(|_| record(KIND))?;
        if on_file.insert(event.clone()) {
            append_text(connection, donor, &event, known_at).await?;
            added += 1;
        }
    }
    Ok(added)
}

impl Store {
    /// Adds consent events that the node learns of at `known_at`; one that is on file already counts once. Returns how many were
    /// new.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn append_consent(
        &self,
        donor: &DonorId,
        events: &[ConsentEvent],
        known_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let added = append_new(&mut transaction, donor, events, known_at).await?;
        transaction.commit().await.map_err(sql("written: consent"))?;
        Ok(added)
    }

    /// Adds what `decide` makes of a donor's history as it is in the very transaction that adds to it, so that no act is based on what
    /// another one changed meanwhile. Returns how many events were new.
    ///
    /// # Errors
    /// What `decide` returns; [`StoreError::Sql`].
    pub async fn decide_consent<E: From<StoreError>>(
        &self,
        donor: &DonorId,
        decide: impl FnOnce(Option<&History>) -> Result<(Vec<ConsentEvent>, Timestamp), E>,
    ) -> Result<u64, E> {
        let mut transaction = self.begin().await?;
        let mut all = histories_of_some(&mut transaction, &BTreeSet::from([donor])).await?;
        let (events, known_at) = decide(all.remove(donor).as_ref())?;
        let added = append_new(&mut transaction, donor, &events, known_at).await?;
        transaction.commit().await.map_err(sql("written: consent"))?;
        Ok(added)
    }

    /// Adds one event to the consent of many donors, for all or for none.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn append_consent_of_all(
        &self,
        donors: &[&DonorId],
        event: &ConsentEvent,
        known_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for donor in donors {
            append_new(&mut transaction, donor, std::slice::from_ref(event), known_at).await?;
        }
        transaction.commit().await.map_err(sql("written: consent"))
    }

    /// One donor's consent; `None` when nothing is on file or an event cannot be understood, which denies.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn consent(&self, donor: &DonorId) -> Result<Option<History>, StoreError> {
        let rows =
            sqlx::query(OF_ONE).bind(donor.as_str()).fetch_all(&self.pool).await.map_err(sql("read: consent"))?;
        Ok(histories_of(&rows).remove(donor))
    }

    /// Everybody's consent. A donor with an event that cannot be understood is left out, which denies.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn consents(&self) -> Result<BTreeMap<DonorId, History>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(sql("read: consent"))?;
        histories(&mut connection).await
    }

    /// Records that the donor's erasure was ordered and destroys what the records say about the donor: payloads and salts of
    /// the consents, the name that ties the chain to the donor, and the donations' rows. The chain stays, and can be
    /// verified, but tells nothing; the account on the node's pages goes too. The certificate goes into the journal `erasure`. Returns the subject's name in the chain; `None` when nothing was on file.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn erase(
        &self,
        donor: &DonorId,
        now: Timestamp,
        certificate: Option<&serde_json::Value>,
    ) -> Result<Option<String>, StoreError> {
        let mut transaction = self.begin().await?;
        let written = || sql("written: erasure");
        let query = sqlx::query("SELECT subject FROM subject WHERE donor = $1").bind(donor.as_str());
        let row = query.fetch_optional(&mut *transaction).await.map_err(sql("read: consent"))?;
        let subject: Option<String> = row.map(|row| row.try_get("subject").map_err(|_| record(KIND))).transpose()?;
        if let Some(subject) = &subject {
            let ordered =
                "SELECT COUNT(*) FROM consent_payload WHERE subject = $1 AND event LIKE '%\"order-erasure\"%'";
            let ordered = sqlx::query(ordered).bind(subject.clone()).fetch_one(&mut *transaction).await;
            if ordered.and_then(|row| row.try_get::<i64, _>(0)).map_err(sql("read: consent"))? == 0 {
                let order = ConsentEvent::new(now, ConsentKind::OrderErasure).by(Party::Desk);
                let order = serde_json::to_string(&order).map_err(|_| record(KIND))?;
                append_text(&mut transaction, donor, &order, now).await?;
            }
            let insert = "INSERT INTO erased_subject (subject, erased_at) VALUES ($1, $2)";
            let query = sqlx::query(insert).bind(subject.clone()).bind(now.unix_s());
            query.execute(&mut *transaction).await.map_err(written())?;
            if let Some(certificate) = certificate {
                crate::journal::append(&mut transaction, "erasure", now, Some(subject), certificate).await?;
            }
            let payloads = sqlx::query("DELETE FROM consent_payload WHERE subject = $1").bind(subject.clone());
            payloads.execute(&mut *transaction).await.map_err(written())?;
            let name = sqlx::query("DELETE FROM subject WHERE subject = $1").bind(subject.clone());
            name.execute(&mut *transaction).await.map_err(written())?;
        }
        crate::accounts::remove(&mut transaction, &Holder::Donor(donor.clone())).await?;
        let donations = sqlx::query("DELETE FROM donation WHERE donor = $1").bind(donor.as_str());
        donations.execute(&mut *transaction).await.map_err(written())?;
        transaction.commit().await.map_err(written())?;
        self.fold().await?;
        Ok(subject)
    }

    /// The random name that stands for a donor in chains and journals, if the donor is known and not erased.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn subject(&self, donor: &DonorId) -> Result<Option<String>, StoreError> {
        let query = sqlx::query("SELECT subject FROM subject WHERE donor = $1").bind(donor.as_str());
        let row = query.fetch_optional(&self.pool).await.map_err(sql("read: consent"))?;
        row.map(|row| row.try_get("subject").map_err(|_| record(KIND))).transpose()
    }

    /// Everybody's random name, by donor; who was erased has none.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn subjects(&self) -> Result<BTreeMap<DonorId, String>, StoreError> {
        let rows = sqlx::query("SELECT donor, subject FROM subject").fetch_all(&self.pool).await;
        let name = |row: &AnyRow| {
            let donor = text(row, "donor", KIND, |text| DonorId::parse(text).ok())?;
            Ok((donor, row.try_get("subject").map_err(|_| record(KIND))?))
        };
        rows.map_err(sql("read: consent"))?.iter().map(name).collect()
    }

    /// The name of a donor, made when there is none.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn name_subject(&self, donor: &DonorId) -> Result<String, StoreError> {
        let mut transaction = self.begin().await?;
        let subject = subject_of(&mut transaction, donor).await?;
        transaction.commit().await.map_err(sql("written: consent"))?;
        Ok(subject)
    }

    /// Who a subject is, until erasure.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn donor_of(&self, subject: &str) -> Result<Option<DonorId>, StoreError> {
        let query = sqlx::query("SELECT donor FROM subject WHERE subject = $1").bind(subject.to_owned());
        let row = query.fetch_optional(&self.pool).await.map_err(sql("read: consent"))?;
        row.map(|row| text(&row, "donor", KIND, |text| DonorId::parse(text).ok())).transpose()
    }

    /// Verifies every chain, and every payload that still exists against it. Returns how many links there are.
    ///
    /// # Errors
    /// [`StoreError::Chain`] with the first place that is wrong.
    pub async fn verify_consents(&self) -> Result<u64, StoreError> {
        let query = "SELECT l.subject, l.number, l.known_at, l.commitment, l.previous, l.digest, p.salt, p.event,
            e.erased_at FROM consent_link l LEFT JOIN consent_payload p ON p.seq = l.seq
            LEFT JOIN erased_subject e ON e.subject = l.subject ORDER BY l.subject, l.number";
        let rows = sqlx::query(query).fetch_all(&self.pool).await.map_err(sql("read: consent"))?;
        let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
        for row in &rows {
            let subject: String = row.try_get("subject").map_err(|_| record(KIND))?;
            let (salt, event): (Option<Vec<u8>>, Option<String>) =
                (row.try_get("salt").map_err(|_| record(KIND))?, row.try_get("event").map_err(|_| record(KIND))?);
            let erased: Option<i64> = row.try_get("erased_at").map_err(|_| record(KIND))?;
            let chain = chains.entry(subject).or_default();
            let link = link_of(row)?;
            match (salt.and_then(|salt| <[u8; SALT_BYTES]>::try_from(salt).ok()), event) {
                (Some(salt), Some(event)) => drop(chain.payloads.insert(link.number, (salt, event))),
                // Only an erasure on record explains a payload that is gone.
                _ if erased.is_none() => {
                    let broken = acequia_custody::ChainBroken::Payload { place: link.number };
                    return Err(StoreError::Chain { broken });
                }
                _ => {}
            }
            chain.links.push(link);
        }
        for (subject, chain) in &chains {
            let payload = |place: u64| chain.payloads.get(&place).map(|(salt, event)| (salt, event.as_bytes()));
            verify_chain(subject, &chain.links, payload).map_err(|broken| StoreError::Chain { broken })?;
        }
        Ok(rows.len() as u64)
    }

    /// One digest over the ends of all chains: what a checkpoint of the consent log states. It tells nothing about anybody.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub async fn consent_checkpoint(&self) -> Result<Digest, StoreError> {
        let query = sqlx::query("SELECT digest FROM consent_link ORDER BY seq");
        let rows = query.fetch_all(&self.pool).await.map_err(sql("read: consent"))?;
        let mut all = Vec::with_capacity(rows.len() * 32);
        for row in &rows {
            all.extend_from_slice(digest(row, "digest", KIND)?.as_bytes());
        }
        Ok(acequia_types::digest_named("acequia consent checkpoint v1", [("links", all.as_slice())]))
    }

    /// Publishes the words of a notice. The same words again change nothing.
    ///
    /// # Errors
    /// [`StoreError::Immutable`] when other words are published under this version and language.
    pub async fn add_notice(&self, notice: &NoticeText) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let query = "SELECT text, material FROM notice WHERE id = $1 AND version = $2 AND language = $3";
        let query =
            sqlx::query(query).bind(notice.id.clone()).bind(i64::from(notice.version)).bind(notice.language.clone());
        let found = query.fetch_optional(&mut *transaction).await.map_err(sql("read: notices"))?;
        if let Some(row) = found {
            let (text, material): (String, i64) = (
                row.try_get("text").map_err(|_| record("notice"))?,
                row.try_get("material").map_err(|_| record("notice"))?,
            );
            return if (text.as_str(), material == 1) == (notice.text.as_str(), notice.material) {
                Ok(())
            } else {
                let version = format!("{} in {}", notice.version, notice.language);
                Err(StoreError::Immutable { dataset: format!("notice {}", notice.id), version })
            };
        }
        let insert = "INSERT INTO notice (id, version, language, material, text, published_at)
            VALUES ($1, $2, $3, $4, $5, $6)";
        let query =
            sqlx::query(insert).bind(notice.id.clone()).bind(i64::from(notice.version)).bind(notice.language.clone());
        let query = query.bind(i64::from(notice.material)).bind(notice.text.clone()).bind(notice.published_at.unix_s());
        query.execute(&mut *transaction).await.map_err(sql("written: notices"))?;
        transaction.commit().await.map_err(sql("written: notices"))
    }

    /// Every notice, by id, version and language.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Record`].
    pub async fn notices(&self) -> Result<Vec<NoticeText>, StoreError> {
        let rows = sqlx::query("SELECT * FROM notice ORDER BY id, version, language").fetch_all(&self.pool).await;
        let bad = |_| record("notice");
        let notice = |row: &AnyRow| {
            Ok(NoticeText {
                id: row.try_get("id").map_err(bad)?,
                version: u32::try_from(row.try_get::<i64, _>("version").map_err(bad)?).map_err(|_| record("notice"))?,
                language: row.try_get("language").map_err(bad)?,
                material: row.try_get::<i64, _>("material").map_err(bad)? == 1,
                text: row.try_get("text").map_err(bad)?,
                published_at: time(row, "published_at", "notice")?,
            })
        };
        rows.map_err(sql("read: notices"))?.iter().map(notice).collect()
    }
}

#[derive(Default)]
struct Chain {
    links: Vec<Link>,
    payloads: BTreeMap<u64, ([u8; SALT_BYTES], String)>,
}
