//! Hierarchies: for each value of a column, what it becomes at each level.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::DeidentifyError;
use crate::policy::{HierarchySpec, Intervals, Tree};

/// What a fully generalised value becomes.
pub(crate) const SUPPRESSED: &str = "*";

/// A hierarchy ready for use.
pub(crate) enum Hierarchy {
    /// The value, then `*`.
    Suppress,
    /// The value, then bands, then `*`.
    Intervals(Intervals),
    /// Value → labels of levels 1, 2, …; the last is `*`.
    Table { labels: HashMap<String, Vec<String>>, levels: usize },
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
            if path.last().is_none_or(|top| top != SUPPRESSED) {
                path.push(SUPPRESSED.to_owned());
            }
        }
        let deepest = labels.values().map(Vec::len).max().unwrap_or(0);
        for path in labels.values_mut() {
            path.resize(deepest, SUPPRESSED.to_owned());
        }
        // What is together at one level must stay together above, or generalising could split classes.
        for level in 1..deepest {
            let mut above = HashMap::new();
            for path in labels.values() {
                if above.insert(&path[level - 1], &path[level]).is_some_and(|other| *other != path[level]) {
                    return Err(format!("a group of level {level} is split at level {}", level + 1));
                }
            }
        }
        Ok(Self::Table { labels, levels: deepest + 1 })
    }

    /// Number of levels, the exact values (0) and `*` included.
    pub(crate) fn levels(&self) -> usize {
        match self {
            Self::Suppress => 2,
            Self::Intervals(intervals) => intervals.levels.len() + 2,
            Self::Table { levels, .. } => *levels,
        }
    }

    /// Whether values must be numbers.
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Self::Intervals(_))
    }

    /// What a value becomes at a level above 0; `None` when the hierarchy does not know the value. `number` is the value
    /// as a number where it is one.
    pub(crate) fn label(&self, value: &str, number: Option<f64>, level: usize) -> Option<String> {
        if level + 1 == self.levels() {
            let known = match self {
                Self::Table { labels, .. } => labels.contains_key(value),
                _ => true,
            };
            return known.then(|| SUPPRESSED.to_owned());
        }
        match self {
            Self::Suppress => Some(SUPPRESSED.to_owned()),
            Self::Intervals(intervals) => Some(band(intervals, number?, level - 1)),
            Self::Table { labels, .. } => labels.get(value)?.get(level - 1).cloned(),
        }
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
            _ => format!("groups of level {level} of {}", self.levels() - 1),
        }
    }

    /// Kind of hierarchy, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Intervals(_) => "intervals",
            Self::Table { .. } => "tree",
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

/// Reads `value;level 1;level 2;…`; semicolon or comma, whichever the first row has more of. No header.
fn read(bytes: &[u8]) -> Result<HashMap<String, Vec<String>>, String> {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| first.iter().filter(|byte| **byte == delimiter).count();
    let delimiter = if count(b';') >= count(b',') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(bytes);
    let mut labels = HashMap::new();
    let mut widths = BTreeSet::new();
    for (at, record) in reader.records().enumerate() {
        let row = at + 1;
        let record = record.map_err(|_| format!("row {row} has another number of fields than the first"))?;
        widths.insert(record.len());
        let mut fields = record.iter().map(|field| field.trim().to_owned());
        let value = fields.next().unwrap_or_default();
        if labels.insert(value, fields.collect()).is_some() {
            return Err(format!("row {row}: a value is there twice"));
        }
    }
    if widths.iter().any(|width| *width < 2) {
        return Err("each row needs a value and at least one level".to_owned());
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
        let labels =
            |value: f64| (1..5).map(|level| hierarchy.label("", Some(value), level).unwrap()).collect::<Vec<_>>();
        assert_eq!(labels(34.0), ["30-34", "30-39", "30-49", "*"]);
        assert_eq!(labels(79.9), ["75-79", "70-79", "70-79", "*"]);
        assert_eq!(labels(29.0), ["<30", "<30", "<30", "*"]);
        assert_eq!(labels(80.0), [">=80", ">=80", ">=80", "*"]);
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
            assert_eq!(file.label(value, None, level), tree.label(value, None, level));
        }
        assert_eq!((file.levels(), tree.levels()), (3, 3));
        assert_eq!(tree.label("4", None, 2), None, "an unknown value is unknown at every level");
    }

    #[test]
    fn a_hierarchy_that_splits_a_group_is_refused() {
        let split = read(b"1;a;x;*\n2;a;y;*\n").unwrap();
        assert!(Hierarchy::table(split).is_err());
        assert!(read(b"1;a\n1;b\n").is_err());
        assert!(read(b"1\n2\n").is_err());
    }
}
