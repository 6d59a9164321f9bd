//! A table of the OMOP CDM, CSV or Parquet.

#![no_main]

use acequia_intake::{CdmDefinition, IntakeError, Limits, RowSink, read_tables};
use acequia_types::Problem;
use arrow::array::RecordBatch;
use libfuzzer_sys::fuzz_target;

struct Check;

impl RowSink for Check {
    fn rows(&mut self, table: &'static CdmDefinition, rows: &RecordBatch) -> Result<(), IntakeError> {
        assert_eq!(rows.schema(), table.schema);
        Ok(())
    }
    fn rejected(&mut self, _: &'static CdmDefinition, problems: Vec<Problem>) {
        assert!(!problems.is_empty(), "a row is rejected for a reason");
    }
    fn note(&mut self, _: &'static CdmDefinition, _: Problem) {}
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { unpacked_bytes: 1 << 20, growth: 200, entries: 20 };
    let _ = read_tables(&mut std::io::Cursor::new(bytes), &limits, &mut Check);
});
