//! What is told to the ledger in parts: one row that is refused holds up all that are sent with it, so these are sent in halves.

/// Rows that are still to be sent.
#[derive(Debug)]
pub struct Halves<T>(Vec<Vec<T>>);

impl<T> Halves<T> {
    /// These rows, at most `most` at a time.
    pub fn new(mut rows: Vec<T>, most: usize) -> Self {
        let mut parts = Vec::new();
        while !rows.is_empty() {
            let later = rows.split_off(rows.len().min(most.max(1)));
            parts.push(std::mem::replace(&mut rows, later));
        }
        parts.reverse();
        Self(parts)
    }

    /// Rows to send now.
    pub fn take(&mut self) -> Option<Vec<T>> {
        self.0.pop()
    }

    /// Sends rows of which one was refused in halves; or answers the one that it was.
    pub fn split(&mut self, mut rows: Vec<T>) -> Option<T> {
        if rows.len() <= 1 {
            return rows.pop();
        }
        let second = rows.split_off(rows.len() / 2);
        self.0.extend([second, rows]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_but_what_is_refused_is_sent_once_and_in_order(
            refused in proptest::collection::vec(any::<bool>(), 0..40), most in 1_usize..12
        ) {
            let mut rows = Halves::new((0..refused.len()).collect(), most);
            let (mut sent, mut out) = (Vec::new(), Vec::new());
            while let Some(part) = rows.take() {
                prop_assert!(!part.is_empty() && part.len() <= most);
                if part.iter().any(|row| refused[*row]) {
                    out.extend(rows.split(part));
                } else {
                    sent.extend(part);
                }
            }
            let expect = |of: bool| (0..refused.len()).filter(|row| refused[*row] == of).collect::<Vec<_>>();
            prop_assert_eq!(sent, expect(false));
            prop_assert_eq!(out, expect(true));
        }
    }
}
