//! Lists of processors and nodes, `0-3,7`: the format of cpuset(7), "List format".

use crate::{Error, Result};

/// The bit mask of a list, in words of 8 bytes; empty for an empty list. Numbers are below `limit`.
pub(super) fn mask_of_list(list: &str, limit: usize) -> Result<Vec<u8>> {
    let wrong = || Error::invalid(format!("{list:?} is no list of numbers below {limit}")).hint("0-3,7 for example");
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|_| !list.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        if first > last || last >= limit {
            return Err(wrong());
        }
        let bytes = (last / 64 + 1) * 8;
        mask.resize(bytes.max(mask.len()), 0u8);
        for bit in first..=last {
            // The kernel's words are little-endian on the machines of this crate.
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    Ok(mask)
}

/// Digits alone: `parse` would take a sign.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        assert_eq!(mask_of_list("", 64).unwrap(), Vec::<u8>::new());
        assert_eq!(mask_of_list("0", 64).unwrap(), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(mask_of_list("0-2, 9", 64).unwrap(), [7, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(mask_of_list("64,1", 128).unwrap(), [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        for bad in ["-", "1-", "2-1", "64", "+1", "1,,2", "a", "0-99999999999999999999", ","] {
            assert!(mask_of_list(bad, 64).is_err(), "{bad}");
        }
    }
}
