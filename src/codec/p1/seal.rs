//! The encrypted envelope of Luxembourg's Smarty and of Sagemcom T210-D-r meters in Austria: general-glo-ciphering with
//! AES-128-GCM around an ordinary telegram (Smarty P1 specification 1.1.3, chapter 3.2.5).
//!
//! `DB 08 title(8) 82 length(2) 30 counter(4) ciphertext(n) tag(12)`, length = 17 + n.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aes::Aes128;
use aes_gcm::{AeadInOut, AesGcm, Key, KeyInit, Nonce, Tag};

type Cipher = AesGcm<Aes128, U12, U12>;

/// First byte of an envelope.
pub(super) const START: u8 = 0xDB;
/// Bytes up to and including the security control byte.
pub(super) const HEAD: usize = 14;
const TITLE: usize = 8;
const COUNTER: usize = 4;
const TAG: usize = 12;
/// Encrypted and authenticated.
const SECURITY_CONTROL: u8 = 0x30;

/// The authentication key that the specification publishes for everybody.
pub const DEFAULT_AUTH_KEY: [u8; 16] =
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF];

/// What opens encrypted telegrams. Its `Debug` form does not show the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The customer's key.
    pub key: [u8; 16],
    /// The authentication key, where one was given: then a tag that does not fit refuses the telegram. `None` tries
    /// the published one and only reports the outcome.
    pub auth_key: Option<[u8; 16]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// What is known of a telegram that came encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Maker's name and number of the meter that sealed it.
    pub system_title: [u8; 8],
    /// Counts up with every telegram of a key.
    pub frame_counter: u32,
    /// What the tag said.
    pub tag: TagCheck,
}

/// The outcome of the check of an envelope's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagCheck {
    /// The tag fits.
    Verified,
    /// It does not fit the published authentication key, and no other was given: the text is readable, but was sealed
    /// with another authentication key or without one.
    NotVerified,
    /// It does not fit the authentication key that was given.
    Wrong,
}

/// Total length of the envelope whose first bytes these are; `None` when it is none. Needs [`HEAD`] bytes.
pub(super) fn envelope_length(head: &[u8]) -> Option<usize> {
    match head {
        [START, 0x08, _, _, _, _, _, _, _, _, 0x82, high, low, SECURITY_CONTROL, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (length > 1 + COUNTER + TAG).then_some(HEAD - 1 + length)
        }
        _ => None,
    }
}

/// Whether these bytes, as far as they go, may be the beginning of an envelope.
pub(super) fn may_be_envelope(head: &[u8]) -> bool {
    const FIXED: [(usize, u8); 4] = [(0, START), (1, 0x08), (10, 0x82), (13, SECURITY_CONTROL)];
    FIXED.iter().all(|&(at, byte)| head.get(at).is_none_or(|&found| found == byte))
}

/// Decrypts a whole envelope into `plain`. The text is given also where the tag does not fit: its own CRC says whether
/// the key was right.
pub(super) fn open(envelope: &[u8], keys: &Keys, plain: &mut Vec<u8>) -> Option<Seal> {
    let system_title: [u8; TITLE] = envelope.get(2..2 + TITLE)?.try_into().ok()?;
    let counter: [u8; COUNTER] = envelope.get(HEAD..HEAD + COUNTER)?.try_into().ok()?;
    let (ciphertext, tag) = envelope.get(HEAD + COUNTER..)?.split_last_chunk::<TAG>()?;
    let mut iv = [0; TITLE + COUNTER];
    iv[..TITLE].copy_from_slice(&system_title);
    iv[TITLE..].copy_from_slice(&counter);
    let nonce = Nonce::<U12>::from(iv);
    let cipher = Cipher::new(&Key::<Cipher>::from(keys.key));
    let mut associated = [SECURITY_CONTROL; 17];
    associated[1..].copy_from_slice(&keys.auth_key.unwrap_or(DEFAULT_AUTH_KEY));

    plain.clear();
    plain.extend_from_slice(ciphertext);
    let tag = Tag::<U12>::from(*tag);
    let verified =
        cipher.decrypt_inout_detached(&nonce, &associated, InOutBuf::from(plain.as_mut_slice()), &tag).is_ok();
    if !verified {
        // Counter mode is its own inverse; the tag that this computes over the text is of no use.
        plain.clear();
        plain.extend_from_slice(ciphertext);
        let _ = cipher.encrypt_inout_detached(&nonce, &associated, InOutBuf::from(plain.as_mut_slice())).ok()?;
    }
    let tag = match (verified, keys.auth_key) {
        (true, _) => TagCheck::Verified,
        (false, None) => TagCheck::NotVerified,
        (false, Some(_)) => TagCheck::Wrong,
    };
    Some(Seal { system_title, frame_counter: u32::from_be_bytes(counter), tag })
}

/// Seals a telegram as a meter does; for the simulator and for tests.
///
/// Texts that the two length bytes cannot express give `None`.
#[must_use]
pub fn seal(telegram: &[u8], keys: &Keys, system_title: [u8; 8], frame_counter: u32) -> Option<Vec<u8>> {
    let length = u16::try_from(1 + COUNTER + telegram.len() + TAG).ok()?;
    let mut iv = [0; TITLE + COUNTER];
    iv[..TITLE].copy_from_slice(&system_title);
    iv[TITLE..].copy_from_slice(&frame_counter.to_be_bytes());
    let mut associated = [SECURITY_CONTROL; 17];
    associated[1..].copy_from_slice(&keys.auth_key.unwrap_or(DEFAULT_AUTH_KEY));
    let mut body = telegram.to_vec();
    let cipher = Cipher::new(&Key::<Cipher>::from(keys.key));
    let nonce = Nonce::<U12>::from(iv);
    let tag = cipher.encrypt_inout_detached(&nonce, &associated, InOutBuf::from(body.as_mut_slice())).ok()?;
    let mut envelope = vec![START, 0x08];
    envelope.extend_from_slice(&system_title);
    envelope.push(0x82);
    envelope.extend_from_slice(&length.to_be_bytes());
    envelope.push(SECURITY_CONTROL);
    envelope.extend_from_slice(&frame_counter.to_be_bytes());
    envelope.extend_from_slice(&body);
    envelope.extend_from_slice(&tag);
    Some(envelope)
}
