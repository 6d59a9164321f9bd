//! A hierarchy as people look at it: in the field's layout (leaf;level 1;…;root), as a tree of text, as a drawing.

use std::collections::BTreeMap;

use maud::html;
use serde::Serialize;

use crate::DeidentifyError;
use crate::file::FileTable;
use crate::hierarchy::Hierarchy;
use crate::policy::Policy;

/// Leaves of one node that a drawing shows; the rest is counted.
const DRAWN_LEAVES: usize = 12;

/// A hierarchy over values: those it lists, or those that occur in a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HierarchyTable {
    /// The column.
    pub column: String,
    /// `intervals`, `prefixes`, `dates`, `icd-9`, `icd-10`, `tree` or `suppress`.
    pub kind: String,
    /// What each level is, in words; level 0 first.
    pub levels: Vec<String>,
    /// For each value, itself and its label at each level up to the root. Numbers come by size.
    pub rows: Vec<Vec<String>>,
}

impl HierarchyTable {
    /// The hierarchy of a column of a policy. `table`: where values come from; a hierarchy that lists its values needs none,
    /// and with one, all its values must be listed.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use acequia_deidentify::{HierarchyTable, Policy};
    /// let policy: Policy = toml::from_str(r#"
    ///     [columns]
    ///     grade = { role = "quasi-identifier", hierarchy = { tree = { low = ["1", "2"], high = ["3"] } } }
    /// "#)?;
    /// let hierarchy = HierarchyTable::of(&policy, "grade", &BTreeMap::new(), None)?;
    /// assert_eq!(hierarchy.to_csv(), "1;low;*\n2;low;*\n3;high;*\n");
    /// assert_eq!(hierarchy.to_tree(), "*\n├─ low\n│  ├─ 1\n│  └─ 2\n└─ high\n   └─ 3\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DeidentifyError::Hierarchy`] when it cannot be used, or has no values of its own and no table was given;
    /// [`DeidentifyError::NotInHierarchy`] with the row of a value of the table that it does not know;
    /// [`DeidentifyError::Columns`] when there is no such column.
    pub fn of(
        policy: &Policy,
        column: &str,
        files: &BTreeMap<String, Vec<u8>>,
        table: Option<&FileTable>,
    ) -> Result<Self, DeidentifyError> {
        let wrong =
            |problem: &str| DeidentifyError::Hierarchy { column: column.to_owned(), problem: problem.to_owned() };
        let unknown = |problem| DeidentifyError::Columns { column: column.to_owned(), problem };
        let settings = policy.columns.get(column).ok_or_else(|| unknown("not in the policy"))?;
        let spec = settings.hierarchy.as_ref().ok_or_else(|| wrong("the policy gives it none"))?;
        let hierarchy = Hierarchy::build(column, spec, files)?;
        let mut values = match (hierarchy.listed(), table) {
            (Some(listed), table) => {
                if let Some(table) = table {
                    known(&hierarchy, table, column)?;
                }
                listed
            }
            (None, Some(table)) => known(&hierarchy, table, column)?,
            (None, None) => return Err(wrong("it is made for the values of a table: give --table")),
        };
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        if values.iter().all(|value| number(value).is_some()) {
            let size = |value: &str| number(value).unwrap_or(0.0);
            values.sort_by(|a, b| size(a).total_cmp(&size(b)).then_with(|| a.cmp(b)));
        } else {
            values.sort_unstable();
        }
        let labels =
            |value: &String| (0..hierarchy.levels()).filter_map(|level| hierarchy.label(value, level)).collect();
        Ok(Self {
            column: column.to_owned(),
            kind: hierarchy.kind().to_owned(),
            levels: (0..hierarchy.levels()).map(|level| hierarchy.words(level)).collect(),
            rows: values.iter().map(labels).collect(),
        })
    }

    /// The field's layout: one row for each value, semicolons between levels, no header.
    pub fn to_csv(&self) -> String {
        // A comma outside of quotes could be taken for what separates levels.
        let comma = self.rows.iter().flatten().any(|label| label.contains(','));
        let quotes = if comma { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let mut writer = csv::WriterBuilder::new().delimiter(b';').quote_style(quotes).from_writer(Vec::new());
        for row in &self.rows {
            // Writing to memory does not fail, and rows are equally long.
            let _ = writer.write_record(row);
        }
        let bytes = writer.into_inner().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// As a tree of text, the root first. A branch that keeps its label over several levels is shown once.
    pub fn to_tree(&self) -> String {
        let root = self.tree();
        let mut text = String::new();
        for node in &root {
            text.push_str(node.label);
            text.push('\n');
            branches(&node.children, "", &mut text);
        }
        text
    }

    /// As an SVG drawing that says what it shows: the root on the left, values on the right. Of many values under one node
    /// some are drawn and the rest is counted.
    pub fn to_svg(&self) -> String {
        const ROW: f64 = 20.0;
        const LETTER: f64 = 7.2;
        let roots = self.tree();
        let mut widths: Vec<f64> = Vec::new();
        let (mut places, mut bottom) = (Vec::new(), 0.0);
        for root in &roots {
            place(root, 0, None, &mut bottom, &mut widths, &mut places);
        }
        let lefts: Vec<f64> = widths
            .iter()
            .scan(8.0, |left, letters| {
                let own = *left;
                *left += letters * LETTER + 44.0;
                Some(own)
            })
            .collect();
        let width = lefts.last().copied().unwrap_or(0.0) + widths.last().copied().unwrap_or(0.0) * LETTER + 24.0;
        let height = bottom * ROW + 16.0;
        let x = |depth: usize| lefts[depth];
        let y = |row: f64| row * ROW + 18.0;
        let title = format!("Hierarchy of {}", self.column);
        let description = format!(
            "A tree of {} values in {} levels: {}.",
            self.rows.len(),
            self.levels.len(),
            self.levels.iter().rev().cloned().collect::<Vec<_>>().join(", then ")
        );
        let markup = html! {
            svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title description"
                viewBox=(format!("0 0 {width:.0} {height:.0}")) width=(format!("{width:.0}")) height=(format!("{height:.0}"))
                font-family="sans-serif" font-size="12.5" fill="#111" {
                title #title { (title) }
                desc #description { (description) }
                rect width="100%" height="100%" fill="#fff" {}
                @for at in &places {
                    @if let Some((parent, row)) = at.parent {
                        @let (from, to) = (x(parent) + at.parent_letters * LETTER + 6.0, x(at.depth) - 6.0);
                        path d=(format!("M{from:.1} {:.1}H{:.1}V{:.1}H{to:.1}", y(row) - 4.0, f64::midpoint(from, to), y(at.row) - 4.0))
                            fill="none" stroke="#888" {}
                    }
                }
                @for at in &places {
                    text x=(format!("{:.1}", x(at.depth))) y=(format!("{:.1}", y(at.row))) { (at.label) }
                }
            }
        };
        markup.into_string()
    }

    /// The nodes from the root down; a node of one child with the same label is that child.
    fn tree(&self) -> Vec<Node<'_>> {
        let paths: Vec<Vec<&str>> =
            self.rows.iter().map(|row| row.iter().rev().map(String::as_str).collect()).collect();
        nodes(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

/// Values of a column of a table, all of them known to its hierarchy.
fn known(hierarchy: &Hierarchy, table: &FileTable, name: &str) -> Result<Vec<String>, DeidentifyError> {
    let column = table.column(name)?;
    let mut values = Vec::new();
    for (code, value) in column.values.iter().enumerate() {
        let Some(text) = value.as_deref() else { continue };
        if hierarchy.label(text, 0).is_none() {
            return Err(DeidentifyError::NotInHierarchy { row: column.row_of(code), column: name.to_owned() });
        }
        values.push(text.to_owned());
    }
    Ok(values)
}

struct Node<'a> {
    label: &'a str,
    children: Vec<Node<'a>>,
}

/// Nodes over paths that begin at the root, in the order of their first path.
fn nodes<'a>(paths: &[&[&'a str]]) -> Vec<Node<'a>> {
    let mut order: Vec<&'a str> = Vec::new();
    let mut below: BTreeMap<&'a str, Vec<&[&'a str]>> = BTreeMap::new();
    for path in paths {
        let Some((label, rest)) = path.split_first() else { continue };
        if !below.contains_key(label) {
            order.push(label);
        }
        below.entry(*label).or_default().push(rest);
    }
    let node = |label: &'a str| {
        let mut children = nodes(&below[label]);
        while let [only] = children.as_mut_slice()
            && only.label == label
        {
            children = std::mem::take(&mut only.children);
        }
        Node { label, children }
    };
    order.into_iter().map(node).collect()
}

fn branches(nodes: &[Node<'_>], before: &str, text: &mut String) {
    for (at, node) in nodes.iter().enumerate() {
        let last = at + 1 == nodes.len();
        text.push_str(before);
        text.push_str(if last { "└─ " } else { "├─ " });
        text.push_str(node.label);
        text.push('\n');
        branches(&node.children, &format!("{before}{}", if last { "   " } else { "│  " }), text);
    }
}

struct Placed {
    label: String,
    depth: usize,
    row: f64,
    /// Depth and row of the parent.
    parent: Option<(usize, f64)>,
    parent_letters: f64,
}

/// Places a node and what is below it; gives its row.
fn place(
    node: &Node<'_>,
    depth: usize,
    parent_letters: Option<f64>,
    bottom: &mut f64,
    widths: &mut Vec<f64>,
    places: &mut Vec<Placed>,
) -> f64 {
    const LONGEST: usize = 32;
    let cut = |label: &str| match label.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &label[..at]),
        None => label.to_owned(),
    };
    let label = cut(node.label);
    #[expect(clippy::cast_precision_loss, reason = "labels are cut")]
    let letters = label.chars().count() as f64;
    if widths.len() <= depth {
        widths.push(0.0);
    }
    widths[depth] = widths[depth].max(letters);
    let own = places.len();
    places.push(Placed { label, depth, row: 0.0, parent: None, parent_letters: parent_letters.unwrap_or(0.0) });
    let leaves = node.children.iter().filter(|child| child.children.is_empty()).count();
    let (mut rows, mut drawn, mut below) = (Vec::new(), 0, Vec::new());
    for child in &node.children {
        if child.children.is_empty() {
            drawn += 1;
            if leaves > DRAWN_LEAVES && drawn >= DRAWN_LEAVES {
                if drawn == DRAWN_LEAVES {
                    let rest = format!("… and {} more", leaves + 1 - DRAWN_LEAVES);
                    below.push(places.len());
                    rows.push(place(
                        &Node { label: &rest, children: Vec::new() },
                        depth + 1,
                        Some(letters),
                        bottom,
                        widths,
                        places,
                    ));
                }
                continue;
            }
        }
        below.push(places.len());
        rows.push(place(child, depth + 1, Some(letters), bottom, widths, places));
    }
    let row = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => f64::midpoint(*first, *last),
        _ => {
            *bottom += 1.0;
            *bottom - 1.0
        }
    };
    places[own].row = row;
    below.into_iter().for_each(|at| places[at].parent = Some((depth, row)));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(hierarchy: &str) -> Policy {
        toml::from_str(&format!("[columns]\nc = {{ role = \"quasi-identifier\", hierarchy = {hierarchy} }}")).unwrap()
    }

    #[test]
    fn generated_hierarchies_are_printed_for_the_values_of_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "c\n100\n34\n9\n\n34\n").unwrap();
        let table = FileTable::read(&path, None).unwrap();
        let bands = policy("{ intervals = { levels = [10, 20], lower = 20, upper = 80 } }");
        let printed = HierarchyTable::of(&bands, "c", &BTreeMap::new(), Some(&table)).unwrap();
        assert_eq!(printed.to_csv(), "9;<20;<20;*\n34;30-39;20-39;*\n100;>=80;>=80;*\n");
        assert_eq!(printed.to_tree(), "*\n├─ <20\n│  └─ 9\n├─ 20-39\n│  └─ 30-39\n│     └─ 34\n└─ >=80\n   └─ 100\n");
        assert!(HierarchyTable::of(&bands, "c", &BTreeMap::new(), None).is_err());
        let short = policy("{ tree = { a = [\"9\", \"34\"] } }");
        let error = HierarchyTable::of(&short, "c", &BTreeMap::new(), Some(&table)).unwrap_err();
        assert_eq!(error.to_string(), "row 1, column c: the value is not in the hierarchy");
        // What is printed loads as it is, and says the same.
        let files = BTreeMap::from([("c.csv".to_owned(), printed.to_csv().into_bytes())]);
        let again = HierarchyTable::of(&policy("{ file = \"c.csv\" }"), "c", &files, Some(&table)).unwrap();
        assert_eq!(again.rows, printed.rows);
    }

    #[test]
    fn drawings_count_what_they_leave_out() {
        let leaves: Vec<String> = (0..100).map(|leaf| format!("\"<{leaf}&\"")).collect();
        let many = policy(&format!("{{ tree = {{ many = [{}], few = [\"x\"] }} }}", leaves.join(", ")));
        let svg = HierarchyTable::of(&many, "c", &BTreeMap::new(), None).unwrap().to_svg();
        assert!(svg.contains("… and 89 more") && svg.contains("&lt;0&amp;") && !svg.contains("<0&"), "{svg}");
        assert!(svg.contains("<title id=\"title\">Hierarchy of c</title>"));
    }
}
