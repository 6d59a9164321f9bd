//! `dictionary.json`: what each column means. It drives the statistics, the card and Croissant.

use std::collections::BTreeMap;

use acequia_frame::Table;
use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};

use crate::plan::Completeness;
use crate::receipt::Receipt;
use crate::rows::{Known, values};
use crate::{Plan, ReleaseError};

/// Layout `acequia-dictionary/1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dictionary {
    pub(crate) schema: String,
    /// In the order of the columns.
    pub(crate) columns: Vec<Entry>,
    /// How much the card states; versions of before lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) completeness: Option<Completeness>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: String,
    /// Name of the type as Hub clients write it: `int64`, `float64`, `string`, `bool`, `date32`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// UCUM unit.
    pub(crate) unit: Option<String>,
    pub(crate) role: String,
    /// How the values were made coarser, in words.
    pub(crate) generalisation: Option<String>,
    /// What stands in a row where de-identification left the value out; absent where it did so in no row, and in versions
    /// of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suppressed: Option<String>,
    /// Code to label.
    pub(crate) values: BTreeMap<String, String>,
    /// URIs of the same concept elsewhere.
    pub(crate) equivalent: Vec<String>,
}

pub(crate) const SCHEMA: &str = "acequia-dictionary/1";

/// The role of a column by which a person could be recognised.
const QUASI_IDENTIFIER: &str = "quasi-identifier";

/// Describes every column of the table.
///
/// # Errors
/// [`ReleaseError::Undescribed`] and [`ReleaseError::DescribedOnly`] when table and plan name different columns;
/// [`ReleaseError::Plan`] when plan and receipt disagree about which columns are quasi-identifiers.
pub(crate) fn dictionary(table: &Table, receipt: Receipt<'_>, plan: &Plan) -> Result<Dictionary, ReleaseError> {
    if let Some(column) = plan.columns.iter().find(|column| table.schema().index_of(&column.name).is_err()) {
        return Err(ReleaseError::DescribedOnly { column: column.name.clone() });
    }
    let entry = |field: &arrow::datatypes::FieldRef| {
        let missing = || ReleaseError::Undescribed { column: field.name().clone() };
        let column = plan.column(field.name()).ok_or_else(missing)?;
        let is_quasi_identifier = receipt.quasi_identifiers()?.contains(&column.name.as_str());
        if is_quasi_identifier != (column.role == QUASI_IDENTIFIER) {
            return Err(ReleaseError::Plan {
                field: format!("columns.{}.role", column.name),
                problem: "is not the role that de-identification gave the column".to_owned(),
            });
        }
        let left_out = if is_quasi_identifier { left_out(table, field.name())? } else { 0 };
        let emptied = left_out > 0 && left_out == table.rows() as u64;
        Ok(Entry {
            name: column.name.clone(),
            title: column.title.clone(),
            description: column.description.clone(),
            kind: type_name(field.data_type()),
            unit: column.unit.clone(),
            role: column.role.clone(),
            generalisation: receipt.generalisation(field.name(), emptied),
            suppressed: (left_out > 0).then(|| LEFT_OUT.to_owned()),
            values: column.values.clone(),
            equivalent: column.equivalent.clone(),
        })
    };
    let columns: Result<Vec<Entry>, ReleaseError> = table.schema().fields().iter().map(entry).collect();
    Ok(Dictionary { schema: SCHEMA.to_owned(), columns: columns?, completeness: Some(plan.completeness()) })
}

/// What stands where de-identification left a value out.
const LEFT_OUT: &str = "*";

/// Rows whose value of a quasi-identifier was left out.
fn left_out(table: &Table, column: &str) -> Result<u64, ReleaseError> {
    Ok(match values(table, column)?.known {
        Known::Texts(texts) => texts.get(LEFT_OUT).copied().unwrap_or(0),
        Known::Numbers { .. } => 0,
    })
}

/// The Hub's name of a type.
pub(crate) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "string".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

impl Dictionary {
    /// Names and types of the columns, as [`columns_of`] gives them for a file.
    pub(crate) fn columns(&self) -> Vec<(String, String)> {
        self.columns.iter().map(|entry| (entry.name.clone(), entry.kind.clone())).collect()
    }
}

/// Names and types of a table's columns.
pub(crate) fn columns_of(schema: &Schema) -> Vec<(String, String)> {
    schema.fields().iter().map(|field| (field.name().clone(), type_name(field.data_type()))).collect()
}
