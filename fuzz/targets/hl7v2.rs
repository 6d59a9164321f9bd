//! HL7 v2 messages, as they are and behind a beginning by which they are told.

#![no_main]

use std::io::Cursor;

use acequia_intake::{Limits, Survey, read_into, set_aside};
use acequia_omop::Fate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { unpacked_bytes: 1 << 20, growth: 200, entries: 20 };
    for input in [bytes.to_vec(), [b"MSH|^~\\&|".as_slice(), bytes].concat()] {
        let mut survey = Survey::default();
        let _ = read_into(&mut Cursor::new(&input), None, &limits, &mut survey);
        let _ = set_aside(&mut Cursor::new(&input), None, &limits, &survey.rejected, &mut |_, _| {
            Ok(Box::new(std::io::sink()))
        });
        let Ok(file) = acequia_intake::read(&input, None, &limits) else { continue };
        // Every rejected item has a problem with its code: nothing is dropped without a word.
        for item in &file.items {
            if let Some(Fate::Rejected(code)) = &item.fate {
                assert!(file.problems.iter().any(|problem| &problem.code == code));
            }
        }
    }
});
