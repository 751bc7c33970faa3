//! One way to read lists page after page, by REST and GraphQL alike, with an end to everything: a
//! server that never stops must cost one list, not the memory of all.

use std::collections::HashSet;
use std::fmt;

use super::GitLab;
use super::error::{Cause, GitLabError};
use super::model::Page;

/// Most items in one page: GitLab returns no more, whatever is asked for.
pub(super) const MAX_PAGE: usize = 100;

/// How much of one list is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pages: usize,
    items: usize,
    bytes: usize,
}

impl Bounds {
    /// Of a list of one project.
    pub(super) const PROJECT: Self = Self {
        pages: 500,
        items: 50_000,
        bytes: 256 << 20,
    };
    /// Of a list of the whole instance, or of a group.
    pub(super) const INSTANCE: Self = Self {
        pages: 5_000,
        items: 500_000,
        bytes: 4 << 30,
    };
}

/// What a list has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It leads back to a page that was read.
    Loop,
    /// More pages than this.
    Pages(usize),
    /// More items than this.
    Items(usize),
    /// More items in one page than this, which is what was asked for.
    PageItems(usize),
    /// More bytes than this.
    Bytes(usize),
    /// More values in one answer than this.
    Values(usize),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop => f.write_str("it leads back to a page that was read"),
            Self::Pages(most) => write!(f, "more than {most} pages"),
            Self::Items(most) => write!(f, "more than {most} items"),
            Self::PageItems(most) => write!(f, "more than {most} items in one page"),
            Self::Bytes(most) => write!(f, "more than {} MiB", most >> 20),
            Self::Values(most) => write!(f, "more than {most} values in one answer"),
        }
    }
}

/// A list that is being read.
pub(super) struct Pager<T> {
    bounds: Bounds,
    all: Page<T>,
    seen: HashSet<String>,
    pages: usize,
    bytes: usize,
}

impl<T> Pager<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            all: Page::default(),
            seen: HashSet::new(),
            pages: 0,
            bytes: 0,
        }
    }

    /// Adds a page, which came in so many bytes.
    ///
    /// # Errors
    /// What the list has too much of.
    pub(super) fn add(&mut self, page: Page<T>, bytes: usize) -> Result<(), Excess> {
        let Bounds {
            pages: most_pages,
            items: most_items,
            bytes: most_bytes,
        } = self.bounds;
        self.pages += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.all.items.extend(page.items);
        self.all.skipped.extend(page.skipped);
        self.all.next = page.next;
        if self.all.items.len().saturating_add(self.all.skipped.len()) > most_items {
            return Err(Excess::Items(most_items));
        }
        if self.bytes > most_bytes {
            return Err(Excess::Bytes(most_bytes));
        }
        let Some(next) = &self.all.next else {
            return Ok(());
        };
        if !self.seen.insert(next.clone()) {
            return Err(Excess::Loop);
        }
        if self.pages >= most_pages {
            return Err(Excess::Pages(most_pages));
        }
        Ok(())
    }

    /// The cursor of the page to read next; none when the list is whole.
    pub(super) fn next(&self) -> Option<&str> {
        self.all.next.as_deref()
    }

    /// What was read.
    pub(super) fn end(self) -> Page<T> {
        self.all
    }
}

impl GitLab {
    /// Reads a list to its end. `first` is its first page, `more` gives the page at a cursor and the
    /// bytes that it came in; when it gives none, the list no longer exists, and what is returned has
    /// a `next`.
    ///
    /// # Errors
    /// Those of `more`; [`Cause::TooMuch`] when the list has more than `bounds` allow.
    pub(super) async fn all_pages<T, A>(
        &self,
        list: &str,
        bounds: Bounds,
        first: (Page<T>, usize),
        more: impl Fn(String) -> A,
    ) -> Result<Page<T>, GitLabError>
    where
        A: Future<Output = Result<Option<(Page<T>, usize)>, GitLabError>>,
    {
        match self.some_pages(bounds, first, more).await? {
            (page, None) => Ok(page),
            (_, Some(excess)) => Err(self.client().error(list, Cause::TooMuch(excess))),
        }
    }

    /// Reads a list as far as `bounds` allow, and says what it has too much of.
    ///
    /// # Errors
    /// Those of `more`.
    pub(super) async fn some_pages<T, A>(
        &self,
        bounds: Bounds,
        first: (Page<T>, usize),
        more: impl Fn(String) -> A,
    ) -> Result<(Page<T>, Option<Excess>), GitLabError>
    where
        A: Future<Output = Result<Option<(Page<T>, usize)>, GitLabError>>,
    {
        let mut pager = Pager::new(bounds);
        let (mut page, mut bytes) = first;
        loop {
            if let Err(excess) = pager.add(page, bytes) {
                return Ok((pager.end(), Some(excess)));
            }
            let Some(cursor) = pager.next() else {
                return Ok((pager.end(), None));
            };
            match more(cursor.to_owned()).await? {
                Some(next) => (page, bytes) = next,
                None => return Ok((pager.end(), None)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bounds = Bounds {
        pages: 3,
        items: 10,
        bytes: 5 << 20,
    };

    fn page(items: usize, next: Option<&str>) -> Page<usize> {
        Page {
            items: (0..items).collect(),
            next: next.map(str::to_owned),
            skipped: Vec::new(),
        }
    }

    /// Items, the next page, and bytes of each page.
    type Pages<'a> = &'a [(usize, Option<&'a str>, usize)];

    /// Adds pages until one is too much.
    fn read(pages: Pages<'_>) -> Result<usize, Excess> {
        let mut pager = Pager::new(SMALL);
        for (items, next, bytes) in pages {
            pager.add(page(*items, *next), *bytes)?;
        }
        Ok(pager.end().items.len())
    }

    #[test]
    fn every_list_has_an_end() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        let mib = 1 << 20;
        let cases: [(Pages<'_>, _); 8] = [
            (&[(3, a, 0), (3, b, 0), (4, None, 0)], Ok(10)),
            (&[(0, a, 0), (0, a, 0)], Err(Excess::Loop)),
            (&[(0, a, 0), (0, b, 0), (0, a, 0)], Err(Excess::Loop)),
            (&[(1, a, 0), (1, b, 0), (1, c, 0)], Err(Excess::Pages(3))),
            (&[(11, None, 0)], Err(Excess::Items(10))),
            (&[(6, a, 0), (5, None, 0)], Err(Excess::Items(10))),
            (&[(0, a, 5 * mib), (0, None, 0)], Ok(0)),
            (
                &[(0, a, 5 * mib), (0, None, 1)],
                Err(Excess::Bytes(5 * mib)),
            ),
        ];
        for (pages, want) in cases {
            assert_eq!(read(pages), want, "{pages:?}");
        }
    }

    #[test]
    fn what_was_left_out_counts_as_well() {
        let mut pager = Pager::<usize>::new(SMALL);
        let nonsense = Page {
            skipped: vec![String::new(); 11],
            ..Page::default()
        };
        assert_eq!(pager.add(nonsense, 0), Err(Excess::Items(10)));
    }

    #[test]
    fn each_bound_is_named() {
        for (excess, want) in [
            (Excess::Loop, "it leads back to a page that was read"),
            (Excess::Pages(3), "more than 3 pages"),
            (Excess::PageItems(100), "more than 100 items in one page"),
            (Excess::Bytes(5 << 20), "more than 5 MiB"),
        ] {
            assert_eq!(excess.to_string(), want);
        }
    }
}
