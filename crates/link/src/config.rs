//! What is compared and how: a TOML file, or a guess from names and values of the columns.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clk::ClkConfig;
use crate::table::{MISSING, Table, TextColumn, wrong};
use crate::text::{date_order, is_date};
use crate::{Comparator, LinkError};

/// Most columns that are compared: the levels of a pair are kept in four bits each.
pub const MOST_COLUMNS: usize = 16;

/// What is compared and how.
///
/// ```
/// let config = acequia_link::Config::parse(r#"
/// id = "pid"                      # names a record; not compared
/// probability = 0.5               # linked from this probability on
/// one_to_one = true               # two files: nobody is in a file twice
///
/// [[column]]
/// name = "surname"
/// compare = "name"                # name, text, date, identifier, code, category
/// about = "household"             # what a household shares; person otherwise
/// swap = "given_name"             # the two may have changed places
///
/// [[column]]
/// name = "given_name"
/// compare = "name"
///
/// [[column]]
/// name = "born"
/// compare = "date"
/// order = "day-first"             # 03.04.1990 is in April
///
/// [blocking]
/// limit_pairs = 20_000_000        # refuse to compare more
/// rules = [["surname:sound", "born:year"], ["born"]]
/// bands = 12                      # of similar spellings over all columns; 0: none
///
/// [clusters]
/// largest = 100                   # records of one person at most
/// representatives = 16            # of a cluster, that new records are compared with
/// "#)?;
/// assert_eq!(config.column.len(), 3);
/// # Ok::<(), acequia_link::LinkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Column that names a record; not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Pairs are linked from this probability on, above 0 and below 1.
    #[serde(default = "half")]
    pub probability: f64,
    /// Whether nobody is in one file twice; used when two files are linked.
    #[serde(default = "yes")]
    pub one_to_one: bool,
    /// The columns that are compared, in order.
    pub column: Vec<ColumnConfig>,
    /// Which pairs are compared at all.
    #[serde(default)]
    pub blocking: BlockingConfig,
    /// Bounds of clusters.
    #[serde(default)]
    pub clusters: ClusterConfig,
    /// How records are encoded for linkage between parties.
    #[serde(default)]
    pub clk: ClkConfig,
}

fn half() -> f64 {
    0.5
}

fn yes() -> bool {
    true
}

/// A column that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    /// Name in the header row.
    pub name: String,
    /// How values are compared.
    pub compare: Comparator,
    /// Whether a household shares the value.
    #[serde(default)]
    pub about: About,
    /// A column that this one may have changed places with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<String>,
    /// Order of day and month in dates with separators and the year last.
    #[serde(default)]
    pub order: DateOrder,
}

/// Whom a value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// One person: given name, birth date, sex, identifiers.
    #[default]
    Person,
    /// All who live together: surname, address, telephone.
    Household,
}

/// Order of day and month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateOrder {
    /// 31.12.1999
    #[default]
    DayFirst,
    /// 12/31/1999
    MonthFirst,
}

/// Which pairs are compared: those that agree in all keys of at least one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockingConfig {
    /// Most pairs, all rules together, each rule counted by itself.
    #[serde(default = "limit_pairs")]
    pub limit_pairs: u64,
    /// Rules of keys: a column, or `column:transformation` with one of `sound`, `cologne`, `start`, `year`, `day`. Empty: chosen
    /// by the size of their blocks.
    #[serde(default)]
    pub rules: Vec<Vec<String>>,
    /// Bands of similar spellings over all columns; 0 for none.
    #[serde(default = "bands")]
    pub bands: u32,
}

fn limit_pairs() -> u64 {
    20_000_000
}

fn bands() -> u32 {
    12
}

impl Default for BlockingConfig {
    fn default() -> Self {
        Self { limit_pairs: limit_pairs(), rules: Vec::new(), bands: bands() }
    }
}

/// Bounds of clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Most records of one person; more points at a fault in the data.
    #[serde(default = "largest")]
    pub largest: usize,
    /// Records of a cluster that new records are compared with.
    #[serde(default = "representatives")]
    pub representatives: usize,
}

fn largest() -> usize {
    100
}

fn representatives() -> usize {
    16
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { largest: largest(), representatives: representatives() }
    }
}

fn config(message: impl Into<String>) -> LinkError {
    LinkError::Config { message: message.into() }
}

impl Config {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`LinkError::File`] when it cannot be read, [`LinkError::Config`] when it contradicts itself.
    pub fn read(path: &Path) -> Result<Self, LinkError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| wrong(path, format!("cannot be read: {}", error.kind())))?;
        Self::parse(&text)
    }

    /// Reads TOML text.
    ///
    /// # Errors
    /// [`LinkError::Config`] with the row or key that is wrong.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let parsed: Self = toml::from_str(text).map_err(|error| {
            let row = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            config(format!("row {row}: {}", error.message()))
        })?;
        parsed.check()?;
        Ok(parsed)
    }

    pub(crate) fn check(&self) -> Result<(), LinkError> {
        if self.column.is_empty() || self.column.len() > MOST_COLUMNS {
            return Err(config(format!("name 1 to {MOST_COLUMNS} columns to compare")));
        }
        if !(self.probability > 0.0 && self.probability < 1.0) {
            return Err(config("probability must be above 0 and below 1"));
        }
        let mut names = BTreeSet::new();
        for column in &self.column {
            if !names.insert(column.name.as_str()) || self.id.as_deref() == Some(&column.name) {
                return Err(config(format!("column {} is named twice", column.name)));
            }
            if let Some(other) = &column.swap {
                let pair = self.column.iter().find(|found| found.name == *other && found.name != column.name);
                if pair.is_none_or(|pair| pair.compare != column.compare) {
                    return Err(config(format!(
                        "column {}: swap must name another column compared alike",
                        column.name
                    )));
                }
            }
        }
        if self.clusters.largest < 2 || self.clusters.largest > 1000 || self.clusters.representatives == 0 {
            return Err(config("clusters.largest must be 2 to 1000, clusters.representatives at least 1"));
        }
        if self.blocking.limit_pairs == 0 || self.blocking.limit_pairs > 1 << 40 || self.blocking.bands > 64 {
            return Err(config("blocking.limit_pairs must be at least 1, blocking.bands at most 64"));
        }
        for rule in &self.blocking.rules {
            if rule.is_empty() {
                return Err(config("a blocking rule without a key would compare everybody with everybody"));
            }
            for key in rule {
                let (name, transformation) = key.split_once(':').unwrap_or((key, "exact"));
                if crate::block::Transformation::named(transformation).is_none() || !names.contains(name) {
                    return Err(config(format!(
                        "blocking key {key}: a compared column, alone or with :sound, :cologne, :start, :year or :day"
                    )));
                }
            }
        }
        self.clk.check(&names)
    }

    /// Where a column stands among those compared.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.column.iter().position(|column| column.name == name)
    }

    /// A configuration from names and values of the columns that all tables have. What was guessed should be read, and
    /// written down where linkage is repeated.
    ///
    /// # Errors
    /// [`LinkError::Config`] when no column looks like one that tells people apart.
    pub fn guess(tables: &[&Table]) -> Result<Self, LinkError> {
        let Some(first) = tables.first() else { return Err(config("there is no table")) };
        let (mut id, mut columns) = (None, Vec::new());
        for name in first.names() {
            let Some(found) = tables.iter().map(|table| table.column(name)).collect::<Option<Vec<_>>>() else {
                continue;
            };
            match guess_column(name, &found) {
                Guess::Id if id.is_none() => id = Some(name.clone()),
                Guess::Id | Guess::Nothing => {}
                Guess::Column(compare, about) => {
                    let texts = found.iter().flat_map(|column| column.texts.iter().map(String::as_str));
                    let order = if compare == Comparator::Date { date_order(texts) } else { DateOrder::default() };
                    columns.push(ColumnConfig { name: name.clone(), compare, about, swap: None, order });
                }
            }
        }
        columns.truncate(MOST_COLUMNS);
        guess_swaps(&mut columns);
        if columns.is_empty() {
            return Err(config("no column that both files have tells people apart"));
        }
        let guessed = Self {
            id,
            probability: half(),
            one_to_one: true,
            column: columns,
            blocking: BlockingConfig::default(),
            clusters: ClusterConfig::default(),
            clk: ClkConfig::default(),
        };
        guessed.check()?;
        Ok(guessed)
    }

    /// The configuration as a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

enum Guess {
    Id,
    Nothing,
    Column(Comparator, About),
}

const IDENTIFIERS: &[&str] = &[
    "ssn",
    "soc_sec",
    "socsec",
    "social",
    "nhs",
    "insurance",
    "versicher",
    "passport",
    "national_id",
    "tax",
    "medicare",
    "nir",
    "dni",
    "bsn",
    "ahv",
];
const DATES: &[&str] = &["dob", "birth", "born", "geb", "naiss", "nacim", "nascit", "datum", "date"];
const POSTCODES: &[&str] = &["zip", "post", "plz", "cap_"];
const CONTACTS: &[&str] = &["phone", "tel", "mobil", "email", "e_mail", "mail"];
const GIVEN: &[&str] = &["given", "first", "fore", "vorname", "prenom", "prénom", "nombre", "middle"];
const SURNAMES: &[&str] =
    &["surname", "last", "family", "nachname", "familienname", "nom", "apellido", "cognome", "name"];
const PLACES: &[&str] = &[
    "address",
    "street",
    "suburb",
    "city",
    "town",
    "strasse",
    "straße",
    "ort",
    "wohnort",
    "stadt",
    "rue",
    "ville",
    "calle",
    "county",
    "state",
    "province",
    "country",
    "region",
    "land",
    "hausnummer",
];
const RECORDS: &[&str] = &[
    "id",
    "rec_id",
    "record_id",
    "row",
    "row_id",
    "key",
    "pid",
    "uid",
    "patient_id",
    "person_id",
    "recid",
    "nr",
    "case",
    "mrn",
];

fn guess_column(name: &str, columns: &[&TextColumn]) -> Guess {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let rows: usize = columns.iter().map(|column| column.rows.len()).sum();
    let present: usize =
        columns.iter().map(|column| column.rows.iter().filter(|number| **number != MISSING).count()).sum();
    let distinct = columns.iter().map(|column| column.texts.len()).max().unwrap_or(0);
    let unique = columns.iter().all(|column| column.texts.len() == column.rows.len());
    // The first values of each table tell enough.
    let of = |holds: &dyn Fn(&str) -> bool| {
        let all = columns.iter().flat_map(|column| column.texts.iter().take(500));
        let (mut count, mut held) = (0_usize, 0_usize);
        for text in all {
            count += 1;
            held += usize::from(holds(text));
        }
        count > 0 && held * 10 >= count * 8
    };
    let about = if has(PLACES) || has(POSTCODES) || has(CONTACTS) { About::Household } else { About::Person };
    if RECORDS.contains(&lower.as_str()) && unique && rows > 0 {
        return Guess::Id;
    }
    if distinct < 2 {
        return Guess::Nothing;
    }
    if has(IDENTIFIERS) {
        return Guess::Column(Comparator::Identifier, About::Person);
    }
    if of(&is_date) {
        return Guess::Column(Comparator::Date, About::Person);
    }
    if has(DATES) && !has(PLACES) && of(&|text| text.bytes().filter(u8::is_ascii_digit).count() >= 4) {
        return Guess::Column(Comparator::Date, About::Person);
    }
    if has(POSTCODES) {
        return Guess::Column(Comparator::Code, about);
    }
    if has(CONTACTS) {
        return Guess::Column(Comparator::Identifier, about);
    }
    if distinct <= 60 && present >= distinct * 10 {
        return Guess::Column(Comparator::Category, about);
    }
    if of(&|text| text.len() <= 8 && text.bytes().filter(u8::is_ascii_digit).count() * 2 >= text.len()) {
        return Guess::Column(Comparator::Code, about);
    }
    if has(PLACES) {
        return Guess::Column(Comparator::Text, About::Household);
    }
    if has(GIVEN) {
        return Guess::Column(Comparator::Name, About::Person);
    }
    if has(SURNAMES) {
        return Guess::Column(Comparator::Name, About::Household);
    }
    if of(&|text| text.bytes().filter(u8::is_ascii_digit).count() * 2 >= text.len() && text.len() >= 6) {
        return Guess::Column(Comparator::Identifier, About::Person);
    }
    Guess::Column(Comparator::Text, about)
}

/// A given name beside a surname, and columns that differ in a last digit only, such as lines of an address.
fn guess_swaps(columns: &mut [ColumnConfig]) {
    let stem = |name: &str| name.strip_suffix(|letter: char| letter.is_ascii_digit()).map(str::to_owned);
    let is_pair = |left: &ColumnConfig, right: &ColumnConfig| {
        left.compare == right.compare
            && match left.compare {
                Comparator::Name => left.about != right.about,
                Comparator::Text => stem(&left.name).is_some_and(|stem_| stem(&right.name) == Some(stem_)),
                _ => false,
            }
    };
    for left in 0..columns.len() {
        for right in left + 1..columns.len() {
            if columns[left].swap.is_none() && columns[right].swap.is_none() && is_pair(&columns[left], &columns[right])
            {
                columns[left].swap = Some(columns[right].name.clone());
                columns[right].swap = Some(columns[left].name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> Table {
        let rows: Vec<String> = (0..40)
            .map(|at| {
                format!(
                    "p{at},Ann{at},Berg{},{:02}/03/19{},{},high street {at},{}",
                    at / 2,
                    1 + at % 28,
                    10 + at,
                    1000 + at,
                    if at % 2 == 0 { "f" } else { "m" }
                )
            })
            .collect();
        let text = format!("pid,first_name,last_name,date_of_birth,zip,address_1,sex\n{}\n", rows.join("\n"));
        Table::from_csv(text.as_bytes()).unwrap()
    }

    #[test]
    fn columns_are_guessed_from_names_and_values() {
        let config = Config::guess(&[&people()]).unwrap();
        assert_eq!(config.id.as_deref(), Some("pid"));
        let kinds: Vec<_> = config.column.iter().map(|column| (column.compare, column.about)).collect();
        assert_eq!(
            kinds,
            [
                (Comparator::Name, About::Person),
                (Comparator::Name, About::Household),
                (Comparator::Date, About::Person),
                (Comparator::Code, About::Household),
                (Comparator::Text, About::Household),
                (Comparator::Category, About::Person),
            ]
        );
        assert_eq!(config.column[0].swap.as_deref(), Some("last_name"));
        assert_eq!(config.column[2].order, DateOrder::DayFirst);
        // What is written down is read back the same.
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn contradictions_are_refused() {
        let with = |rest: &str| Config::parse(&format!("{rest}\n[[column]]\nname = \"a\"\ncompare = \"name\"\n"));
        assert!(with("").is_ok());
        for text in [
            "probability = 1.0",
            "unknown = 1",
            "id = \"a\"",
            "blocking = { rules = [[\"b\"]] }",
            "blocking = { rules = [[\"a:loud\"]] }",
            "blocking = { rules = [[]] }",
            "clusters = { largest = 1 }",
            "clk = { bits = 1000 }",
        ] {
            assert!(matches!(with(text), Err(LinkError::Config { .. })), "{text}");
        }
        assert!(Config::parse("column = []").is_err());
    }
}
