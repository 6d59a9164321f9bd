//! Results as CSV files: whole or not at all, readable by their owner only. Rows are counted from 1, without the header.

use std::io::Write;
use std::path::Path;

use acequia_types::spreadsheet_safe;

use crate::run::Link;
use crate::table::{Table, write_whole};
use crate::{Clustered, Config, LinkError, Linked, PrivateLinked, Register};

/// Writes the links between two tables: rows, record names where the configuration has them, weight and probability.
///
/// # Errors
/// [`LinkError::File`] when the file cannot be written.
pub fn write_links(path: &Path, a: &Table, b: &Table, linked: &Linked) -> Result<(), LinkError> {
    write_pairs(path, a, b, &linked.summary.config, &linked.links)
}

/// Writes all pairs of one person in one table, as [`write_links`] does.
///
/// # Errors
/// [`LinkError::File`] when the file cannot be written.
pub fn write_cluster_pairs(path: &Path, table: &Table, found: &Clustered) -> Result<(), LinkError> {
    write_pairs(path, table, table, &found.summary.config, &found.links)
}

/// Writes each row with its cluster, rows of one person together. A cluster is named by its first row; the weight is that of the row's best pair.
///
/// # Errors
/// [`LinkError::File`] when the file cannot be written.
pub fn write_clusters(path: &Path, table: &Table, found: &Clustered) -> Result<(), LinkError> {
    let id = found.summary.config.id.as_deref();
    let mut best = vec![f64::NEG_INFINITY; table.len()];
    for link in &found.links {
        for row in [link.a, link.b] {
            best[row as usize] = best[row as usize].max(link.weight);
        }
    }
    let mut rows: Vec<(u32, usize)> = found.cluster.iter().copied().zip(0..).collect();
    rows.sort_unstable();
    csv(path, |file| {
        let mut header = vec!["cluster", "row", "weight"];
        header.extend(id);
        file.write_record(&header)?;
        for (cluster, row) in rows {
            let weight = if best[row].is_finite() { format!("{:.2}", best[row]) } else { String::new() };
            let mut fields = vec![(cluster + 1).to_string(), (row + 1).to_string(), weight];
            fields.extend(id.map(|id| spreadsheet_safe(table.field(row, id).unwrap_or_default()).into_owned()));
            file.write_record(&fields)?;
        }
        Ok(())
    })
}

/// Writes the links between two encoded tables: records, Dice's coefficient, probability.
///
/// # Errors
/// [`LinkError::File`] when the file cannot be written.
pub fn write_private_links(path: &Path, linked: &PrivateLinked) -> Result<(), LinkError> {
    csv(path, |file| {
        file.write_record(["row_a", "row_b", "dice", "probability"])?;
        for link in &linked.links {
            let (a, b) = ((link.a + 1).to_string(), (link.b + 1).to_string());
            file.write_record([a, b, format!("{:.4}", link.dice), format!("{:.4}", link.probability)])?;
        }
        Ok(())
    })
}

/// Writes every record of a register with its cluster, by cluster.
///
/// # Errors
/// [`LinkError::File`] when the file cannot be written.
pub fn write_register_clusters(path: &Path, register: &Register) -> Result<(), LinkError> {
    let mut rows: Vec<(&str, &str)> = register.clusters().map(|(record, cluster)| (cluster, record)).collect();
    rows.sort_unstable();
    csv(path, |file| {
        file.write_record(["cluster", register.config().id.as_deref().unwrap_or("record")])?;
        rows.iter().try_for_each(|(cluster, record)| file.write_record([*cluster, &*spreadsheet_safe(record)]))
    })
}

fn write_pairs(path: &Path, a: &Table, b: &Table, config: &Config, links: &[Link]) -> Result<(), LinkError> {
    let id = config.id.as_deref();
    csv(path, |file| {
        let mut header = vec!["row_a".to_owned(), "row_b".to_owned()];
        header.extend(id.into_iter().flat_map(|id| [format!("{id}_a"), format!("{id}_b")]));
        header.extend(["weight".to_owned(), "probability".to_owned()]);
        file.write_record(&header)?;
        for link in links {
            let mut fields = vec![(link.a + 1).to_string(), (link.b + 1).to_string()];
            fields.extend(id.into_iter().flat_map(|id| {
                [a.field(link.a as usize, id), b.field(link.b as usize, id)]
                    .map(|name| spreadsheet_safe(name.unwrap_or_default()).into_owned())
            }));
            fields.extend([format!("{:.2}", link.weight), format!("{:.6}", link.probability)]);
            file.write_record(&fields)?;
        }
        Ok(())
    })
}

fn csv(path: &Path, rows: impl FnOnce(&mut csv::Writer<&mut dyn Write>) -> csv::Result<()>) -> Result<(), LinkError> {
    write_whole(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        rows(&mut writer).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            _ => std::io::ErrorKind::InvalidData.into(),
        })?;
        writer.flush()
    })
}
