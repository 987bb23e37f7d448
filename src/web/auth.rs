//! HTTP basic authentication (RFC 7617) with one password and any user name.

use crate::config::model::Secret;

/// Longest `Authorization` value that is looked at.
const LONGEST: usize = 1024;

/// Whether this `Authorization` header carries the password.
pub(super) fn admits(password: &Secret, header: Option<&[u8]>) -> bool {
    let Some(header) = header.filter(|it| it.len() <= LONGEST) else { return false };
    let Some((scheme, credentials)) = header.split_at_checked(6) else { return false };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let Some(decoded) = base64(credentials.trim_ascii()) else { return false };
    let Some(colon) = decoded.iter().position(|&byte| byte == b':') else { return false };
    password.is(&decoded[colon + 1..])
}

/// Standard alphabet (RFC 4648, 4), with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for &letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64(b"Zm9v Zg"), None);
        assert_eq!(base64(b"Zm-_"), None);
    }

    #[test]
    fn only_the_right_password_is_admitted() {
        let password = Secret::new("open sesame".to_owned());
        // Aladdin:open sesame, as in RFC 7617.
        assert!(admits(&password, Some(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")));
        assert!(admits(&password, Some(b"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ")));
        for wrong in [
            None,
            Some(&b""[..]),
            Some(b"Basic"),
            Some(b"Basic "),
            Some(b"Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            Some(b"Basic QWxhZGRpbjpvcGVuIHNlc2Ft"),
            Some(b"Basic QWxhZGRpbjo="),
            Some(b"Basic QWxhZGRpbg=="),
            Some(b"Basic !!!!"),
            Some(&[b'A'; 2000]),
        ] {
            assert!(!admits(&password, wrong), "{wrong:?}");
        }
        assert!(!admits(&password, Some(b"Basic Om9wZW4gc2VzYW1lIQ==")), "one letter more");
    }
}
