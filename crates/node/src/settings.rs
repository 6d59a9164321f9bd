//! `settings.toml` in the node's folder: which back ends it uses. Without the file everything is embedded.
//!
//! ```toml
//! [store]
//! url = "postgres://acequia@records.example.org/acequia"   # default: records.sqlite in the node's folder
//!
//! [trustee]                                                # as papers name it
//! name = "Trustee"
//! address = "Street 1, 10115 Berlin"
//! contact = "data@trustee.example"
//! country = "DE"
//! authority = "the supervisory authority of the country"
//! ```

use std::path::Path;

use acequia_custody::receipt::Controller;
use acequia_store::Store;
use acequia_types::{Coded, Exit};
use serde::Deserialize;

use crate::failure::Failure;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    store: StoreSettings,
    trustee: Option<Controller>,
}

/// Not `Debug`: the URL may hold a password.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct StoreSettings {
    url: Option<String>,
}

/// The settings cannot be used. The message gives the row, never the text.
#[derive(Debug, thiserror::Error)]
#[error("settings.toml of the node cannot be used: row {row}")]
pub struct SettingsError {
    /// From 1.
    pub row: usize,
}

impl Coded for SettingsError {
    fn code(&self) -> &'static str {
        "SE001"
    }
    fn hint(&self) -> &'static str {
        "keys are `url` under `[store]`, and name, address, contact, country and authority under `[trustee]`"
    }
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Settings {
    pub(crate) fn read(home: &Path) -> Result<Self, Failure> {
        let path = home.join("settings.toml");
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = acequia_blobs::read_file(&path, "settings.toml of the node", 64 * 1024)?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| SettingsError { row: 1 })?;
        let parsed = toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            SettingsError { row: text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1 }
        });
        Ok(parsed?)
    }

    /// The trustee, as papers name it; where nothing is stated, they say so.
    pub(crate) fn trustee(&self) -> Controller {
        let unstated = || "not stated in settings.toml".to_owned();
        self.trustee.clone().unwrap_or_else(|| Controller {
            name: unstated(),
            address: unstated(),
            contact: unstated(),
            country: unstated(),
            authority: unstated(),
        })
    }

    /// Opens the records they name.
    pub(crate) async fn store(&self, home: &Path) -> Result<Store, Failure> {
        Ok(match &self.store.url {
            Some(url) => Store::connect(url).await?,
            None => Store::open(&home.join("records.sqlite")).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_without_being_repeated() {
        let home = tempfile::tempdir().unwrap();
        assert!(Settings::read(home.path()).is_ok_and(|settings| settings.store.url.is_none()));
        let write = |text: &str| std::fs::write(home.path().join("settings.toml"), text).unwrap();
        write("[store]\nurl = \"postgres://u:secret@h/d\"\n");
        assert!(Settings::read(home.path()).is_ok_and(|settings| settings.store.url.is_some()));
        write("[store]\nurll = \"postgres://u:secret@h/d\"\n");
        let refused = Settings::read(home.path()).err().unwrap();
        assert_eq!((refused.code.as_str(), refused.message.contains("row 2")), ("SE001", true));
        assert!(!refused.message.contains("secret"));
    }
}
