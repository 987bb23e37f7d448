//! HTTP authentication as devices ask for it: Basic (RFC 7617) and Digest with SHA-256 and `qop=auth` (RFC 7616).
//!
//! Digest with MD5 is left out: no device that is read here asks for it, and it would protect nothing.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// No device sends a longer challenge.
const LONGEST: usize = 2048;

/// Who asks.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// User.
    pub username: &'a str,
    /// Password.
    pub password: &'a str,
}

/// Without the password.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What a `WWW-Authenticate` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// User and password as they are.
    Basic,
    /// A hash over them and the request.
    Digest(Challenge),
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// Neither Basic nor Digest.
    #[error("the device asks for a login that is neither Basic nor Digest")]
    Scheme,
    /// Another hash than SHA-256.
    #[error("the device asks for a Digest login without SHA-256")]
    Algorithm,
    /// Not `qop=auth`.
    #[error("the device asks for a Digest login without qop=auth")]
    Protection,
    /// No realm or nonce, no quoted text, or too long.
    #[error("the device's Digest challenge cannot be read")]
    Malformed,
}

/// A Digest challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
}

/// Reads one `WWW-Authenticate` header.
///
/// # Errors
/// When it asks for something that is not known here.
pub fn scheme(header: &str) -> Result<Scheme, Unanswerable> {
    if header.len() > LONGEST {
        return Err(Unanswerable::Malformed);
    }
    let header = header.trim_start();
    let (name, rest) = header.split_once([' ', '\t']).unwrap_or((header, ""));
    if name.eq_ignore_ascii_case("basic") {
        return Ok(Scheme::Basic);
    }
    if !name.eq_ignore_ascii_case("digest") {
        return Err(Unanswerable::Scheme);
    }
    let (mut realm, mut nonce, mut opaque, mut algorithm, mut qop) = (None, None, None, None, None);
    let mut rest = rest;
    while let Some((key, value, tail)) = parameter(rest)? {
        let slot = match key.to_ascii_lowercase().as_str() {
            "realm" => &mut realm,
            "nonce" => &mut nonce,
            "opaque" => &mut opaque,
            "algorithm" => &mut algorithm,
            "qop" => &mut qop,
            _ => &mut None,
        };
        *slot = Some(value);
        rest = tail;
    }
    if !algorithm.is_some_and(|it| it.eq_ignore_ascii_case("SHA-256")) {
        return Err(Unanswerable::Algorithm);
    }
    if !qop.is_some_and(|it| it.split(',').any(|it| it.trim().eq_ignore_ascii_case("auth"))) {
        return Err(Unanswerable::Protection);
    }
    match (realm, nonce) {
        (Some(realm), Some(nonce)) => Ok(Scheme::Digest(Challenge { realm, nonce, opaque })),
        _ => Err(Unanswerable::Malformed),
    }
}

/// Key, value and what follows; `None` at the end.
fn parameter(text: &str) -> Result<Option<(&str, String, &str)>, Unanswerable> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    if text.is_empty() {
        return Ok(None);
    }
    let (key, rest) = text.split_once('=').ok_or(Unanswerable::Malformed)?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
        return Ok(Some((key.trim_end(), rest[..end].to_owned(), &rest[end..])));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, letter) in quoted.char_indices() {
        match letter {
            _ if letter.is_control() => return Err(Unanswerable::Malformed),
            _ if escaped => {
                value.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok(Some((key.trim_end(), value, &quoted[at + 1..]))),
            _ => value.push(letter),
        }
    }
    Err(Unanswerable::Malformed)
}

impl Challenge {
    /// The `Authorization` header for the `count`th request (from 1) under this challenge. `uri` is path and query as
    /// sent, `cnonce` any text that is not used twice.
    #[must_use]
    pub fn answer(&self, who: Credentials<'_>, method: &str, uri: &str, count: u32, cnonce: &str) -> String {
        let Self { realm, nonce, opaque } = self;
        let secret = hash(&[who.username, realm, who.password]);
        let request = hash(&[method, uri]);
        let count = format!("{count:08x}");
        let response = hash(&[&secret, nonce, &count, cnonce, "auth", &request]);
        let mut header = format!(
            "Digest username={}, realm={}, uri={}, algorithm=SHA-256, nonce={}, nc={count}, cnonce={}, qop=auth, \
             response=\"{response}\"",
            quote(who.username),
            quote(realm),
            quote(uri),
            quote(nonce),
            quote(cnonce),
        );
        if let Some(opaque) = opaque {
            header.push_str(", opaque=");
            header.push_str(&quote(opaque));
        }
        header
    }
}

/// SHA-256 over the parts joined by colons, in lower-case hexadecimal digits.
fn hash(parts: &[&str]) -> String {
    hex(&Sha256::digest(parts.join(":").as_bytes()))
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616, section 3.9.1.
    #[test]
    fn the_example_of_the_standard_is_answered() {
        let header = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
                      nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                      opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let Ok(Scheme::Digest(challenge)) = scheme(header) else { panic!("not a digest challenge") };
        let who = Credentials { username: "Mufasa", password: "Circle of Life" };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let answer = challenge.answer(who, "GET", "/dir/index.html", 1, cnonce);
        assert!(
            answer.contains("response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\""),
            "{answer}"
        );
        assert!(answer.contains("nc=00000001, "), "{answer}");
        assert!(answer.ends_with("opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""), "{answer}");
    }

    #[test]
    fn a_challenge_without_opaque_and_with_odd_blanks_is_read() {
        let header = "digest qop=auth ,realm = \"a \\\"b\\\", c\",nonce=\"1a2b\",  algorithm=sha-256,stale=false";
        let read = Challenge { realm: "a \"b\", c".into(), nonce: "1a2b".into(), opaque: None };
        assert_eq!(scheme(header), Ok(Scheme::Digest(read)));
        assert_eq!(scheme("Basic realm=\"shelly\""), Ok(Scheme::Basic));
    }

    #[test]
    fn what_cannot_be_answered_is_named() {
        let digest = |rest: &str| scheme(&format!("Digest realm=\"r\", nonce=\"n\"{rest}"));
        assert_eq!(digest(", qop=\"auth\""), Err(Unanswerable::Algorithm));
        assert_eq!(digest(", qop=\"auth\", algorithm=MD5"), Err(Unanswerable::Algorithm));
        assert_eq!(digest(", algorithm=SHA-256"), Err(Unanswerable::Protection));
        assert_eq!(scheme("Digest qop=\"auth\", algorithm=SHA-256"), Err(Unanswerable::Malformed));
        assert_eq!(scheme("Bearer realm=\"x\""), Err(Unanswerable::Scheme));
        for bad in ["Digest realm=\"never closed", "Digest realm", "Digest realm=\"a\nb\"", &"x".repeat(4000)] {
            assert!(scheme(bad).is_err(), "{bad}");
        }
    }
}
