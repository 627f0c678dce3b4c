//! The nearest known name to a misspelt one.

/// The candidate with the fewest edits, if they are few for its length.
pub(super) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let word = word.get(..word.len().min(64))?;
    let (edits, best) = candidates.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    (edits <= 1 + best.len() / 4).then_some(best)
}

/// Levenshtein's distance, a transposition of neighbours counting one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_word() {
        let names = ["RUN", "COPY", "ENTRYPOINT", "WORKDIR"];
        for (word, found) in
            [("RUNN", Some("RUN")), ("CPOY", Some("COPY")), ("ENTRPOINT", Some("ENTRYPOINT")), ("HELLO", None)]
        {
            assert_eq!(nearest(word, &names), found, "{word}");
        }
    }
}
