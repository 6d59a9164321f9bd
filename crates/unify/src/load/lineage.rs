//! Where each row came from: one row of lineage per row of a table. Source ids never enter the tables of the model; here
//! they are keyed digests.

use std::sync::{Arc, LazyLock};

use acequia_omop::{CdmTable, Precision, When};
use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryBuilder, Int16Array, Int16Builder, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int16Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::index::Origin;
use super::map::Kinds;

/// Version of the rules by which events become rows; part of lineage, so that rows made by older rules can be found.
pub const MAP_VERSION: &str = "fhir-r4-omop-5.4/3";

/// What the source did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Note {
    #[default]
    None,
    DayOfVisit,
    Converted,
    DayOfVisitConverted,
}

impl Note {
    const WORDS: [&'static str; 4] = ["", "day of the visit", "unit converted", "day of the visit; unit converted"];

    pub(super) const fn and_converted(self) -> Self {
        match self {
            Self::DayOfVisit | Self::DayOfVisitConverted => Self::DayOfVisitConverted,
            _ => Self::Converted,
        }
    }
}

/// Schema of `lineage`.
pub(super) fn schema() -> &'static SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let word = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
        Arc::new(Schema::new(vec![
            Field::new("table_name", word.clone(), false),
            Field::new("row_id", DataType::Int64, false),
            Field::new("person_id", DataType::Int64, false),
            Field::new("source", word.clone(), false),
            Field::new("item_kind", word.clone(), false),
            Field::new("item_digest", DataType::FixedSizeBinary(16), false),
            Field::new("content_digest", DataType::FixedSizeBinary(16), false),
            Field::new("date_precision", word.clone(), false),
            Field::new("offset_minutes", DataType::Int16, true),
            Field::new("note", word.clone(), false),
            Field::new("map_version", word.clone(), false),
            Field::new("vocabulary_version", word, false),
        ]))
    });
    &SCHEMA
}

#[derive(Default)]
pub(super) struct Lineage {
    table: Vec<i16>,
    row_id: Vec<i64>,
    person_id: Vec<i64>,
    kind: Vec<i16>,
    item: Vec<u128>,
    content: Vec<u128>,
    precision: Vec<i16>,
    offset: Int16Builder,
    note: Vec<i16>,
}

fn words(keys: Vec<i16>, words: Vec<&str>) -> Result<ArrayRef, ArrowError> {
    let values = Arc::new(StringArray::from(words));
    Ok(Arc::new(DictionaryArray::<Int16Type>::try_new(Int16Array::from(keys), values)?))
}

fn digests(digests: &[u128]) -> Result<ArrayRef, ArrowError> {
    let mut column = FixedSizeBinaryBuilder::with_capacity(digests.len(), 16);
    for digest in digests {
        column.append_value(digest.to_be_bytes())?;
    }
    Ok(Arc::new(column.finish()))
}

impl Lineage {
    /// With room for so many rows.
    pub(super) fn with_room(rows: usize) -> Self {
        Self {
            table: Vec::with_capacity(rows),
            row_id: Vec::with_capacity(rows),
            person_id: Vec::with_capacity(rows),
            kind: Vec::with_capacity(rows),
            item: Vec::with_capacity(rows),
            content: Vec::with_capacity(rows),
            precision: Vec::with_capacity(rows),
            offset: Int16Builder::with_capacity(rows),
            note: Vec::with_capacity(rows),
        }
    }

    pub(super) fn push(
        &mut self,
        table: CdmTable,
        row_id: i64,
        person_id: i64,
        origin: &Origin,
        when: Option<When>,
        note: Note,
    ) {
        self.table.push(i16::from(table as u8));
        self.row_id.push(row_id);
        self.person_id.push(person_id);
        self.kind.push(i16::from(origin.kind));
        self.item.push(origin.item);
        self.content.push(origin.content);
        self.precision.push(when.map_or(2, |when| when.precision as i16));
        self.offset.append_option(when.and_then(|when| when.offset_minutes));
        self.note.push(note as i16);
    }

    pub(super) fn len(&self) -> usize {
        self.row_id.len()
    }

    pub(super) fn finish(mut self, kinds: &Kinds, source: &str, vocabulary: &str) -> Result<RecordBatch, ArrowError> {
        let rows = self.row_id.len();
        let precisions = [Precision::Year, Precision::Month, Precision::Day, Precision::Second];
        let columns = vec![
            words(self.table, CdmTable::ALL.iter().map(|table| table.name()).collect())?,
            Arc::new(Int64Array::from(self.row_id)),
            Arc::new(Int64Array::from(self.person_id)),
            words(vec![0; rows], vec![source])?,
            words(self.kind, kinds.names())?,
            digests(&self.item)?,
            digests(&self.content)?,
            words(self.precision, precisions.iter().map(|precision| precision.as_str()).collect())?,
            Arc::new(self.offset.finish()),
            words(self.note, Note::WORDS.to_vec())?,
            words(vec![0; rows], vec![MAP_VERSION])?,
            words(vec![0; rows], vec![vocabulary])?,
        ];
        RecordBatch::try_new(Arc::clone(schema()), columns)
    }
}
