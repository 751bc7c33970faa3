//! Connections: pages of nodes with opaque keyset cursors.

use async_graphql::{Error, Result, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// GitLab's default and largest page.
pub const PAGE_SIZE: usize = 100;

/// Information about a page.
#[derive(Clone, Debug, SimpleObject)]
pub struct PageInfo {
    /// Cursor of the last node.
    end_cursor: Option<String>,
    /// There is more after this page.
    has_next_page: bool,
    /// There is more before this page.
    has_previous_page: bool,
    /// Cursor of the first node.
    start_cursor: Option<String>,
}

impl PageInfo {
    /// Whether there is more after this page.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.has_next_page
    }
}

/// What a client asked of a connection.
#[derive(Clone, Debug, Default)]
pub struct PageArguments {
    /// Only what comes after this cursor.
    pub after: Option<String>,
    /// Only what comes before this cursor.
    pub before: Option<String>,
    /// At most so many, from the start.
    pub first: Option<i32>,
    /// At most so many, from the end.
    pub last: Option<i32>,
}

/// A place in a sorted list: what it is sorted by, and the id that breaks ties.
pub type Key = (i64, u64);

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Its rows with their cursors.
    pub rows: Vec<(String, T)>,
    /// What surrounds it.
    pub info: PageInfo,
    /// Rows of all pages.
    pub total: usize,
}

fn encode((sort, id): Key) -> String {
    STANDARD.encode(format!("{{\"sort\":\"{sort}\",\"id\":\"{id}\"}}"))
}

/// What GitLab says of a cursor that is none.
pub(crate) const NO_CURSOR: &str = "Please provide a valid cursor";

fn decode(cursor: &str) -> Result<Key> {
    let parse = || {
        let bytes = STANDARD.decode(cursor).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        Some((
            json["sort"].as_str()?.parse().ok()?,
            json["id"].as_str()?.parse().ok()?,
        ))
    };
    parse().ok_or_else(|| Error::new(NO_CURSOR))
}

/// Whether a text is a cursor of ours.
pub(crate) fn is_cursor(text: &str) -> bool {
    decode(text).is_ok()
}

impl PageArguments {
    /// Cuts the page out of rows that are in order already; `descending` says in which.
    ///
    /// # Errors
    /// For a cursor that is none, and for `first` together with `last`.
    pub fn cut<T>(
        &self,
        rows: Vec<(Key, T)>,
        descending: bool,
        maximum: Option<usize>,
    ) -> Result<Page<T>> {
        if self.first.is_some() && self.last.is_some() {
            return Err(Error::new(
                "Can only provide either `first` or `last`, not both",
            ));
        }
        let total = rows.len();
        let later = |key: &Key, than: &Key| if descending { key < than } else { key > than };
        let after = self.after.as_deref().map(decode).transpose()?;
        let before = self.before.as_deref().map(decode).transpose()?;
        let start = after.map_or(0, |after| {
            rows.partition_point(|(key, _)| !later(key, &after))
        });
        let end = before.map_or(total, |before| {
            rows.partition_point(|(key, _)| later(&before, key))
        });
        let (mut start, mut end) = (start, end.max(start));
        // None asked for: no rows, no cursor, and always more to come.
        let nothing = self.first.or(self.last).is_some_and(|number| number <= 0);
        let limit = |asked: i32| {
            let asked = usize::try_from(asked).unwrap_or_default();
            maximum.map_or(asked, |maximum| asked.min(maximum))
        };
        match (self.first, self.last) {
            (_, Some(last)) => start = start.max(end.saturating_sub(limit(last))),
            (first, None) => end = end.min(start + first.map_or(PAGE_SIZE, limit)),
        }
        let rows: Vec<(String, T)> = rows
            .into_iter()
            .skip(start)
            .take(end - start)
            .map(|(key, row)| (encode(key), row))
            .collect();
        let info = PageInfo {
            end_cursor: rows.last().map(|(cursor, _)| cursor.clone()),
            has_next_page: nothing || end < total,
            has_previous_page: start > 0,
            start_cursor: rows.first().map(|(cursor, _)| cursor.clone()),
        };
        Ok(Page { rows, info, total })
    }
}

impl<T> Page<Option<T>> {
    /// The page without the rows that may not be seen. GitLab checks each after it cut the page: what
    /// the page says about itself speaks of all rows.
    #[must_use]
    pub fn keep(mut self, seen: impl Fn(&T) -> bool) -> Self {
        self.rows.retain(|(_, row)| row.as_ref().is_none_or(&seen));
        self
    }
}

impl<T> Page<T> {
    /// A page without rows.
    #[must_use]
    pub fn empty() -> Self {
        let info = PageInfo {
            end_cursor: None,
            has_next_page: false,
            has_previous_page: false,
            start_cursor: None,
        };
        Self {
            rows: Vec::new(),
            info,
            total: 0,
        }
    }
}

/// Defines a connection and its edge as GitLab names them; in braces, further fields of the connection.
macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ident { $($extra:tt)* }) => {
        #[doc = concat!("A page of `", stringify!($node), "`; `None` is a node that may not be seen.")]
        pub struct $connection(pub $crate::graphql::page::Page<Option<$node>>);

        #[doc = concat!("A `", stringify!($node), "` with its cursor.")]
        #[derive(async_graphql::SimpleObject)]
        pub struct $edge {
            cursor: String,
            node: Option<$node>,
        }

        #[async_graphql::Object]
        impl $connection {
            async fn edges(&self) -> Option<Vec<Option<$edge>>> {
                let edge = |(cursor, node): &(String, Option<$node>)| {
                    Some($edge { cursor: cursor.clone(), node: node.clone() })
                };
                Some(self.0.rows.iter().map(edge).collect())
            }

            async fn nodes(&self) -> Option<Vec<Option<&$node>>> {
                Some(self.0.rows.iter().map(|(_, node)| node.as_ref()).collect())
            }

            async fn page_info(&self) -> &$crate::graphql::page::PageInfo {
                &self.0.info
            }

            $($extra)*
        }
    };
}
pub(super) use connection;
