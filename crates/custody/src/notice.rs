//! What people are told before they allow something that cannot be called back, word for word and by version.
//!
//! The words are data: `data/notices/`. A change of meaning is another version; a consent names the version, the language and
//! the digest of the words that were shown (GDPR Art. 7(1); reference design §3.6, §3.7).

use std::collections::BTreeMap;

use acequia_types::Digest;
use serde::Deserialize;

use crate::Notice;

/// A notice in all its languages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notices {
    /// Which notice.
    pub id: String,
    /// Its version, rising.
    pub version: u32,
    /// Whether consents given to older versions must be asked again.
    pub material: bool,
    /// Language by BCP 47 to words. `{days}` stands for the days until a consent counts.
    text: BTreeMap<String, String>,
}

impl Notices {
    /// That open publication cannot be called back: `data/notices/open-publication.toml`.
    ///
    /// # Panics
    /// Never: a test reads the file.
    pub fn open_publication() -> Self {
        toml::from_str(include_str!("../data/notices/open-publication.toml")).expect("the bundled notice")
    }

    /// Languages in which it may be shown.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.text.keys().map(String::as_str)
    }

    /// The words to show, where a consent counts after `cooling_off_days`; `None` when they are not in that language.
    pub fn words(&self, language: &str, cooling_off_days: u32) -> Option<String> {
        Some(self.text.get(language)?.trim().replace("{days}", &cooling_off_days.to_string()))
    }

    /// What a consent says of it when these words were shown.
    pub fn shown(&self, language: &str, cooling_off_days: u32) -> Option<Notice> {
        let words = self.words(language, cooling_off_days)?;
        let digest = Digest::of(words.as_bytes());
        // Other days are other words.
        let id = format!("{}-{cooling_off_days}-days", self.id);
        Some(Notice { id, version: self.version, language: language.to_owned(), digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_says_in_every_language_when_a_consent_counts() {
        let notice = Notices::open_publication();
        assert_eq!(notice.languages().collect::<Vec<_>>(), ["de", "en", "fr"]);
        for language in notice.languages() {
            let words = notice.words(language, 14).unwrap();
            assert!(words.contains("14") && !words.contains('{'), "{language}");
            assert_ne!(notice.shown(language, 14), notice.shown(language, 7), "{language}");
        }
        assert_eq!(notice.words("xx", 14), None);
    }
}
