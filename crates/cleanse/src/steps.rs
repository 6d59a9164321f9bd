//! Checks as SQL, for an engine that runs on many machines: those that look at one row at a time, all of a table in one
//! query.

use acequia_frame::SqlStep;
use acequia_omop::{CdmTable, FieldType};

use crate::definition::{Bound, Check, Kind};

/// One query over `table` that counts, for each of `checks` that looks at single rows, the rows it counts and those of
/// them that fail, in columns `counted_<nth>` and `failing_<nth>`, nth being the place in the list that is returned
/// beside it. `fields` are the columns that are there, `today` is days since 1970-01-01. `None` when no check is left.
pub fn row_checks<'c>(
    table: CdmTable,
    checks: &'c [Check],
    fields: &[&str],
    today: i32,
) -> Option<(SqlStep, Vec<&'c Check>)> {
    let (mut columns, mut used) = (Vec::new(), Vec::new());
    for check in checks.iter().filter(|check| check.table == table) {
        let Some((counted, failing)) = conditions(check, fields, today) else { continue };
        let nth = used.len();
        columns.push(format!("COALESCE(SUM(CASE WHEN {counted} THEN 1 ELSE 0 END), 0) AS counted_{nth}"));
        columns.push(format!(
            "COALESCE(SUM(CASE WHEN ({counted}) AND ({failing}) THEN 1 ELSE 0 END), 0) AS failing_{nth}"
        ));
        used.push(check);
    }
    if used.is_empty() {
        return None;
    }
    let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name());
    Some((SqlStep { name: format!("checks_{}", table.name()), sql, expects: None }, used))
}

/// SQL of the rows that a check counts, and of those that fail.
fn conditions(check: &Check, fields: &[&str], today: i32) -> Option<(String, String)> {
    let there = |field: &str| fields.contains(&field);
    let field = check.field.as_deref().filter(|field| there(field))?;
    // A moment counts by its day.
    let column = |field: &str| {
        let moment = check.table.fields().iter().any(|own| own.name == field && own.field_type == FieldType::Datetime);
        if moment { format!("CAST(\"{field}\" AS DATE)") } else { format!("\"{field}\"") }
    };
    let own = column(field);
    let day = |days: i32| format!("CAST({days} AS DATE)");
    let bound = |bound: &Bound| match bound {
        Bound::Number(number) => Some(number.to_string()),
        Bound::Day(days) => Some(day(*days)),
        Bound::Tomorrow => Some(day(today + 1)),
        Bound::NextYear => None,
    };
    let present = format!("{own} IS NOT NULL");
    Some(match &check.kind {
        Kind::NotNull => ("TRUE".to_owned(), format!("{own} IS NULL")),
        Kind::Low(low) => (present, format!("{own} < {}", bound(low)?)),
        Kind::High(high) => (present, format!("{own} > {}", bound(high)?)),
        Kind::NotAfter(other) if there(other) => {
            let other = column(other);
            (format!("{present} AND {other} IS NOT NULL"), format!("{own} > {other}"))
        }
        Kind::NotBefore(other) if there(other) => {
            ("TRUE".to_owned(), format!("COALESCE({own} < {}, FALSE)", column(other)))
        }
        Kind::Mapped { source_value: None } => (present, format!("{own} = 0")),
        Kind::Mapped { source_value: Some(source) } if there(source) => (
            format!("{present} OR \"{source}\" IS NOT NULL"),
            format!("COALESCE({own} = 0, FALSE) OR ({own} IS NULL AND \"{source}\" IS NOT NULL)"),
        ),
        _ => return None,
    })
}
