//! Paging: every list has a limit and a token.

use crate::error::Error;
use serde::Deserialize;
use siyada_model::wire::{LARGEST_PAGE, Page};
use utoipa::IntoParams;

/// Rows of a page when the caller does not say.
const USUAL_PAGE: usize = 100;

/// Which page of a list is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

impl PageQuery {
    /// Most rows to answer.
    ///
    /// # Errors
    /// Invalid when it is not 1 to [`LARGEST_PAGE`].
    pub fn size(&self) -> Result<usize, Error> {
        let size = self.page_size.unwrap_or(USUAL_PAGE);
        if (1..=LARGEST_PAGE).contains(&size) {
            return Ok(size);
        }
        Err(Error::invalid(format!("pageSize must be 1 to {LARGEST_PAGE}")))
    }

    /// The key after which the page begins; every key is greater than the empty text.
    pub fn after(&self) -> &str {
        self.page_token.as_deref().unwrap_or("")
    }
}

/// How many rows to read to know whether there is a next page.
pub fn one_more(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1)
}

/// The page of `rows`, of which one more than `size` was asked for.
pub fn page<T>(mut rows: Vec<T>, size: usize, key: impl Fn(&T) -> String) -> Page<T> {
    let more = rows.len() > size;
    rows.truncate(size);
    let next_page_token = rows.last().filter(|_| more).map(key);
    Page { items: rows, next_page_token }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_token_only_if_more_follows() {
        let check = |rows: Vec<u8>, size, items: Vec<u8>, token: Option<&str>| {
            let page = page(rows, size, ToString::to_string);
            assert_eq!((page.items, page.next_page_token.as_deref()), (items, token));
        };
        check(vec![], 2, vec![], None);
        check(vec![1, 2], 2, vec![1, 2], None);
        check(vec![1, 2, 3], 2, vec![1, 2], Some("2"));
    }

    #[test]
    fn page_sizes_have_a_limit() {
        let check = |page_size, expect: Option<usize>| {
            assert_eq!(PageQuery { page_size, page_token: None }.size().ok(), expect);
        };
        check(None, Some(100));
        check(Some(500), Some(500));
        check(Some(0), None);
        check(Some(501), None);
    }
}
