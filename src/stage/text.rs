//! Text in a fixed buffer: numbers and points in time, without an allocator.

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

/// The civil date of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
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
