//! Sealing: XChaCha20-Poly1305 in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-
//! Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015), frames of 64 KiB.
//!
//! Layout: magic `ACQ1`, nonce prefix (19 bytes), then each frame with its 16-byte tag. The context (where the object
//! belongs) is associated data of every frame, so that an object cannot be passed off as another.

use aead_stream::{DecryptorBE32, EncryptorBE32};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::Payload;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::BlobError;

const MAGIC: &[u8; 4] = b"ACQ1";
const NONCE_BYTES: usize = 19;
const TAG_BYTES: usize = 16;
const FRAME_BYTES: usize = 64 * 1024;

/// A 256-bit key. Wiped when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(masked)")
    }
}

impl Key {
    /// A fresh key from the operating system.
    ///
    /// # Errors
    /// [`BlobError::NoRandomness`].
    pub fn generate() -> Result<Self, BlobError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| BlobError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Takes 32 secret bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose that follows from this one (BLAKE3 key derivation).
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self(blake3::derive_key(purpose, &self.0))
    }

    /// This key, sealed under another.
    ///
    /// # Errors
    /// [`BlobError::NoRandomness`].
    pub fn wrap(&self, under: &Key, context: &[u8]) -> Result<Vec<u8>, BlobError> {
        seal(under, context, &self.0)
    }

    /// Opens a key sealed by [`Key::wrap`].
    ///
    /// # Errors
    /// [`BlobError::Sealed`].
    pub fn unwrap_from(under: &Key, context: &[u8], wrapped: &[u8]) -> Result<Self, BlobError> {
        let bytes = open(under, context, wrapped)?;
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| BlobError::Sealed)?;
        Ok(Self(bytes))
    }
}

/// Seals bytes. The same bytes sealed twice differ: the nonce is random.
///
/// # Errors
/// [`BlobError::NoRandomness`].
pub fn seal(key: &Key, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, BlobError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| BlobError::NoRandomness)?;
    let frames = plaintext.len().div_ceil(FRAME_BYTES).max(1);
    let mut sealed = Vec::with_capacity(MAGIC.len() + NONCE_BYTES + plaintext.len() + frames * TAG_BYTES);
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&nonce);
    let mut encryptor = EncryptorBE32::<XChaCha20Poly1305>::new(&key.0.into(), &nonce.into());
    // More than 2^32 frames (256 TiB) is the only way encryption fails.
    let failed = |_| BlobError::Sealed;
    let (body, last) = plaintext.split_at((frames - 1) * FRAME_BYTES);
    for frame in body.chunks(FRAME_BYTES) {
        sealed.extend(encryptor.encrypt_next(Payload { msg: frame, aad: context }).map_err(failed)?);
    }
    sealed.extend(encryptor.encrypt_last(Payload { msg: last, aad: context }).map_err(failed)?);
    Ok(sealed)
}

/// Opens sealed bytes; they are wiped when dropped.
///
/// # Errors
/// [`BlobError::Sealed`] for a wrong key, a wrong context, or any change: truncation, reordering, a flipped bit.
pub fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BlobError> {
    let body = sealed.strip_prefix(MAGIC).ok_or(BlobError::Sealed)?;
    let (nonce, body) = body.split_at_checked(NONCE_BYTES).ok_or(BlobError::Sealed)?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| BlobError::Sealed)?;
    let mut decryptor = DecryptorBE32::<XChaCha20Poly1305>::new(&key.0.into(), &nonce.into());
    let frame_bytes = FRAME_BYTES + TAG_BYTES;
    let frames = body.len().div_ceil(frame_bytes).max(1);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(body.len()));
    let (rest, last) = body.split_at((frames - 1) * frame_bytes);
    for frame in rest.chunks(frame_bytes) {
        let opened = decryptor.decrypt_next(Payload { msg: frame, aad: context }).map_err(|_| BlobError::Sealed)?;
        plaintext.extend_from_slice(&Zeroizing::new(opened));
    }
    let opened = decryptor.decrypt_last(Payload { msg: last, aad: context }).map_err(|_| BlobError::Sealed)?;
    plaintext.extend_from_slice(&Zeroizing::new(opened));
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agrees_with_the_vector_of_the_xchacha_draft() {
        // draft-irtf-cfrg-xchacha-03, appendix A.3.1: the AEAD that the frames use.
        use chacha20poly1305::KeyInit;
        use chacha20poly1305::aead::Aead;
        let key: [u8; 32] = std::array::from_fn(|at| 0x80 + u8::try_from(at).unwrap());
        let nonce: [u8; 24] = std::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap());
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let message = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let cipher = XChaCha20Poly1305::new(&key.into());
        let sealed = cipher.encrypt(&nonce.into(), Payload { msg: message, aad: &aad }).unwrap();
        assert_eq!(hex::encode(&sealed[..16]), "bd6d179d3e83d43b9576579493c0e939");
        assert_eq!(hex::encode(&sealed[message.len()..]), "c0875924c1c7987947deafd8780acf49");
    }

    #[test]
    fn frames_cannot_be_cut_off_or_swapped() {
        let key = Key::generate().unwrap();
        let plaintext = vec![7; 3 * FRAME_BYTES];
        let sealed = seal(&key, b"c", &plaintext).unwrap();
        assert_eq!(*open(&key, b"c", &sealed).unwrap(), plaintext);
        let frame = FRAME_BYTES + TAG_BYTES;
        assert_eq!(open(&key, b"c", &sealed[..sealed.len() - frame]).unwrap_err(), BlobError::Sealed);
        let mut swapped = sealed.clone();
        let (first, second) = swapped[MAGIC.len() + NONCE_BYTES..].split_at_mut(frame);
        first.swap_with_slice(&mut second[..frame]);
        assert_eq!(open(&key, b"c", &swapped).unwrap_err(), BlobError::Sealed);
        assert_eq!(open(&Key::generate().unwrap(), b"c", &sealed).unwrap_err(), BlobError::Sealed);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_change_is_seen(plaintext in proptest::collection::vec(any::<u8>(), 0..300), at in any::<usize>(), bit in 0..8u8) {
            let key = Key::generate().unwrap();
            let mut sealed = seal(&key, b"context", &plaintext).unwrap();
            prop_assert_eq!(&*open(&key, b"context", &sealed).unwrap(), &plaintext);
            let at = at % sealed.len();
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(open(&key, b"context", &sealed).unwrap_err(), BlobError::Sealed);
        }

        #[test]
        fn no_bytes_make_opening_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let key = Key::generate().unwrap();
            let mut sealed = MAGIC.to_vec();
            sealed.extend(bytes);
            prop_assert!(open(&key, b"", &sealed).is_err());
        }
    }
}
