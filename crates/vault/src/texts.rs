//! What donors and recipients read, in their language.
//!
//! Texts are Fluent resources (projectfluent.org, syntax 1.0): `data/texts/`. English, German and French come with the program;
//! a node may bring others. What a language lacks is said in English.

use std::fmt;

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

/// Texts that come with the program, English first.
const BUNDLED: [(&str, &str); 3] = [
    ("en", include_str!("../data/texts/en.ftl")),
    ("de", include_str!("../data/texts/de.ftl")),
    ("fr", include_str!("../data/texts/fr.ftl")),
];

/// Texts in one language.
pub struct Texts {
    language: String,
    own: FluentBundle<FluentResource>,
    english: FluentBundle<FluentResource>,
}

/// A text file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// First row that is wrong, from 1.
    pub row: usize,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Texts({})", self.language)
    }
}

fn bundle(language: &str, text: &str) -> Result<FluentBundle<FluentResource>, Unreadable> {
    let first = Unreadable { row: 1 };
    let id: LanguageIdentifier = language.parse().map_err(|_| first)?;
    let resource = FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| {
        let before = errors.first().map_or(0, |error| error.pos.start.min(text.len()));
        Unreadable { row: text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1 }
    })?;
    let mut bundle = FluentBundle::new(vec![id]);
    // Marks around inserted values would be seen in letters as plain text.
    bundle.set_use_isolating(false);
    bundle.add_resource(resource).map_err(|_| first)?;
    Ok(bundle)
}

impl Texts {
    /// Languages that come with the program.
    pub fn languages() -> impl Iterator<Item = &'static str> {
        BUNDLED.iter().map(|(language, _)| *language)
    }

    /// Texts that come with the program; English where the language is not known.
    ///
    /// # Panics
    /// Never: a test reads the texts.
    pub fn of(language: &str) -> Self {
        let (language, text) = BUNDLED.iter().find(|(known, _)| *known == language).unwrap_or(&BUNDLED[0]);
        Self::read(language, text).expect("bundled texts")
    }

    /// Texts of a node's own, as a Fluent resource.
    ///
    /// # Errors
    /// [`Unreadable`] when the language is none by BCP 47, or the text is no resource.
    ///
    /// # Panics
    /// Never: a test reads the English texts.
    pub fn read(language: &str, text: &str) -> Result<Self, Unreadable> {
        let english = bundle(BUNDLED[0].0, BUNDLED[0].1).expect("bundled texts");
        Ok(Self { language: language.to_owned(), own: bundle(language, text)?, english })
    }

    /// Which language, by BCP 47.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// A text without values.
    pub fn say(&self, key: &str) -> String {
        self.say_with(key, &[])
    }

    /// A text with values.
    pub fn say_with(&self, key: &str, values: &[(&str, &str)]) -> String {
        self.formatted(key, values.iter().map(|(name, value)| (*name, FluentValue::from(*value))))
    }

    /// A text that depends on `$count`.
    pub fn count(&self, key: &str, count: u64) -> String {
        self.formatted(key, [("count", FluentValue::from(count))])
    }

    fn formatted<'v>(&self, key: &str, values: impl IntoIterator<Item = (&'v str, FluentValue<'v>)>) -> String {
        let values: FluentArgs<'_> = values.into_iter().collect();
        for bundle in [&self.own, &self.english] {
            if let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) {
                // A text that lacks a value shows its name in braces; that is better than no letter.
                return bundle.format_pattern(pattern, Some(&values), &mut Vec::new()).into_owned();
            }
        }
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use acequia_custody::Level;
    use acequia_custody::rights::{Refusal, Right};
    use fluent_bundle::FluentError;

    use super::*;

    fn keys(text: &str) -> BTreeSet<&str> {
        let key = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase());
        text.lines().filter(|line| key(line)).filter_map(|line| Some(line.split_once(" =")?.0)).collect()
    }

    /// Names in braces, such as `$day`.
    fn values(text: &str) -> BTreeSet<&str> {
        text.split('$').skip(1).map(|rest| rest.split([' ', '}']).next().unwrap_or_default()).collect()
    }

    #[test]
    fn every_language_says_everything_and_nothing_else() {
        let english = keys(BUNDLED[0].1);
        let mut needed: BTreeSet<String> = Right::ALL.iter().map(|right| right.as_str().to_owned()).collect();
        needed.extend(Right::ALL.iter().flat_map(|right| right.tasks()).map(crate::desk::word));
        needed.extend(Level::ALL.iter().map(|level| level.as_str().to_owned()));
        needed.extend(
            Refusal::ALL.iter().filter(|reason| **reason != Refusal::Identity).map(|reason| reason.as_str().to_owned()),
        );
        for key in needed {
            assert!(english.contains(key.as_str()), "{key}");
        }
        for (language, text) in BUNDLED {
            assert_eq!(keys(text), english, "{language}");
            let texts = Texts::of(language);
            assert_eq!(texts.language(), language);
            for key in &english {
                let pattern = texts.own.get_message(key).and_then(|message| message.value()).expect(key);
                let all = [
                    "dataset",
                    "version",
                    "day",
                    "recipient",
                    "id",
                    "code",
                    "account",
                    "number",
                    "format",
                    "size",
                    "purposes",
                    "purpose",
                    "reason",
                    "why",
                    "level",
                    "right",
                    "source",
                ];
                let all = all.map(|name| (name, FluentValue::from("x")));
                let mut args: FluentArgs<'_> = all.into_iter().collect();
                args.set("count", 2);
                let mut errors: Vec<FluentError> = Vec::new();
                let said = texts.own.format_pattern(pattern, Some(&args), &mut errors);
                assert!(errors.is_empty() && !said.is_empty() && !said.contains('{'), "{language} {key}: {errors:?}");
            }
            // Both languages put the same values into a text.
            for key in &english {
                let line = |text: &'static str| {
                    let start = text.find(&format!("\n{key} =")).map_or(0, |at| at + 1);
                    values(
                        text[start..].split("\n\n").next().unwrap_or_default().split("\n").next().unwrap_or_default(),
                    )
                };
                assert_eq!(line(text), line(BUNDLED[0].1), "{language} {key}");
            }
        }
    }

    #[test]
    fn a_node_may_bring_a_language_and_what_it_lacks_is_said_in_english() {
        let texts = Texts::read("it", "title = La sua richiesta\n").unwrap();
        assert_eq!((texts.say("title").as_str(), texts.language()), ("La sua richiesta", "it"));
        assert_eq!(texts.say("closed"), "We have done what you asked for.");
        assert_eq!(Texts::of("xx").language(), "en");
        assert_eq!(Texts::read("it", "title = a\nb\n").unwrap_err(), Unreadable { row: 2 });
        assert_eq!(Texts::read("../it", "").unwrap_err(), Unreadable { row: 1 });
    }

    #[test]
    fn numbers_are_said_as_the_language_does() {
        let english = Texts::of("en");
        assert!(english.count("report-uses-after", 0).contains("no use"));
        assert!(english.count("report-uses-after", 1).contains("once"));
        assert!(Texts::of("de").count("report-uses-after", 3).contains("3-mal"));
        // French counts 0 among the ones; what is said of 0 is chosen by the number itself.
        assert!(Texts::of("fr").count("report-uses-after", 0).contains("aucune"));
    }
}
