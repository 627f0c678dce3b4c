//! The first line of an answer of HTTP.

/// What the begin of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It may become a status line.
    Incomplete,
    Status(u16),
    /// It is none.
    Foreign,
}

/// Reads `HTTP/1.x NNN` at the begin of `bytes` (RFC 9112, section 4).
pub(crate) fn answer(bytes: &[u8]) -> Answer {
    const SHAPE: &[u8] = b"HTTP/1.d ddd";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    if !bytes.iter().zip(SHAPE).all(fits) {
        return Answer::Foreign;
    }
    let (Some(digits), Some(next)) = (bytes.get(SHAPE.len() - 3..SHAPE.len()), bytes.get(SHAPE.len())) else {
        return Answer::Incomplete;
    };
    if !matches!(next, b' ' | b'\r' | b'\n') {
        return Answer::Foreign;
    }
    Answer::Status(digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_byte_by_byte() {
        let line = b"HTTP/1.1 204 No Content\r\n";
        for length in 0..line.len() {
            let expected = if length < 13 { Answer::Incomplete } else { Answer::Status(204) };
            assert_eq!(answer(&line[..length]), expected, "{length}");
        }
        assert_eq!(answer(b"HTTP/1.0 503\n"), Answer::Status(503));
        assert_eq!(answer(b"HTTP/1.0 999\r\n"), Answer::Status(999));
    }

    #[test]
    fn what_is_no_status_line_is_known_at_its_first_wrong_byte() {
        for bad in ["h", "SSH-2.0", "HTTP/2", "HTTP/1.x", "HTTP/1.1 2x", "HTTP/1.1 2000", "HTTP/1.1  200 ", "\0"] {
            assert_eq!(answer(bad.as_bytes()), Answer::Foreign, "{bad:?}");
        }
    }
}
