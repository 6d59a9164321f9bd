//! Hierarchies: for each value of a column, what it becomes at each level.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::DeidentifyError;
use crate::policy::{CalendarPart, HierarchySpec, Icd, Intervals, Tree};

/// What a fully generalised value becomes.
pub(crate) const SUPPRESSED: &str = "*";

/// A hierarchy ready for use.
#[derive(Debug, Clone)]
pub(crate) enum Hierarchy {
    /// The value, then `*`.
    Suppress,
    /// The value, then bands, then `*`.
    Intervals(Intervals),
    /// The value, then its first characters, fewer each time, then `*`.
    Prefixes(Vec<usize>),
    /// The day, then coarser parts of the calendar, then `*`.
    Dates(Vec<CalendarPart>),
    /// The code, its category, its chapter, then `*`.
    Icd(Icd),
    /// Value → labels of levels 1, 2, …; the last level is one label, the root.
    Table {
        /// Labels by value.
        labels: HashMap<String, Vec<String>>,
        /// Levels, the exact values included.
        levels: usize,
        /// The one label of the last level.
        root: String,
    },
}

impl Hierarchy {
    pub(crate) fn build(
        column: &str,
        spec: &HierarchySpec,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, DeidentifyError> {
        let wrong = |problem: String| DeidentifyError::Hierarchy { column: column.to_owned(), problem };
        match spec {
            HierarchySpec::Word(_) => Ok(Self::Suppress),
            HierarchySpec::Intervals { intervals } => {
                let grows = intervals.levels.windows(2).all(|pair| pair[1] > pair[0] && pair[1] % pair[0].max(1) == 0);
                if intervals.levels.is_empty() || intervals.levels.contains(&0) || !grows {
                    return Err(wrong("levels must be widths above 0, each a multiple of the one before".to_owned()));
                }
                if intervals.lower >= intervals.upper {
                    return Err(wrong("lower must be below upper".to_owned()));
                }
                Ok(Self::Intervals(intervals.clone()))
            }
            HierarchySpec::Prefixes { prefixes } => {
                if prefixes.is_empty() || prefixes.contains(&0) || prefixes.windows(2).any(|pair| pair[1] >= pair[0]) {
                    return Err(wrong("prefixes must be lengths above 0, each smaller than the one before".to_owned()));
                }
                Ok(Self::Prefixes(prefixes.clone()))
            }
            HierarchySpec::Dates { dates } => {
                if dates.is_empty() || dates.windows(2).any(|pair| pair[1] <= pair[0]) {
                    return Err(wrong(
                        "dates must name parts of the calendar, each coarser than the one before".to_owned(),
                    ));
                }
                Ok(Self::Dates(dates.clone()))
            }
            HierarchySpec::Icd { icd } => Ok(Self::Icd(*icd)),
            HierarchySpec::Tree { tree } => {
                let mut labels = HashMap::new();
                let branches = Tree::Branches(tree.clone());
                walk(&branches, &mut Vec::new(), &mut labels).map_err(wrong)?;
                Self::table(labels).map_err(wrong)
            }
            HierarchySpec::File { file } => {
                let bytes = files.get(file).ok_or_else(|| wrong("its file was not given".to_owned()))?;
                Self::table(read(bytes).map_err(wrong)?).map_err(wrong)
            }
        }
    }

    fn table(mut labels: HashMap<String, Vec<String>>) -> Result<Self, String> {
        let depth = labels.values().map(Vec::len).max().unwrap_or(0);
        if labels.is_empty() {
            return Err("it holds no value".to_owned());
        }
        for path in labels.values_mut() {
            // A branch that is less deep keeps its topmost name until the top.
            while path.len() < depth {
                path.push(path.last().cloned().unwrap_or_else(|| SUPPRESSED.to_owned()));
            }
        }
        let tops: BTreeSet<&String> = labels.values().filter_map(|path| path.last()).collect();
        if tops.len() != 1 {
            labels.values_mut().for_each(|path| path.push(SUPPRESSED.to_owned()));
        }
        let levels = labels.values().map(Vec::len).max().unwrap_or(0);
        let root = labels.values().next().and_then(|path| path.last()).cloned().unwrap_or_default();
        // What is together at one level must stay together above, or generalising could split classes.
        for level in 1..levels {
            let mut above = HashMap::new();
            for path in labels.values() {
                if above.insert(&path[level - 1], &path[level]).is_some_and(|other| *other != path[level]) {
                    return Err(format!("a group of level {level} is split at level {}", level + 1));
                }
            }
        }
        Ok(Self::Table { labels, levels: levels + 1, root })
    }

    /// Number of levels, the exact values (0) and the root included.
    pub(crate) fn levels(&self) -> usize {
        match self {
            Self::Suppress => 2,
            Self::Intervals(intervals) => intervals.levels.len() + 2,
            Self::Prefixes(prefixes) => prefixes.len() + 2,
            Self::Dates(parts) => parts.len() + 2,
            Self::Icd(_) => 4,
            Self::Table { levels, .. } => *levels,
        }
    }

    /// What everything becomes at the last level.
    pub(crate) fn root(&self) -> &str {
        match self {
            Self::Table { root, .. } => root,
            _ => SUPPRESSED,
        }
    }

    /// Values the hierarchy lists; 0 when it takes whatever comes.
    pub(crate) fn leaves(&self) -> u64 {
        match self {
            Self::Table { labels, .. } => labels.len() as u64,
            _ => 0,
        }
    }

    /// The values that the hierarchy lists, in no order; `None` when it takes whatever comes.
    pub(crate) fn listed(&self) -> Option<Vec<String>> {
        let Self::Table { labels, .. } = self else { return None };
        Some(labels.keys().cloned().collect())
    }

    /// Whether a group may be called so at a level or above, although a value may be too.
    pub(crate) fn names(&self, text: &str, level: usize) -> bool {
        let above = level.saturating_sub(1);
        text == self.root()
            || match self {
                Self::Table { labels, .. } => {
                    labels.values().any(|path| path.iter().skip(above).any(|label| label == text))
                }
                Self::Prefixes(prefixes) => {
                    let start = text.strip_suffix('*').map(|start| start.chars().count());
                    start.is_some_and(|length| prefixes.iter().skip(above).any(|longest| length <= *longest))
                }
                _ => false,
            }
    }

    /// For each level, how many of the listed values have each label; `None` when the hierarchy takes whatever comes.
    pub(crate) fn leaves_by_label(&self) -> Option<Vec<hashbrown::HashMap<&str, u64>>> {
        let Self::Table { labels, levels, .. } = self else { return None };
        let mut counts = vec![hashbrown::HashMap::new(); *levels];
        for (value, path) in labels {
            *counts[0].entry(value.as_str()).or_default() += 1;
            for (level, label) in path.iter().enumerate() {
                *counts[level + 1].entry(label.as_str()).or_default() += 1;
            }
        }
        Some(counts)
    }

    /// What a value becomes at a level; `None` when the hierarchy does not know the value.
    pub(crate) fn label(&self, value: &str, level: usize) -> Option<String> {
        if let Self::Table { labels, .. } = self {
            let path = labels.get(value)?;
            return Some(if level == 0 { value.to_owned() } else { path.get(level - 1)?.clone() });
        }
        // A value that cannot be told is told at every level, even when the search would never leave level 0.
        let coarser = match self {
            Self::Intervals(intervals) => {
                let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite())?;
                (1..=intervals.levels.len()).contains(&level).then(|| band(intervals, number, level - 1))
            }
            Self::Prefixes(prefixes) => prefixes.get(level.wrapping_sub(1)).map(|length| prefix(value, *length)),
            Self::Dates(parts) => {
                let day = acequia_types::parse_day(value.get(..10).unwrap_or(value))?;
                parts.get(level.wrapping_sub(1)).map(|part| part.label(day))
            }
            Self::Icd(icd) => {
                let (category, chapter) = icd.place(value)?;
                [category, chapter].get(level.wrapping_sub(1)).cloned()
            }
            Self::Suppress | Self::Table { .. } => None,
        };
        Some(match coarser {
            Some(label) => label,
            None if level == 0 => value.to_owned(),
            None => SUPPRESSED.to_owned(),
        })
    }

    /// The level in words.
    pub(crate) fn words(&self, level: usize) -> String {
        if level == 0 {
            return "as recorded".to_owned();
        }
        if level + 1 == self.levels() {
            return "left out".to_owned();
        }
        match self {
            Self::Intervals(intervals) => format!(
                "bands of {}, below {} and from {} on one band each",
                intervals.levels[level - 1],
                intervals.lower,
                intervals.upper
            ),
            Self::Prefixes(prefixes) => format!("the first {} characters", prefixes[level - 1]),
            Self::Dates(parts) => format!("the {} only", parts[level - 1].as_str()),
            Self::Icd(_) => ["the category only", "the chapter only"][level - 1].to_owned(),
            _ => format!("groups of level {level} of {}", self.levels() - 1),
        }
    }

    /// Kind of hierarchy, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Intervals(_) => "intervals",
            Self::Prefixes(_) => "prefixes",
            Self::Dates(_) => "dates",
            Self::Icd(Icd::Icd9) => "icd-9",
            Self::Icd(Icd::Icd10) => "icd-10",
            Self::Table { .. } => "tree",
        }
    }
}

fn prefix(value: &str, length: usize) -> String {
    let mut label: String = value.chars().take(length).collect();
    label.push('*');
    label
}

impl CalendarPart {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
            Self::Decade => "decade",
        }
    }

    fn label(self, day: acequia_types::Day) -> String {
        use chrono::Datelike;
        match self {
            Self::Month => day.format("%Y-%m").to_string(),
            Self::Quarter => format!("{}-Q{}", day.year(), day.month0() / 3 + 1),
            Self::Year => day.year().to_string(),
            Self::Decade => format!("{}s", day.year().div_euclid(10) * 10),
        }
    }
}

/// Chapters of ICD-10 (WHO, version 2019) by their last category, wide enough for the categories of ICD-10-CM.
const ICD_10_CHAPTERS: [(&str, &str); 22] = [
    ("B99", "I"),
    ("D49", "II"),
    ("D89", "III"),
    ("E90", "IV"),
    ("F99", "V"),
    ("G99", "VI"),
    ("H59", "VII"),
    ("H95", "VIII"),
    ("I99", "IX"),
    ("J99", "X"),
    ("K95", "XI"),
    ("L99", "XII"),
    ("M99", "XIII"),
    ("N99", "XIV"),
    ("O9Z", "XV"),
    ("P96", "XVI"),
    ("Q99", "XVII"),
    ("R99", "XVIII"),
    ("T98", "XIX"),
    ("U99", "XXII"),
    ("Y99", "XX"),
    ("Z99", "XXI"),
];

/// Chapters of ICD-9-CM by their last category.
const ICD_9_CHAPTERS: [(u32, &str); 17] = [
    (139, "001-139"),
    (239, "140-239"),
    (279, "240-279"),
    (289, "280-289"),
    (319, "290-319"),
    (389, "320-389"),
    (459, "390-459"),
    (519, "460-519"),
    (579, "520-579"),
    (629, "580-629"),
    (679, "630-679"),
    (709, "680-709"),
    (739, "710-739"),
    (759, "740-759"),
    (779, "760-779"),
    (799, "780-799"),
    (999, "800-999"),
];

impl Icd {
    /// Category and chapter of a code; `None` when it is not a code of this classification.
    fn place(self, code: &str) -> Option<(String, String)> {
        let category = code.split('.').next()?.to_ascii_uppercase();
        let letter = category.chars().next().filter(char::is_ascii_alphanumeric)?;
        let digits = |from: usize| category.get(from..).filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        match self {
            Self::Icd10 => {
                let category = category.get(..3).filter(|category| category.is_ascii())?.to_owned();
                if !letter.is_ascii_alphabetic() || !category.as_bytes()[1].is_ascii_digit() {
                    return None;
                }
                let chapter = ICD_10_CHAPTERS.iter().find(|(last, _)| category.as_str() <= *last)?;
                Some((category, format!("chapter {}", chapter.1)))
            }
            Self::Icd9 if letter == 'E' => {
                digits(1).filter(|rest| rest.len() == 3)?;
                Some((category, "E".to_owned()))
            }
            Self::Icd9 if letter == 'V' => {
                digits(1).filter(|rest| rest.len() == 2)?;
                Some((category, "V".to_owned()))
            }
            Self::Icd9 => {
                let number: u32 =
                    digits(0).filter(|rest| rest.len() <= 3)?.parse().ok().filter(|number| *number > 0)?;
                let chapter = ICD_9_CHAPTERS.iter().find(|(last, _)| number <= *last)?;
                Some((format!("{number:03}"), chapter.1.to_owned()))
            }
        }
    }
}

fn band(intervals: &Intervals, number: f64, width_at: usize) -> String {
    let (lower, upper) = (intervals.lower, intervals.upper);
    #[expect(clippy::cast_precision_loss, reason = "bounds of a recipe are far below 2^53")]
    let (low, high) = (lower as f64, upper as f64);
    if number < low {
        return format!("<{lower}");
    }
    if number >= high {
        return format!(">={upper}");
    }
    let width = i64::from(intervals.levels[width_at]);
    #[expect(clippy::cast_possible_truncation, reason = "the number lies between two i64 bounds")]
    let whole = number.floor() as i64;
    let start = lower + (whole - lower).div_euclid(width) * width;
    let last = (start + width).min(upper) - 1;
    if last == start { start.to_string() } else { format!("{start}-{last}") }
}

/// Collects leaf → path from the leaf's parent to the root.
fn walk(tree: &Tree, path: &mut Vec<String>, labels: &mut HashMap<String, Vec<String>>) -> Result<(), String> {
    match tree {
        Tree::Leaves(leaves) => {
            for leaf in leaves {
                let upward: Vec<String> = path.iter().rev().cloned().collect();
                if labels.insert(leaf.clone(), upward).is_some() {
                    return Err("a value is in two places".to_owned());
                }
            }
        }
        Tree::Branches(branches) => {
            for (name, branch) in branches {
                path.push(name.clone());
                walk(branch, path, labels)?;
                path.pop();
            }
        }
    }
    Ok(())
}

/// Reads `value;level 1;level 2;…`; semicolon or comma, whichever the first row has more of. No header. Problems name rows
/// and levels.
fn read(bytes: &[u8]) -> Result<HashMap<String, Vec<String>>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    // Outside of quotes.
    let count = |delimiter: u8| -> usize {
        let parts = first.split(|byte| *byte == b'"').step_by(2);
        parts.map(|part| part.iter().filter(|byte| **byte == delimiter).count()).sum()
    };
    let delimiter = if count(b';') >= count(b',') { b';' } else { b',' };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes);
    let mut labels: HashMap<String, Vec<String>> = HashMap::new();
    let mut row_of: HashMap<String, u64> = HashMap::new();
    // For each level, the row in which a label was first seen, and what was above it there.
    let mut above: Vec<HashMap<String, (u64, String)>> = Vec::new();
    let mut width = None;
    for record in reader.records() {
        let record = record.map_err(|error| {
            let row = error.position().map_or(1, csv::Position::line);
            format!("row {row} is not UTF-8, or its quotes do not end")
        })?;
        let row = record.position().map_or(1, csv::Position::line);
        let expected = *width.get_or_insert(record.len());
        if record.len() != expected {
            return Err(format!("row {row} has {} fields where the first has {expected}", record.len()));
        }
        if expected < 2 {
            return Err("each row needs a value and at least one level".to_owned());
        }
        let mut fields = record.iter().map(|field| field.trim().to_owned());
        let value = fields.next().unwrap_or_default();
        let path: Vec<String> = fields.collect();
        if let Some(level) = path.iter().position(String::is_empty) {
            return Err(format!("row {row}: the label of level {} is empty", level + 1));
        }
        if let Some(first) = row_of.insert(value.clone(), row) {
            return Err(format!("rows {first} and {row} hold the same value"));
        }
        above.resize(path.len().saturating_sub(1), HashMap::new());
        for (level, (label, over)) in path.iter().zip(path.iter().skip(1)).enumerate() {
            let (first, known) = above[level].entry(label.clone()).or_insert_with(|| (row, over.clone()));
            if known != over {
                let (level, next) = (level + 1, level + 2);
                return Err(format!(
                    "it is no tree: a group of level {level} lies in one group of level {next} in row {first}, and in \
                     another in row {row}"
                ));
            }
        }
        labels.insert(value, path);
    }
    if labels.is_empty() {
        return Err("its file is empty".to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_nest_and_their_ends_are_open() {
        let intervals = Intervals { levels: vec![5, 10, 20], lower: 30, upper: 80 };
        let hierarchy = Hierarchy::Intervals(intervals);
        let labels = |value: &str| (1..5).map(|level| hierarchy.label(value, level).unwrap()).collect::<Vec<_>>();
        assert_eq!(labels("34"), ["30-34", "30-39", "30-49", "*"]);
        assert_eq!(labels("79.9"), ["75-79", "70-79", "70-79", "*"]);
        assert_eq!(labels("29"), ["<30", "<30", "<30", "*"]);
        assert_eq!(labels("80"), [">=80", ">=80", ">=80", "*"]);
    }

    #[test]
    fn files_and_trees_give_the_same() {
        let file = read(b"1;low;*\n2;low;*\n3;high;*\n").unwrap();
        let file = Hierarchy::table(file).unwrap();
        let tree: BTreeMap<String, Tree> = BTreeMap::from([
            ("low".to_owned(), Tree::Leaves(vec!["1".to_owned(), "2".to_owned()])),
            ("high".to_owned(), Tree::Leaves(vec!["3".to_owned()])),
        ]);
        let tree = Hierarchy::build("c", &HierarchySpec::Tree { tree }, &BTreeMap::new()).unwrap();
        for (value, level) in [("1", 1), ("2", 1), ("3", 1), ("3", 2)] {
            assert_eq!(file.label(value, level), tree.label(value, level));
        }
        assert_eq!((file.levels(), tree.levels()), (3, 3));
        assert_eq!(tree.label("4", 2), None, "an unknown value is unknown at every level");
    }

    #[test]
    fn a_hierarchy_that_splits_a_group_is_refused() {
        let split = HashMap::from([
            ("1".to_owned(), vec!["a".to_owned(), "x".to_owned(), "*".to_owned()]),
            ("2".to_owned(), vec!["a".to_owned(), "y".to_owned(), "*".to_owned()]),
        ]);
        assert!(Hierarchy::table(split).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_by_its_rows() {
        let problem = |text: &str| read(text.as_bytes()).unwrap_err();
        assert_eq!(
            problem("1;a;x;*\n2;b;x;*\n3;a;y;*\n"),
            "it is no tree: a group of level 1 lies in one group of level 2 in row 1, and in another in row 3"
        );
        assert_eq!(problem("1;a\n2;a\n1;b\n"), "rows 1 and 3 hold the same value");
        assert_eq!(problem("1;a;*\n2;a\n"), "row 2 has 2 fields where the first has 3");
        assert_eq!(problem("1\n2\n"), "each row needs a value and at least one level");
        assert_eq!(problem("1;a;*\n2; ;*\n"), "row 2: the label of level 1 is empty");
        assert_eq!(problem(""), "its file is empty");
        assert_eq!(problem("\n\n"), "its file is empty");
        assert!(read(b"\xff;a\n").unwrap_err().starts_with("row 1 is not UTF-8"));
        assert_eq!(read(b"\xef\xbb\xbf1;a\r\n2;a\r\n").unwrap()["1"], ["a"], "a byte-order mark is no value");
    }

    #[test]
    fn a_root_that_is_no_star_stays_the_root() {
        let coded = Hierarchy::table(read(b"1;10;99\n2;10;99\n3;11;99\n").unwrap()).unwrap();
        assert_eq!((coded.levels(), coded.root()), (3, "99"));
        let open = Hierarchy::table(read(b"1;10\n2;10\n3;11\n").unwrap()).unwrap();
        assert_eq!((open.levels(), open.root()), (3, "*"));
        assert_eq!(coded.leaves_by_label().unwrap()[1]["10"], 2);
    }

    #[test]
    fn generated_hierarchies() {
        let path = |hierarchy: &Hierarchy, value: &str| -> Option<Vec<String>> {
            (0..hierarchy.levels()).map(|level| hierarchy.label(value, level)).collect()
        };
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let postcode = Hierarchy::Prefixes(vec![3, 1]);
        assert_eq!(path(&postcode, "79104"), words(&["79104", "791*", "7*", "*"]));
        let dates = Hierarchy::Dates(vec![CalendarPart::Quarter, CalendarPart::Decade]);
        assert_eq!(path(&dates, "1998-05-31"), words(&["1998-05-31", "1998-Q2", "1990s", "*"]));
        assert_eq!(path(&dates, "1998-02-30"), None, "no such day");
        let icd_10 = Hierarchy::Icd(Icd::Icd10);
        assert_eq!(path(&icd_10, "C50.4"), words(&["C50.4", "C50", "chapter II", "*"]));
        assert_eq!((path(&icd_10, "?"), path(&icd_10, "Cé"), path(&icd_10, "Cé5")), (None, None, None));
        let icd_9 = Hierarchy::Icd(Icd::Icd9);
        assert_eq!(path(&icd_9, "250.83"), words(&["250.83", "250", "240-279", "*"]));
        assert_eq!(path(&icd_9, "V57"), words(&["V57", "V57", "V", "*"]));
        assert_eq!(path(&icd_9, "8"), words(&["8", "008", "001-139", "*"]));
    }
}
