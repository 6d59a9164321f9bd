//! Search with facets over a catalogue, in memory.
//!
//! Every word and every value of a facet is the set of the data sets that have it, as a Roaring bitmap (Lemire et al.,
//! "Roaring Bitmaps: Implementation of an Optimized Software Library", 2018). Data sets are numbered from the newest to
//! the oldest, so a set in its own order is the list as it is shown. A query is a few intersections: the time it takes
//! grows with the number of data sets divided by 64, not with how many match.
//!
//! ```
//! use acequia_hub::search::{Document, Facet, Index, Query};
//! let document = |name: &str, title: &str, condition: &str| Document {
//!     name: name.to_owned(), title: title.to_owned(), text: String::new(), tags: vec![],
//!     facets: vec![(Facet::Condition, condition.to_owned())], created_s: 0, published_s: 0,
//! };
//! let index = Index::of(vec![
//!     document("a/x", "Survival after breast cancer", "breast cancer"),
//!     document("a/y", "Survival after sepsis", "sepsis"),
//! ]);
//! let query = Query { words: "surviv".to_owned(), chosen: vec![(Facet::Condition, "sepsis".to_owned())], ..Query::default() };
//! let found = index.find(&query, 0, 20);
//! assert_eq!((found.total, found.names), (1, vec!["a/y"]));
//! // Counts of a facet are those that choosing another of its values would give.
//! let conditions = &found.facets[0];
//! assert_eq!(conditions.0, Facet::Condition);
//! assert_eq!(conditions.1.iter().map(|value| (value.value, value.count)).collect::<Vec<_>>(), [("breast cancer", 1), ("sepsis", 1)]);
//! ```

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use roaring::RoaringBitmap;

/// Values of a facet that are counted for an answer: the most frequent ones and those that were chosen.
const SHOWN_VALUES: usize = 20;
/// Words of a query that are looked at.
const MOST_WORDS: usize = 16;
/// A word this long also finds words that begin with it.
const PREFIX_CHARACTERS: usize = 3;

/// By what data sets can be narrowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
    /// Disease or finding.
    Condition,
    /// What may be done with it: the term of the Data Use Ontology.
    Purpose,
    /// Whose records the rows are.
    Kind,
    /// Rows that are people, in powers of ten.
    Size,
    /// Licence.
    Licence,
    /// What a model would learn from it.
    Task,
    /// Language of texts and labels.
    Language,
    /// Who publishes it.
    Publisher,
    /// How far the evidence about a model goes.
    Evidence,
    /// Who may read the rows.
    Access,
}

impl Facet {
    /// All, in the order they are shown.
    pub const ALL: [Self; 10] = [
        Self::Evidence,
        Self::Condition,
        Self::Purpose,
        Self::Access,
        Self::Kind,
        Self::Size,
        Self::Licence,
        Self::Task,
        Self::Language,
        Self::Publisher,
    ];

    /// The field of a query.
    pub fn field(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::Purpose => "purpose",
            Self::Kind => "kind",
            Self::Size => "size",
            Self::Licence => "licence",
            Self::Task => "task",
            Self::Language => "language",
            Self::Publisher => "publisher",
            Self::Evidence => "evidence",
            Self::Access => "access",
        }
    }

    /// What people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Condition => "Condition",
            Self::Purpose => "May be used for",
            Self::Kind => "Real or synthetic",
            Self::Size => "People",
            Self::Licence => "Licence",
            Self::Task => "Task",
            Self::Language => "Language",
            Self::Publisher => "Publisher",
            Self::Evidence => "Evidence",
            Self::Access => "Who may read the rows",
        }
    }
}

/// The facet value of a number of people or rows.
pub fn size_class(people: u64) -> &'static str {
    match people {
        ..100 => "under 100",
        100..1_000 => "100 to 999",
        1_000..10_000 => "1,000 to 9,999",
        10_000..100_000 => "10,000 to 99,999",
        100_000..1_000_000 => "100,000 to 999,999",
        _ => "1,000,000 and more",
    }
}

/// What is known of a data set before it is indexed.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// `namespace/name`.
    pub name: String,
    /// Words in it count most.
    pub title: String,
    /// Everything else that is searched.
    pub text: String,
    /// What [`Query::tags`] asks for.
    pub tags: Vec<String>,
    /// Values; a facet may have several.
    pub facets: Vec<(Facet, String)>,
    /// First published, seconds since 1970.
    pub created_s: i64,
    /// Newest version, seconds since 1970.
    pub published_s: i64,
}

/// The order of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Those with all words in the title first, each part from the newest on.
    #[default]
    Best,
    /// By when the newest version was published, from the newest on.
    Published,
    /// By when the first version was published, from the newest on.
    Created,
    /// By name.
    Name,
}

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Words that all occur, in any order.
    pub words: String,
    /// The words occur in name and title, as Hub clients expect, and not only anywhere.
    pub in_names: bool,
    /// Values; those of one facet are alternatives.
    pub chosen: Vec<(Facet, String)>,
    /// Tags that it must all have.
    pub tags: Vec<String>,
    /// How the answer is ordered.
    pub order: Order,
    /// The other way round.
    pub reverse: bool,
    /// Where the answer begins: behind this place of the order, wherever it is by now. Not for [`Order::Best`].
    pub after: Option<Place>,
}

/// A place in an order: what was published meanwhile moves no page that begins behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Seconds since 1970 in an order by time; 0 in one by name.
    pub at_s: i64,
    /// `namespace/name`.
    pub name: String,
}

/// A value of a facet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<'a> {
    /// The value.
    pub value: &'a str,
    /// Data sets that would be found with it.
    pub count: u64,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Found<'a> {
    /// Data sets that match.
    pub total: u64,
    /// Those of the page, in order.
    pub names: Vec<&'a str>,
    /// Whether there are more behind them.
    pub more: bool,
    /// The place of the last one, behind which the next page begins.
    pub last: Option<Place>,
    /// Facets with more than one value, or with a chosen one, in the order of [`Facet::ALL`].
    pub facets: Vec<(Facet, Vec<Counted<'a>>)>,
}

/// An index of a catalogue. It never changes; another catalogue gets another index.
#[derive(Debug, Default)]
pub struct Index {
    names: Vec<String>,
    all: RoaringBitmap,
    words: Words,
    titles: Words,
    tags: BTreeMap<String, RoaringBitmap>,
    /// Values of each facet, the most frequent first.
    facets: BTreeMap<Facet, Vec<(String, RoaringBitmap)>>,
    /// By number.
    published_s: Vec<i64>,
    created_s: Vec<i64>,
    by_created: Vec<u32>,
    by_name: Vec<u32>,
}

/// The data sets of each word.
#[derive(Debug, Default)]
struct Words {
    whole: BTreeMap<String, RoaringBitmap>,
    /// Unions over the words of a short beginning, where there are many: what is typed first is asked most.
    begun: BTreeMap<String, RoaringBitmap>,
}

/// Beginnings of this many characters have unions of their own.
const BEGINNINGS: [usize; 2] = [PREFIX_CHARACTERS, PREFIX_CHARACTERS + 1];
/// Fewer words than this are put together when they are asked for.
const MANY_WORDS: usize = 8;

impl Words {
    fn of(gathered: Gathered) -> Self {
        let whole: BTreeMap<String, RoaringBitmap> = gathered
            .names
            .into_iter()
            .map(|(word, at)| {
                (word, RoaringBitmap::from_sorted_iter(gathered.members[at].iter().copied()).unwrap_or_default())
            })
            .collect();
        let mut begun = BTreeMap::new();
        for length in BEGINNINGS {
            let beginning = |word: &str| word.char_indices().nth(length).map(|(end, _)| word[..end].to_owned());
            let mut groups: BTreeMap<String, Vec<&RoaringBitmap>> = BTreeMap::new();
            for (word, set) in &whole {
                let own = beginning(word).unwrap_or_else(|| word.clone());
                if own.chars().count() == length {
                    groups.entry(own).or_default().push(set);
                }
            }
            for (own, sets) in groups.into_iter().filter(|(_, sets)| sets.len() >= MANY_WORDS) {
                begun.insert(own, roaring::MultiOps::union(sets));
            }
        }
        Self { whole, begun }
    }

    /// Data sets with a word, or with one that begins with it.
    fn with(&self, word: &str) -> RoaringBitmap {
        if word.chars().count() < PREFIX_CHARACTERS {
            return self.whole.get(word).cloned().unwrap_or_default();
        }
        if let Some(known) = self.begun.get(word) {
            return known.clone();
        }
        let longer = self.whole.range(word.to_owned()..).take_while(|(own, _)| own.starts_with(word));
        roaring::MultiOps::union(longer.map(|(_, set)| set))
    }
}

/// Numbers of data sets by word, in growing order, while an index is made.
#[derive(Default)]
struct Gathered {
    names: HashMap<String, usize>,
    members: Vec<Vec<u32>>,
}

impl Gathered {
    fn add(&mut self, text: &str, number: u32) {
        for word in words(text) {
            let at = match self.names.get(word.as_ref()) {
                Some(at) => *at,
                None => {
                    self.members.push(Vec::new());
                    self.names.insert(word.into_owned(), self.members.len() - 1);
                    self.members.len() - 1
                }
            };
            if self.members[at].last() != Some(&number) {
                self.members[at].push(number);
            }
        }
    }
}

/// Words of a text: runs of letters and digits, in small letters.
fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let small = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    parts.map(move |word| if small(word) { Cow::Borrowed(word) } else { Cow::Owned(word.to_lowercase()) })
}

impl Index {
    /// Indexes documents. Of those with one name the newest counts.
    pub fn of(mut documents: Vec<Document>) -> Self {
        documents.sort_by(|a, b| b.published_s.cmp(&a.published_s).then_with(|| a.name.cmp(&b.name)));
        let mut index = Self::default();
        let mut facets: BTreeMap<Facet, BTreeMap<String, RoaringBitmap>> = BTreeMap::new();
        let (mut in_titles, mut anywhere) = (Gathered::default(), Gathered::default());
        for (number, document) in (0_u32..).zip(documents) {
            let add = |sets: &mut BTreeMap<String, RoaringBitmap>, key: String| {
                sets.entry(key).or_default().insert(number);
            };
            for text in [&document.title, &document.name] {
                in_titles.add(text, number);
                anywhere.add(text, number);
            }
            anywhere.add(&document.text, number);
            for tag in document.tags {
                anywhere.add(&tag, number);
                add(&mut index.tags, tag);
            }
            for (facet, value) in document.facets {
                anywhere.add(&value, number);
                add(facets.entry(facet).or_default(), value);
            }
            index.all.insert(number);
            index.created_s.push(document.created_s);
            index.published_s.push(document.published_s);
            index.names.push(document.name);
        }
        index.titles = Words::of(in_titles);
        index.words = Words::of(anywhere);
        let count = u32::try_from(index.names.len()).unwrap_or(u32::MAX);
        index.by_created = (0..count).collect();
        let (names, created) = (&index.names, &index.created_s);
        let place = |number: &u32| (Reverse(created[*number as usize]), &names[*number as usize]);
        index.by_created.sort_by(|a, b| place(a).cmp(&place(b)));
        index.by_name = (0..count).collect();
        index.by_name.sort_by_key(|number| &names[*number as usize]);
        for (facet, values) in facets {
            let mut values: Vec<(String, RoaringBitmap)> = values.into_iter().collect();
            // Stable: equally frequent ones stay in the order of their names.
            values.sort_by_key(|(_, set)| Reverse(set.len()));
            index.facets.insert(facet, values);
        }
        index
    }

    /// How many data sets.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Answers a query: the page that begins at `offset` with at most `limit` names, and the counts of all facets.
    pub fn find(&self, query: &Query, offset: usize, limit: usize) -> Found<'_> {
        let base = self.with_words_and_tags(query);
        let chosen: BTreeMap<Facet, RoaringBitmap> =
            query.chosen.iter().map(|(facet, _)| (*facet, self.chosen(*facet, query))).collect();
        let without = |left_out: Option<Facet>| {
            let others = chosen.iter().filter(|(facet, _)| Some(**facet) != left_out);
            others.fold(base.clone(), |found, (_, set)| found & set)
        };
        let found = without(None);
        let facets = Facet::ALL.into_iter().filter_map(|facet| {
            // What choosing another value would give: all other choices, not the facet's own.
            let own = chosen.contains_key(&facet).then(|| without(Some(facet)));
            let values = self.counts(facet, own.as_ref().unwrap_or(&found), query);
            (values.len() > 1 || values.iter().any(|value| value.chosen)).then_some((facet, values))
        });
        let facets = facets.collect();
        // One more than is shown says whether there are others.
        let mut numbers = self.page(&found, query, offset, limit.saturating_add(1));
        let more = numbers.len() > limit;
        numbers.truncate(limit);
        let last = numbers.last().map(|number| Place {
            at_s: match query.order {
                Order::Created => self.created_s[*number as usize],
                Order::Published => self.published_s[*number as usize],
                Order::Best | Order::Name => 0,
            },
            name: self.names[*number as usize].clone(),
        });
        let names = numbers.into_iter().map(|number| self.names[number as usize].as_str()).collect();
        Found { total: found.len(), names, more, last, facets }
    }

    fn with_words_and_tags(&self, query: &Query) -> RoaringBitmap {
        let mut found = self.all.clone();
        for word in words(&query.words).take(MOST_WORDS) {
            found &= if query.in_names { &self.titles } else { &self.words }.with(&word);
        }
        for tag in &query.tags {
            match self.tags.get(tag) {
                Some(set) => found &= set,
                None => found.clear(),
            }
        }
        found
    }

    /// Data sets with any of the values that were chosen of a facet.
    fn chosen(&self, facet: Facet, query: &Query) -> RoaringBitmap {
        let wanted = |value: &str| query.chosen.iter().any(|(own, chosen)| *own == facet && chosen == value);
        let values = self.facets.get(&facet).into_iter().flatten().filter(|(value, _)| wanted(value));
        values.fold(RoaringBitmap::new(), |sum, (_, set)| sum | set)
    }

    fn counts(&self, facet: Facet, found: &RoaringBitmap, query: &Query) -> Vec<Counted<'_>> {
        let values = self.facets.get(&facet).map_or(&[] as &[_], Vec::as_slice);
        let is_chosen = |value: &str| query.chosen.iter().any(|(own, chosen)| *own == facet && chosen == value);
        let shown = values.iter().enumerate().filter(|(at, (value, _))| *at < SHOWN_VALUES || is_chosen(value));
        let counted = shown.map(|(_, (value, set))| Counted {
            value,
            count: found.intersection_len(set),
            chosen: is_chosen(value),
        });
        counted.filter(|value| value.count > 0 || value.chosen).collect()
    }

    /// How many members of an order by time come before a place, the member at the place included unless `reverse`.
    fn before(&self, order: impl Fn(usize) -> usize, time_s: &[i64], place: &Place, reverse: bool) -> usize {
        let of = |at: usize| (Reverse(time_s[order(at)]), self.names[order(at)].as_str());
        let place = (Reverse(place.at_s), place.name.as_str());
        partition_point(self.names.len(), |at| if reverse { of(at) < place } else { of(at) <= place })
    }

    fn page(&self, found: &RoaringBitmap, query: &Query, offset: usize, limit: usize) -> Vec<u32> {
        let reverse = query.reverse;
        // Of an order, what comes behind the place where the answer begins.
        let behind = |order: &'_ [u32], before: &dyn Fn(&Place) -> usize| -> std::ops::Range<usize> {
            match &query.after {
                None => 0..order.len(),
                Some(place) if reverse => 0..before(place),
                Some(place) => before(place)..order.len(),
            }
        };
        let by_created = behind(&self.by_created, &|place| {
            self.before(|at| self.by_created[at] as usize, &self.created_s, place, reverse)
        });
        let by_name = behind(&self.by_name, &|place| {
            let of = |at: usize| self.names[self.by_name[at] as usize].as_str();
            let wanted = place.name.as_str();
            partition_point(self.names.len(), |at| if reverse { of(at) < wanted } else { of(at) <= wanted })
        });
        let newer;
        let found = match &query.after {
            Some(place) if query.order == Order::Published => {
                let before = self.before(|at| at, &self.published_s, place, reverse);
                let mut left = found.clone();
                let border = u32::try_from(before).unwrap_or(u32::MAX);
                if reverse {
                    left.remove_range(border..)
                } else {
                    left.remove_range(..border)
                };
                newer = left;
                &newer
            }
            _ => found,
        };
        let in_order = |order: &[u32]| -> Vec<u32> {
            let inside = |number: &&u32| found.contains(**number);
            match query.reverse {
                false => order.iter().filter(inside).skip(offset).take(limit).copied().collect(),
                true => order.iter().rev().filter(inside).skip(offset).take(limit).copied().collect(),
            }
        };
        match query.order {
            Order::Created => in_order(&self.by_created[by_created]),
            Order::Name => in_order(&self.by_name[by_name]),
            Order::Published if query.reverse => {
                let last = usize::try_from(found.len()).unwrap_or(usize::MAX).saturating_sub(offset);
                let mut numbers = part(found, last.saturating_sub(limit), limit.min(last));
                numbers.reverse();
                numbers
            }
            Order::Published => part(found, offset, limit),
            Order::Best => {
                let mut first = found.clone();
                for word in words(&query.words).take(MOST_WORDS) {
                    first &= self.titles.with(&word);
                }
                let before = usize::try_from(first.len()).unwrap_or(usize::MAX);
                let mut numbers = part(&first, offset, limit);
                if numbers.len() < limit {
                    let rest = found - &first;
                    numbers.extend(part(&rest, offset.saturating_sub(before), limit - numbers.len()));
                }
                numbers
            }
        }
    }
}

/// The first of `0..end` for which `before` does not hold, where it holds for all up to some place and for none behind.
fn partition_point(end: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Members `offset..offset + limit` of a set, in its order.
fn part(set: &RoaringBitmap, offset: usize, limit: usize) -> Vec<u32> {
    let first = u32::try_from(offset).ok().and_then(|offset| set.select(offset));
    let Some(first) = first else { return Vec::new() };
    let mut members = set.iter();
    members.advance_to(first);
    members.take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document(number: usize, title: &str, text: &str, licence: &str, kind: &str) -> Document {
        Document {
            name: format!("a/{number:03}"),
            title: title.to_owned(),
            text: text.to_owned(),
            tags: vec![format!("license:{licence}")],
            facets: vec![(Facet::Licence, licence.to_owned()), (Facet::Kind, kind.to_owned())],
            created_s: number as i64 % 7,
            published_s: number as i64 % 5,
        }
    }

    const WORDS: [&str; 6] = ["heart", "heartbeat", "lung", "of", "Über", "x1"];

    prop_compose! {
        fn documents()(parts in prop::collection::vec((prop::collection::vec(0..6_usize, 0..3), prop::collection::vec(0..6_usize, 0..4), 0..3_usize, 0..2_usize), 0..40)) -> Vec<Document> {
            let say = |words: &[usize]| words.iter().map(|at| WORDS[*at]).collect::<Vec<_>>().join("-");
            parts.iter().enumerate().map(|(at, (title, text, licence, kind))| {
                document(at, &say(title), &say(text), ["mit", "cc", "odbl"][*licence], ["real", "made"][*kind])
            }).collect()
        }
    }

    /// The same by going through all documents.
    fn naive<'d>(documents: &'d [Document], query: &Query, left_out: Option<Facet>) -> Vec<&'d Document> {
        let text = |document: &Document| {
            format!(
                "{} {} {} {} {}",
                document.title,
                document.text,
                document.name,
                document.tags.join(" "),
                document.facets.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
            )
        };
        let says = |document: &Document| {
            words(&query.words).all(|word| {
                words(&text(document))
                    .any(|own| own == word || (word.chars().count() >= 3 && own.starts_with(word.as_ref())))
            })
        };
        let chosen = |document: &Document| {
            Facet::ALL.iter().filter(|facet| Some(**facet) != left_out).all(|facet| {
                let wanted: Vec<&String> =
                    query.chosen.iter().filter(|(own, _)| own == facet).map(|(_, value)| value).collect();
                wanted.is_empty() || document.facets.iter().any(|(own, value)| own == facet && wanted.contains(&value))
            })
        };
        documents
            .iter()
            .filter(|document| {
                says(document) && chosen(document) && query.tags.iter().all(|tag| document.tags.contains(tag))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn finds_what_going_through_all_finds(
            documents in documents(),
            wanted in prop::collection::vec(prop::sample::select(vec!["hea", "heart", "lung", "of", "über", "x", "o", "none"]), 0..3),
            chosen in prop::collection::vec(prop::sample::select(vec![(Facet::Licence, "mit"), (Facet::Licence, "cc"), (Facet::Kind, "real"), (Facet::Kind, "odd")]), 0..3),
            tag in prop::option::of(prop::sample::select(vec!["license:mit", "license:none"])),
            order in prop::sample::select(vec![Order::Best, Order::Published, Order::Created, Order::Name]),
            reverse in any::<bool>(),
            offset in 0..6_usize, limit in 0..9_usize,
        ) {
            let index = Index::of(documents.clone());
            let query = Query {
                words: wanted.join(" "),
                chosen: chosen.into_iter().map(|(facet, value)| (facet, value.to_owned())).collect(),
                tags: tag.into_iter().map(str::to_owned).collect(),
                in_names: false, order, reverse, after: None,
            };
            let mut expected = naive(&documents, &query, None);
            let found = index.find(&query, offset, limit);
            prop_assert_eq!(found.total, expected.len() as u64);
            let in_title = |document: &Document| {
                let own = format!("{} {}", document.title, document.name);
                words(&query.words).all(|word| words(&own).any(|own| own == word || (word.chars().count() >= 3 && own.starts_with(word.as_ref()))))
            };
            expected.sort_by(|a, b| b.published_s.cmp(&a.published_s).then_with(|| a.name.cmp(&b.name)));
            match order {
                Order::Best => expected.sort_by_key(|document| !in_title(document)),
                Order::Created => {
                    expected.sort_by(|a, b| b.created_s.cmp(&a.created_s).then_with(|| a.name.cmp(&b.name)));
                }
                Order::Name => expected.sort_by(|a, b| a.name.cmp(&b.name)),
                Order::Published => {}
            }
            if reverse && order != Order::Best {
                expected.reverse();
            }
            let names: Vec<&str> = expected.iter().skip(offset).take(limit).map(|document| document.name.as_str()).collect();
            prop_assert_eq!(found.names, names);
            // Page by page, each behind the last place of the one before, comes the same; also where that is not there any more.
            if order != Order::Best && limit > 0 {
                let (mut paged, mut after) = (Vec::new(), None);
                loop {
                    let page = index.find(&Query { after, ..query.clone() }, 0, limit);
                    paged.extend(page.names.iter().map(|name| (*name).to_owned()));
                    after = page.last;
                    prop_assert!(page.names.len() == limit || !page.more);
                    if !page.more {
                        break;
                    }
                }
                let all: Vec<&str> = expected.iter().map(|document| document.name.as_str()).collect();
                prop_assert_eq!(&paged, &all);
                if let Some(gone) = expected.get(offset) {
                    let others: Vec<Document> = documents.iter().filter(|d| d.name != gone.name).cloned().collect();
                    let at_s = match order {
                        Order::Created => gone.created_s,
                        Order::Published => gone.published_s,
                        Order::Best | Order::Name => 0,
                    };
                    let after = Some(Place { at_s, name: gone.name.clone() });
                    let index = Index::of(others);
                    let rest = index.find(&Query { after, ..query.clone() }, 0, all.len()).names;
                    prop_assert_eq!(&rest, &all[offset + 1..]);
                }
            }
            for (facet, values) in found.facets {
                let own = naive(&documents, &query, Some(facet));
                for value in values {
                    let count = own.iter().filter(|document| document.facets.iter().any(|(f, v)| *f == facet && v == value.value)).count();
                    prop_assert_eq!(value.count, count as u64);
                }
            }
        }
    }
}
