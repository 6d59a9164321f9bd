//! A file somebody donates, of any format, packed or not.

#![no_main]

use acequia_intake::{Limits, format_of, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { unpacked_bytes: 1 << 20, growth: 200, entries: 20 };
    let format = format_of(bytes, None, &limits);
    let Ok(file) = read(bytes, None, &limits) else { return };
    assert!(format.is_ok(), "what can be read has a format");
    // Every rejected item has a problem at its row: nothing is dropped without a word.
    for item in &file.items {
        if let Some(acequia_omop::Fate::Rejected(code)) = &item.fate {
            assert!(file.problems.iter().any(|problem| problem.place.row == Some(item.row) && &problem.code == code));
        }
    }
});
