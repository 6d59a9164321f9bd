//! Steps that need not run twice: named by the digest of everything they depend on.

use std::collections::BTreeMap;

use acequia_frame::Table;
use acequia_store::Step;
use acequia_types::{Digest, Exit, digest_named};
use serde_json::Value;

use crate::failpoint::failpoint;
use crate::failure::{Failure, NodeError};
use crate::home::Node;

/// Tables of a step with what it has to report.
pub(crate) struct Made {
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) detail: Value,
}

/// Name of a step: what it is, which program, and the digests of all it reads.
pub(crate) fn step_key(name: &str, parts: &[(&str, &[u8])]) -> Digest {
    let mut all: Vec<(&str, &[u8])> = vec![("step", name.as_bytes()), ("program", crate::PROGRAM.as_bytes())];
    all.extend_from_slice(parts);
    digest_named("acequia step v1", all)
}

impl Node {
    /// The tables of a finished step, if it is finished and every table is whole.
    pub(crate) async fn finished(&self, key: Digest) -> Result<Option<Made>, Failure> {
        let Some(step) = self.store.step(&key).await? else { return Ok(None) };
        match self.reopen(&step) {
            Ok(made) => Ok(Some(made)),
            // What is damaged is made anew; what cannot be had now is not.
            Err(failure) if failure.exit == Exit::Integrity => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Seals the tables of a step and records it.
    ///
    /// Work tables are about people, so they lie sealed; the row in the store makes the step count, and comes last.
    pub(crate) async fn keep(&self, name: &str, key: Digest, made: &Made) -> Result<(), Failure> {
        let mut blobs = Vec::with_capacity(made.tables.len());
        for (table_name, table) in &made.tables {
            let sealed = self.vault.seal_work(&format!("{name}/{table_name}"), &table.to_parquet()?)?;
            blobs.push((table_name.clone(), sealed));
        }
        failpoint(&format!("{name}.before-commit"));
        // A row that points to damaged tables must not win over the new one.
        self.store.forget_steps(&[key]).await?;
        let finished_at = self.clock.now();
        self.store
            .put_step(&Step { key, name: name.to_owned(), blobs, detail: made.detail.clone(), finished_at })
            .await?;
        failpoint(&format!("{name}.after-commit"));
        Ok(())
    }

    /// Takes over a finished step, or makes and keeps it. The flag tells whether it ran.
    pub(crate) async fn step(
        &self,
        name: &str,
        key: Digest,
        make: impl FnOnce() -> Result<Made, Failure>,
    ) -> Result<(Made, bool), Failure> {
        if let Some(made) = self.finished(key).await? {
            return Ok((made, false));
        }
        let made = make()?;
        self.keep(name, key, &made).await?;
        Ok((made, true))
    }

    fn reopen(&self, step: &Step) -> Result<Made, Failure> {
        let mut tables = BTreeMap::new();
        for (table_name, sealed) in &step.blobs {
            let bytes = self.vault.open_work(&format!("{}/{table_name}", step.name), sealed)?;
            let table = Table::from_parquet(table_name, bytes::Bytes::copy_from_slice(&bytes));
            tables.insert(table_name.clone(), table.map_err(|_| NodeError::Work { step: step.name.clone() })?);
        }
        Ok(Made { tables, detail: step.detail.clone() })
    }
}
