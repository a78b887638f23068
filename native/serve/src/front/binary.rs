//! Metadata whose names end in `-bin`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;

/// Sends no padding, and takes it or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a value as it is sent; none: it is no base64.
pub fn decoded(value: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(value.trim_ascii()).ok()
}

/// A value as it is sent.
pub fn encoded(value: &[u8]) -> HeaderValue {
    HeaderValue::try_from(BASE64.encode(value)).expect("base64 can be sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_taken_and_not_sent() {
        assert_eq!(encoded(b"ab"), "YWI");
        assert_eq!(decoded(b"YWI").unwrap(), b"ab");
        assert_eq!(decoded(b" YWI= ").unwrap(), b"ab");
        assert_eq!(decoded(b"~"), None);
    }
}
