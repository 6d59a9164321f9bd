//! The rights desk of the node, and papers about consent.

use std::path::Path;

use acequia_custody::fhir::{Imported, Release, from_fhir, to_fhir};
use acequia_custody::receipt::{receipt, record_of_processing, record_of_processing_csv};
use acequia_types::{DonorId, Timestamp};
use acequia_vault::{Case, Desk, Export, HandOver, Texts, VaultError};
use serde_json::Value;

use crate::failure::{Failure, NodeError, io};
use crate::home::Node;
use crate::settings::Settings;

impl Node {
    /// The rights desk, under the rules of the node.
    pub fn desk(&self) -> Desk {
        let desk = Desk::new(self.store.clone(), self.vault.clone(), self.blobs.clone(), self.rules.clone());
        desk.watched(crate::failpoint::failpoint)
    }

    /// What donors and recipients read, in their language: the node's own texts, those of the program, or English.
    ///
    /// # Errors
    /// [`NodeError::Texts`] when the node's own texts cannot be read.
    pub fn texts(&self, language: &str) -> Result<Texts, Failure> {
        let plain = !language.is_empty() && language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let path = self.home.join("texts").join(format!("{language}.ftl"));
        if !plain || !path.is_file() {
            return Ok(Texts::of(language));
        }
        let bytes = acequia_blobs::read_file(&path, "texts of the node", 1024 * 1024)?;
        let texts = Texts::read(language, &String::from_utf8_lossy(&bytes));
        Ok(texts.map_err(|error| NodeError::Texts { language: language.to_owned(), row: error.row })?)
    }

    /// The time by the node's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does what is left of a request. What is handed over goes to the folder `to`, each file aside and renamed.
    ///
    /// # Errors
    /// Errors of the desk; [`NodeError::Busy`] while another command works on the node.
    pub async fn execute_request(&self, number: u64, to: Option<&Path>) -> Result<Case, Failure> {
        let _lock = self.lock()?;
        let mut write;
        let export: Option<&mut HandOver<'_>> = match to {
            Some(folder) => {
                std::fs::create_dir_all(folder.join("originals"))
                    .map_err(io("the folder to hand over to", "written"))?;
                write = |export: &Export| -> Result<(), VaultError> {
                    for (path, bytes) in export {
                        acequia_blobs::write_file_atomically(&folder.join(path), bytes)?;
                    }
                    Ok(())
                };
                Some(&mut write)
            }
            None => None,
        };
        let case = self.desk().execute(number, self.clock.now(), export).await?;
        self.hand_over_notices().await?;
        Ok(case)
    }

    /// The receipt of a donor's consents, as JSON-LD.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when nothing is on file.
    pub async fn receipt(&self, donor: &DonorId, language: &str) -> Result<Value, Failure> {
        let history = self.store.consent(donor).await?.ok_or(NodeError::NotFound { what: "donor" })?;
        Ok(receipt(donor, &history, &Settings::read(&self.home)?.trustee(), language))
    }

    /// The consent that holds now, as FHIR.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when nothing is on file.
    pub async fn consent_as_fhir(&self, donor: &DonorId, release: Release) -> Result<Value, Failure> {
        let history = self.store.consent(donor).await?.ok_or(NodeError::NotFound { what: "donor" })?;
        Ok(to_fhir(donor, &history, self.clock.now(), release))
    }

    /// Takes over a consent from a FHIR resource. What it says beyond what is understood is not permitted, and listed.
    ///
    /// # Errors
    /// [`NodeError::ConsentFile`] when it is no `Consent`.
    pub async fn read_fhir_consent(&self, donor: &DonorId, path: &Path) -> Result<Imported, Failure> {
        const LARGEST_BYTES: u64 = 1024 * 1024;
        let bytes = acequia_blobs::read_file(path, "the FHIR consent", LARGEST_BYTES)?;
        let wrong = |message: String| NodeError::ConsentFile { intake: "the resource".to_owned(), message };
        let resource: Value = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("row {}, character {}", error.line(), error.column())))?;
        let imported = from_fhir(&resource).ok_or_else(|| wrong("it is no Consent".to_owned()))?;
        self.store.append_consent(donor, &imported.events, self.clock.now()).await?;
        Ok(imported)
    }

    /// The record of processing activities: JSON-LD, or CSV.
    ///
    /// # Errors
    /// When the settings cannot be read.
    pub fn record_of_processing(&self) -> Result<(Value, String), Failure> {
        let trustee = Settings::read(&self.home)?.trustee();
        Ok((record_of_processing(&trustee, self.clock.now()), record_of_processing_csv()))
    }
}

#[cfg(test)]
mod tests {
    /// Every stage that touches persons' data has its row in the record of processing.
    #[test]
    fn every_stage_is_in_the_record_of_processing() {
        let rows: Vec<String> =
            acequia_custody::receipt::activities().into_iter().map(|activity| activity.id).collect();
        for failpoint in crate::FAILPOINTS.into_iter().chain(crate::DESK_POINTS) {
            let stage = failpoint.split('.').next().unwrap_or_default();
            assert!(rows.iter().any(|row| row == stage), "{stage} is not in crates/custody/data/processing.toml");
        }
    }
}
