//! Finding concepts by words: how much of what was asked a name has, rare words counting more.
//!
//! The words of all names and synonyms are in the index with the concepts they occur in. From those, the concepts with
//! the heaviest overlap are taken, and each is ranked by the cosine of its best name with the question, every word
//! weighted by ln(1 + concepts / concepts that have it) (Salton & Buckley 1988, tf-idf with tf = 1).

use std::collections::{BTreeMap, HashMap};

use super::layout::{Ascending, SPAN, Section, Texts, u32_at};
use super::words::words;
use super::{ConceptRef, Vocabulary};

/// Concepts whose names are compared in full.
const COMPARED: usize = 400;
/// Concepts taken from the list of one word, unless an earlier word has named them.
const TAKEN: usize = 100_000;
/// A word of more concepts than this only adds to those that a rarer word has named.
const FREQUENT: usize = 50_000;
/// Words tried for one that is not in the index.
const CONTINUED: usize = 64;

/// What is asked for beside the words.
#[derive(Debug, Clone, Copy, Default)]
pub struct SearchScope<'s> {
    /// Only this `vocabulary_id`.
    pub vocabulary_id: Option<&'s str>,
    /// Only this `domain_id`.
    pub domain_id: Option<&'s str>,
    /// Only valid standard concepts.
    pub standard: bool,
}

impl SearchScope<'_> {
    fn admits(&self, concept: &ConceptRef<'_>) -> bool {
        self.vocabulary_id.is_none_or(|wanted| wanted == concept.vocabulary_id)
            && self.domain_id.is_none_or(|wanted| wanted == concept.domain_id)
            && (!self.standard || concept.is_standard())
    }
}

/// A concept that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<'v> {
    /// The concept.
    pub concept: ConceptRef<'v>,
    /// Cosine of the words asked for with its best name, 0 to 1.
    pub score: f64,
    /// Whether its code is the very text asked for.
    pub by_code: bool,
}

impl Vocabulary {
    /// Concepts with the words of `text` in their names or synonyms, best first, those whose code it is before all. A
    /// word that is not in the index stands for the words it begins.
    ///
    /// ```
    /// # use acequia_omop::{SearchScope, Vocabulary};
    /// let found = Vocabulary::bundled().search("hemoglobin blood mass", SearchScope::default(), 3);
    /// assert_eq!(found[0].concept.name, "Hemoglobin [Mass/volume] in Blood");
    /// ```
    pub fn search(&self, text: &str, scope: SearchScope<'_>, limit: usize) -> Vec<Found<'_>> {
        let coded = self.vocabularies.iter().filter_map(|info| self.by_code(&info.vocabulary_id, text.trim()));
        let mut found: Vec<Found<'_>> = coded
            .filter(|concept| scope.admits(concept))
            .map(|concept| Found { concept, score: 1.0, by_code: true })
            .collect();
        let asked = self.asked(text);
        let by_words = self.by_words(&asked, scope);
        let coded = found.len();
        for hit in by_words {
            if !found[..coded].iter().any(|found| found.concept.concept_id == hit.concept.concept_id) {
                found.push(hit);
            }
        }
        found.truncate(limit);
        found
    }

    /// Weight of every word asked for, and the words of the index that stand for it.
    fn asked(&self, text: &str) -> Vec<Asked> {
        let mut asked = BTreeMap::new();
        let mut note = |word: &str| {
            asked.entry(word.to_owned()).or_insert(());
            Ok(())
        };
        // Cannot fail: `note` does not.
        let _ = words(text, &mut note);
        let Some(index) = Texts::read(self.section(Section::Words)) else { return Vec::new() };
        let weight = |number: usize| self.weight(self.occurrences(number));
        asked
            .into_keys()
            .take(64)
            .map(|word| {
                let numbers = match index.find(&word) {
                    Some(number) => vec![number],
                    None if word.len() >= 3 => index.with_prefix(&word).take(CONTINUED).collect(),
                    None => Vec::new(),
                };
                let weight = numbers
                    .iter()
                    .map(|number| weight(*number))
                    .fold(None, |least: Option<f64>, weight| Some(least.map_or(weight, |least| least.min(weight))));
                Asked { weight: weight.unwrap_or_else(|| self.weight(1)), word, numbers }
            })
            .collect()
    }

    /// Rare words weigh more.
    fn weight(&self, occurrences: usize) -> f64 {
        (1.0 + self.concepts as f64 / occurrences.max(1) as f64).ln()
    }

    /// Where the concepts of a word are listed: start, end, number of them.
    fn span(&self, number: usize) -> Option<(usize, usize, usize)> {
        let section = self.section(Section::Postings);
        let count = Texts::read(self.section(Section::Words))?.count;
        let at = section.len().checked_sub(count.checked_mul(SPAN)?)?.checked_add(number.checked_mul(SPAN)?)?;
        let read = |at| u32_at(section, at).map(|number| number as usize);
        Some((read(at)?, read(at + 4)?, read(at + 8)?))
    }

    /// In how many concepts a word occurs.
    fn occurrences(&self, number: usize) -> usize {
        self.span(number).map_or(0, |(.., concepts)| concepts)
    }

    /// Ordinals in which a word occurs.
    fn posting(&self, number: usize) -> Ascending<'_> {
        let listed = self.span(number).and_then(|(from, to, _)| self.section(Section::Postings).get(from..to));
        Ascending::new(listed.unwrap_or_default())
    }

    fn by_words(&self, asked: &[Asked], scope: SearchScope<'_>) -> Vec<Found<'_>> {
        let length = asked.iter().map(|asked| asked.weight * asked.weight).sum::<f64>().sqrt();
        if length == 0.0 {
            return Vec::new();
        }
        let mut overlap: HashMap<u32, f64> = HashMap::new();
        let mut heaviest: Vec<&Asked> = asked.iter().collect();
        heaviest.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.word.cmp(&b.word)));
        for asked in heaviest {
            let mut added: HashMap<u32, f64> = HashMap::new();
            for number in &asked.numbers {
                let opens = overlap.is_empty() || self.occurrences(*number) <= FREQUENT;
                for ordinal in self.posting(*number) {
                    if overlap.contains_key(&ordinal) || (opens && added.len() < TAKEN) {
                        added.insert(ordinal, asked.weight);
                    }
                }
            }
            for (ordinal, weight) in added {
                *overlap.entry(ordinal).or_default() += weight;
            }
        }
        // The index holds every vocabulary; what is out of scope must not use up the places.
        let mut heaviest: Vec<(f64, usize, u32)> =
            overlap.into_iter().map(|(ordinal, overlap)| (overlap, self.name(ordinal).len(), ordinal)).collect();
        heaviest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        let mut found: Vec<Found<'_>> = heaviest
            .into_iter()
            .filter_map(|(_, _, ordinal)| self.at(ordinal))
            .filter(|concept| scope.admits(concept))
            .take(COMPARED)
            .map(|concept| {
                let names = std::iter::once(concept.name).chain(self.synonyms(concept.concept_id));
                let score = names.map(|name| self.cosine(asked, length, name)).fold(0.0, f64::max);
                Found { concept, score, by_code: false }
            })
            .collect();
        found.sort_by(|a, b| {
            let order = |found: &Found<'_>| (!found.concept.is_standard(), found.concept.name.len());
            b.score
                .total_cmp(&a.score)
                .then_with(|| order(a).cmp(&order(b)))
                .then_with(|| a.concept.concept_id.cmp(&b.concept.concept_id))
        });
        found
    }

    /// Cosine of the question with a name.
    fn cosine(&self, asked: &[Asked], length: f64, name: &str) -> f64 {
        let Some(index) = Texts::read(self.section(Section::Words)) else { return 0.0 };
        let mut has: BTreeMap<String, f64> = BTreeMap::new();
        let _ = words(name, |word| {
            if !has.contains_key(word) {
                let occurrences = index.find(word).map_or(1, |number| self.occurrences(number));
                has.insert(word.to_owned(), self.weight(occurrences));
            }
            Ok(())
        });
        let own = has.values().map(|weight| weight * weight).sum::<f64>().sqrt();
        if own == 0.0 {
            return 0.0;
        }
        let shared: f64 = asked
            .iter()
            .map(|asked| match has.get(&asked.word) {
                Some(weight) => weight * asked.weight,
                // The beginning of a word counts by how much of it is there.
                None if asked.is_beginning(index.find(&asked.word).is_some()) => has
                    .iter()
                    .filter(|(word, _)| word.starts_with(&asked.word))
                    .map(|(word, weight)| {
                        weight.min(asked.weight) * asked.weight * asked.word.len() as f64 / word.len() as f64
                    })
                    .fold(0.0, f64::max),
                None => 0.0,
            })
            .sum();
        (shared / (own * length)).min(1.0)
    }
}

/// A word asked for.
struct Asked {
    word: String,
    weight: f64,
    /// Words of the index that stand for it.
    numbers: Vec<usize>,
}

impl Asked {
    fn is_beginning(&self, known: bool) -> bool {
        !known && !self.numbers.is_empty()
    }
}
