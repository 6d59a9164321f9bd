//! Tables, by dialect. A layout is never changed once released; a new one is added.

use acequia_custody::ConsentEvent;
use acequia_types::{DonorId, Timestamp};
use sqlx::{AnyConnection, Executor, Row};

use crate::StoreError;
use crate::database::{json, record, text, time};
use crate::error::sql;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub(crate) fn of(url: &str) -> Option<Self> {
        match url.split_once(':')?.0 {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            _ => None,
        }
    }
}

/// Newest layout this program knows.
pub(crate) const KNOWN: i64 = 4;

/// Layout 1, SQLite only.
const SQLITE_1: &[&str] = &[
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
];

/// Layout 2: consent as chains that only grow, journals, and notices.
///
/// `consent_link` stays for ever and holds nothing about anybody; `consent_payload` and `subject` say whose and what, and go
/// when the subject's erasure is on record.
const SQLITE_2: &[&str] = &[
    "CREATE TABLE subject (subject TEXT PRIMARY KEY NOT NULL, donor TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE consent_link (
        seq INTEGER PRIMARY KEY NOT NULL, subject TEXT NOT NULL, number INTEGER NOT NULL, known_at INTEGER NOT NULL,
        commitment TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (subject, number)) STRICT",
    "CREATE TABLE consent_payload (
        seq INTEGER PRIMARY KEY NOT NULL REFERENCES consent_link, subject TEXT NOT NULL, salt BLOB NOT NULL,
        event TEXT NOT NULL) STRICT",
    "CREATE INDEX consent_payload_subject ON consent_payload (subject)",
    "CREATE TABLE erased_subject (subject TEXT PRIMARY KEY NOT NULL, erased_at INTEGER NOT NULL) STRICT",
    "CREATE TABLE notice (
        id TEXT NOT NULL, version INTEGER NOT NULL, language TEXT NOT NULL, material INTEGER NOT NULL, text TEXT NOT NULL,
        published_at INTEGER NOT NULL, PRIMARY KEY (id, version, language)) STRICT",
    "CREATE TABLE journal (
        stream TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, subject TEXT, entry TEXT NOT NULL,
        previous TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (stream, number)) STRICT",
    "CREATE INDEX journal_subject ON journal (subject)",
    "CREATE TRIGGER journal_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER journal_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER consent_link_update BEFORE UPDATE ON consent_link BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER consent_link_delete BEFORE DELETE ON consent_link BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER consent_payload_update BEFORE UPDATE ON consent_payload BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER consent_payload_delete BEFORE DELETE ON consent_payload
        WHEN NOT EXISTS (SELECT 1 FROM erased_subject WHERE subject = OLD.subject)
        BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER subject_update BEFORE UPDATE ON subject BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER subject_delete BEFORE DELETE ON subject
        WHEN NOT EXISTS (SELECT 1 FROM erased_subject WHERE subject = OLD.subject)
        BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER erased_subject_update BEFORE UPDATE ON erased_subject BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER erased_subject_delete BEFORE DELETE ON erased_subject BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER notice_update BEFORE UPDATE ON notice BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    "CREATE TRIGGER notice_delete BEFORE DELETE ON notice BEGIN SELECT RAISE(ABORT, 'append-only'); END",
];

/// Layouts 1 and 2 at once, without keys: there were no records in PostgreSQL before, and keys have a store of their own.
const POSTGRES_2: &[&str] = &[
    "CREATE TABLE donation (
        intake TEXT PRIMARY KEY, donor TEXT NOT NULL, source TEXT NOT NULL, format TEXT NOT NULL,
        plaintext TEXT NOT NULL, sealed TEXT NOT NULL, bytes BIGINT NOT NULL, mapping TEXT,
        received_at BIGINT NOT NULL, quarantine_code TEXT, detail TEXT NOT NULL)",
    "CREATE TABLE step (
        key TEXT PRIMARY KEY, name TEXT NOT NULL, blobs TEXT NOT NULL, detail TEXT NOT NULL, finished_at BIGINT NOT NULL)",
    "CREATE TABLE published_version (
        dataset TEXT NOT NULL, version TEXT NOT NULL, manifest TEXT NOT NULL, seal TEXT NOT NULL, files TEXT NOT NULL,
        published_at BIGINT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (dataset, version))",
    "CREATE TABLE subject (subject TEXT PRIMARY KEY, donor TEXT NOT NULL UNIQUE)",
    "CREATE TABLE consent_link (
        seq BIGINT PRIMARY KEY, subject TEXT NOT NULL, number BIGINT NOT NULL, known_at BIGINT NOT NULL,
        commitment TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (subject, number))",
    "CREATE TABLE consent_payload (
        seq BIGINT PRIMARY KEY REFERENCES consent_link, subject TEXT NOT NULL, salt BYTEA NOT NULL, event TEXT NOT NULL)",
    "CREATE INDEX consent_payload_subject ON consent_payload (subject)",
    "CREATE TABLE erased_subject (subject TEXT PRIMARY KEY, erased_at BIGINT NOT NULL)",
    "CREATE TABLE notice (
        id TEXT NOT NULL, version BIGINT NOT NULL, language TEXT NOT NULL, material BIGINT NOT NULL, text TEXT NOT NULL,
        published_at BIGINT NOT NULL, PRIMARY KEY (id, version, language))",
    "CREATE TABLE journal (
        stream TEXT NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL, subject TEXT, entry TEXT NOT NULL,
        previous TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (stream, number))",
    "CREATE INDEX journal_subject ON journal (subject)",
    "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'append-only'; END $$",
    "CREATE FUNCTION only_erased() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NOT EXISTS (SELECT 1 FROM erased_subject WHERE subject = OLD.subject) THEN RAISE EXCEPTION 'append-only'; END IF;
        RETURN OLD; END $$",
    "CREATE TRIGGER consent_link_only BEFORE UPDATE OR DELETE ON consent_link
        FOR EACH ROW EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER consent_link_truncate BEFORE TRUNCATE ON consent_link EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER consent_payload_update BEFORE UPDATE ON consent_payload
        FOR EACH ROW EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER consent_payload_delete BEFORE DELETE ON consent_payload
        FOR EACH ROW EXECUTE FUNCTION only_erased()",
    "CREATE TRIGGER consent_payload_truncate BEFORE TRUNCATE ON consent_payload EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER subject_update BEFORE UPDATE ON subject FOR EACH ROW EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER subject_delete BEFORE DELETE ON subject FOR EACH ROW EXECUTE FUNCTION only_erased()",
    "CREATE TRIGGER subject_truncate BEFORE TRUNCATE ON subject EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER erased_subject_only BEFORE UPDATE OR DELETE ON erased_subject
        FOR EACH ROW EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER erased_subject_truncate BEFORE TRUNCATE ON erased_subject EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER journal_only BEFORE UPDATE OR DELETE ON journal FOR EACH ROW EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER journal_truncate BEFORE TRUNCATE ON journal EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER notice_only BEFORE UPDATE OR DELETE ON notice FOR EACH ROW EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER notice_truncate BEFORE TRUNCATE ON notice EXECUTE FUNCTION append_only()",
];

/// Layout 4: where the bytes of deposits lie. What they are is in journals.
const BOTH_4: &[&str] = &[
    "CREATE TABLE deposit_object (
        deposit TEXT NOT NULL, object TEXT NOT NULL, part BIGINT NOT NULL, bytes BIGINT NOT NULL, tag TEXT NOT NULL,
        at BIGINT NOT NULL, PRIMARY KEY (deposit, object, part))",
    "CREATE TABLE deposit_blob (
        deposit TEXT NOT NULL, object TEXT NOT NULL, part BIGINT NOT NULL, number BIGINT NOT NULL, blob TEXT NOT NULL,
        PRIMARY KEY (deposit, object, part, number))",
];

/// Layout 3: accounts, their passkeys and invitations, and ways to what somebody gave, in words that both databases understand.
const BOTH_3: &[&str] = &[
    "CREATE TABLE account (
        id TEXT PRIMARY KEY NOT NULL, role TEXT NOT NULL, name TEXT NOT NULL, made_at BIGINT NOT NULL, opened_at BIGINT,
        UNIQUE (role, name))",
    "CREATE TABLE passkey (
        credential TEXT PRIMARY KEY NOT NULL, account TEXT NOT NULL REFERENCES account (id), passkey TEXT NOT NULL,
        added_at BIGINT NOT NULL, used_at BIGINT)",
    "CREATE TABLE invitation (
        account TEXT PRIMARY KEY NOT NULL REFERENCES account (id), code TEXT UNIQUE, asked_by TEXT NOT NULL,
        expires_at BIGINT NOT NULL)",
    "CREATE INDEX donation_donor ON donation (donor)",
    "CREATE INDEX donation_source ON donation (source)",
];

/// The layout on disk; 0 is none.
pub(crate) async fn found(connection: &mut AnyConnection, dialect: Dialect) -> Result<i64, StoreError> {
    let read = || sql("read: layout");
    let row = match dialect {
        Dialect::Sqlite => sqlx::query("PRAGMA user_version").fetch_one(connection).await.map_err(read())?,
        Dialect::Postgres => {
            let there = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'layout'";
            let row = sqlx::query(there).fetch_one(&mut *connection).await.map_err(read())?;
            if row.try_get::<i64, _>(0).map_err(read())? == 0 {
                return Ok(0);
            }
            let newest = "SELECT COALESCE(MAX(version), 0) FROM layout";
            sqlx::query(newest).fetch_one(connection).await.map_err(read())?
        }
    };
    row.try_get(0).map_err(read())
}

/// Brings the tables from a layout to the newest, inside a transaction.
pub(crate) async fn upgrade(connection: &mut AnyConnection, dialect: Dialect, found: i64) -> Result<(), StoreError> {
    let written = || sql("written: layout");
    let mut run: Vec<&'static str> = Vec::new();
    match dialect {
        Dialect::Sqlite => {
            run.extend(if found < 1 { SQLITE_1 } else { &[] });
            run.extend(if found < 2 { SQLITE_2 } else { &[] });
        }
        Dialect::Postgres => run.extend(if found < 2 { POSTGRES_2 } else { &[] }),
    }
    run.extend(if found < 3 { BOTH_3 } else { &[] });
    run.extend(if found < 4 { BOTH_4 } else { &[] });
    for statement in run {
        connection.execute(statement).await.map_err(written())?;
    }
    if dialect == Dialect::Sqlite && found < 2 {
        chain_old_events(connection).await?;
    }
    // A PRAGMA takes no parameters; the number of layouts is fixed.
    match dialect {
        Dialect::Sqlite => connection.execute("PRAGMA user_version = 4").await.map_err(written())?,
        Dialect::Postgres => connection.execute("INSERT INTO layout (version) VALUES (4)").await.map_err(written())?,
    };
    Ok(())
}

/// Layout 1 kept no time of recording: an event counts as known from when it took effect. One that cannot be read stays
/// unreadable, which denies.
async fn chain_old_events(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let query = sqlx::query("SELECT donor, at, event FROM consent_event ORDER BY donor, at, event");
    let rows = query.fetch_all(&mut *connection).await.map_err(sql("read: consent"))?;
    for row in rows {
        let donor = text(&row, "donor", "consent", |text| DonorId::parse(text).ok())?;
        let event: String = row.try_get("event").map_err(|_| record("consent"))?;
        let at = time(&row, "at", "consent")?;
        let known_at = match json::<ConsentEvent>(&row, "event", "consent") {
            Ok(event) => event.at,
            Err(_) => at,
        };
        let known_at = known_at.max(Timestamp::from_unix_s(0));
        crate::consent::append_text(connection, &donor, &event, known_at).await?;
    }
    connection.execute("DROP TABLE consent_event").await.map(drop).map_err(sql("written: layout"))
}
