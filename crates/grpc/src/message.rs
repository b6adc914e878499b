//! The text of `grpc-message`: visible ASCII and blanks as they are, all else percent-encoded.

/// Appends `text` so that it can stand in a field; clients decode it as UTF-8.
pub fn write_percent_encoded(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_field_or_is_not_ascii_is_encoded() {
        let mut out = Vec::new();
        write_percent_encoded("50% of\r\n\u{e9}: ok~", &mut out);
        assert_eq!(out, b"50%25 of%0D%0A%C3%A9: ok~");
    }
}
