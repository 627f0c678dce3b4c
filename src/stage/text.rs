//! Text in a fixed buffer: numbers and points in time, without an allocator.

use crate::value::civil::civil_from_days;

/// A buffer that drops what does not fit.
pub(crate) struct Text<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    pub(crate) fn new() -> Text<SIZE> {
        Text { bytes: [0; SIZE], length: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// With a NUL behind it, as a path; the last byte of the buffer is kept for it.
    pub(crate) fn as_path(&mut self) -> *const u8 {
        let end = self.length.min(SIZE - 1);
        self.bytes[end] = 0;
        self.bytes.as_ptr()
    }

    pub(crate) fn push(&mut self, text: &[u8]) -> &mut Text<SIZE> {
        for &byte in text {
            if self.length < SIZE {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Text<SIZE> {
        self.padded(number, 1)
    }

    /// A number of at least `width` digits.
    fn padded(&mut self, mut number: u64, width: usize) -> &mut Text<SIZE> {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 || digits.len() - at < width {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.push(&digits[at..])
    }

    /// RFC 3339 in UTC with nanoseconds.
    pub(crate) fn time(&mut self, seconds: i64, nanoseconds: i64) -> &mut Text<SIZE> {
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400) as u64;
        self.padded(year as u64, 4).push(b"-").padded(month as u64, 2).push(b"-").padded(day as u64, 2);
        self.push(b"T").padded(second / 3600, 2).push(b":").padded(second / 60 % 60, 2).push(b":");
        self.padded(second % 60, 2).push(b".").padded(nanoseconds as u64, 9).push(b"Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_reads_as_the_librarys() {
        for (seconds, nanoseconds) in [(0, 0), (1_709_251_199, 1), (1_795_242_636, 123_456_789)] {
            let mut text = Text::<64>::new();
            text.time(seconds, i64::from(nanoseconds));
            let expected = crate::Timestamp { seconds, nanoseconds }.to_string();
            assert_eq!(text.as_bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped() {
        let mut text = Text::<4>::new();
        text.number(123).push(b"45");
        assert_eq!(text.as_bytes(), b"1234");
        assert_eq!(Text::<4>::new().number(0).as_bytes(), b"0");
        // SAFETY: a path ends with NUL within its buffer.
        let path = unsafe { core::ffi::CStr::from_ptr(text.as_path().cast()) };
        assert_eq!(path.to_bytes(), b"123");
    }
}
