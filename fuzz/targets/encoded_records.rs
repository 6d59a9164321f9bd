//! A file of encoded records that another party sends; and a register read back from disk.

#![no_main]

use acequia_link::{Encoded, Register, link_encoded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(register) = Register::parse(text)
    {
        assert_eq!(Register::parse(&register.to_text()).map(|again| again.to_text()).ok(), Some(register.to_text()));
    }
    // A digest that fits is out of a fuzzer's reach: it is mended, so that what lies behind is reached.
    let mut mended = bytes.to_vec();
    if let Some(end) = bytes.len().checked_sub(32) {
        let digest = blake3::hash(&bytes[..end]);
        mended[end..].copy_from_slice(digest.as_bytes());
    }
    let Ok(encoded) = Encoded::from_bytes(&mended) else { return };
    assert!(encoded.records() * encoded.bits() / 8 <= bytes.len());
    if encoded.records() <= 64
        && let Ok(linked) = link_encoded(&encoded, &encoded, 0.5, 1)
    {
        assert!(linked.links.len() <= encoded.records());
    }
});
