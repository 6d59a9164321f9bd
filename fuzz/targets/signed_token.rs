//! Tokens as providers of logins and issuers of visas sign them, and the sets of keys that they publish.

#![no_main]

use acequia_access::read_signed;
use libfuzzer_sys::fuzz_target;

/// A key and a token that OpenSSL made, as the tests of `access` have them: `token`, end of line, set of keys.
const KNOWN: &str = include_str!("../seeds/signed_token/openssl");

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (token, keys) = text.split_once('\n').unwrap_or((text, ""));
    // Whoever makes the keys signs what he likes.
    let _ = read_signed(token, keys);
    let (known, keys) = KNOWN.split_once('\n').expect("two lines");
    let signed = read_signed(known, keys).expect("it is signed");
    // Nobody but the owner of the key signed anything with it.
    if let Some(claims) = read_signed(token, keys) {
        assert_eq!(claims, signed);
    }
});
