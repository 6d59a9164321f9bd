//! Tables in files, as anybody may hand them to the command line: CSV, packed CSV and Parquet.
#![no_main]

use acequia_deidentify::FileTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("acequia-fuzz-{}.csv", std::process::id()));
    std::fs::write(&path, data).expect("a writable temporary folder");
    if let Ok(table) = FileTable::read(&path, None) {
        let columns: Vec<String> = table.column_names().into_iter().map(str::to_owned).collect();
        let risk = table.risk(&columns, 0.09, None).expect("all columns are there");
        assert_eq!(risk.rows, table.rows() as u64);
        assert!(risk.classes.count <= risk.rows);
    }
});
