//! The sentence behind each number.

use std::fmt;

use super::interface::Reason;

/// Writes the sentence for `reason`.
pub(super) fn sentence(reason: &Reason, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}: {}", reason.offer, reason.word)
}
