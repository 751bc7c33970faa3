//! Offset pages with their headers, and keyset pages with their `Link`.

use actix_web::HttpResponse;
use serde_json::Value;

use super::{Answer, ApiError, Call};
use crate::cost::rest::Rows;

/// Above this many rows GitLab stops counting.
const COUNT_LIMIT: usize = 10_000;

/// What an endpoint knows of the number of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// It counts them; nothing is one page.
    Rows,
    /// It counts refs; nothing is no page.
    Refs,
    /// Only that there are more.
    Nothing,
    /// Not even that: a full page has a next one.
    Full,
}

impl Call {
    pub(super) fn page_number(&self, name: &str, default: usize) -> Result<usize, ApiError> {
        match self.parameter(name) {
            None | Some("") => Ok(default),
            Some(text) => {
                let number: i64 = text
                    .parse()
                    .map_err(|_| ApiError::Invalid(name.to_owned()))?;
                match usize::try_from(number) {
                    Ok(0) if name == "per_page" => Err(ApiError::ValueNotAllowed(name.to_owned())),
                    Ok(number) => Ok(number.max(1)),
                    // The application's own default, not that of the API.
                    Err(_) if name == "per_page" => Ok(15),
                    Err(_) => Ok(default),
                }
            }
        }
    }

    pub(super) fn page_size(&self) -> Result<usize, ApiError> {
        let asked = self.page_number("per_page", 20)?;
        Ok(if self.quirks.page_maximum {
            asked.min(100)
        } else {
            asked
        })
    }

    /// Where the page ends in so many rows.
    pub(super) fn page_end(&self, rows: usize) -> Result<usize, ApiError> {
        let (page, size) = (self.page_number("page", 1)?, self.page_size()?);
        Ok(page.saturating_mul(size).min(rows))
    }

    /// One offset page of rows that are in order; only the rows of the page are written out. `counted`:
    /// whether this endpoint tells totals at all.
    pub(super) fn offset_page<T>(
        &self,
        rows: &[T],
        counted: bool,
        write: impl Fn(&T) -> Value,
    ) -> Answer {
        let counting = if counted {
            Counting::Rows
        } else {
            Counting::Nothing
        };
        self.page_of(rows, counting, write)
    }

    /// One offset page, counted as the endpoint does.
    pub(super) fn page_of<T>(
        &self,
        rows: &[T],
        counting: Counting,
        write: impl Fn(&T) -> Value,
    ) -> Answer {
        let (page, size) = (self.page_number("page", 1)?, self.page_size()?);
        let counts = matches!(counting, Counting::Rows | Counting::Refs);
        let counted = !self.quirks.totals_missing || counts && rows.len() <= COUNT_LIMIT;
        let start = (page - 1).saturating_mul(size).min(rows.len());
        let end = start.saturating_add(size).min(rows.len());
        let more = match counting {
            Counting::Full => end - start == size,
            _ => end < rows.len(),
        };
        let body: Vec<Value> = rows[start..end].iter().map(write).collect();
        let pages = rows.len().div_ceil(size);
        let pages = if counting == Counting::Refs {
            pages
        } else {
            pages.max(1)
        };
        // Before a page beyond the end there is none.
        let before = page > 1 && (page <= pages || !counts);
        let mut links = Vec::new();
        if before {
            links.push(self.link("prev", page - 1, size));
        }
        if more {
            links.push(self.link("next", page + 1, size));
        }
        links.push(self.link("first", 1, size));
        if counted {
            links.push(self.link("last", pages, size));
        }
        let number = |shown: bool, number: usize| {
            if shown {
                number.to_string()
            } else {
                String::new()
            }
        };
        let mut answer = HttpResponse::Ok();
        answer
            .insert_header(("link", links.join(", ")))
            .insert_header(("x-page", page.to_string()))
            .insert_header(("x-per-page", size.to_string()))
            .insert_header(("x-prev-page", number(before, page.saturating_sub(1))))
            .insert_header(("x-next-page", number(more, page + 1)));
        if counted {
            answer
                .insert_header(("x-total", rows.len().to_string()))
                .insert_header(("x-total-pages", pages.to_string()));
        }
        let returned = body.len() as u64;
        let mut answer = answer.json(body);
        // An offset is read over.
        let read = end as u64;
        answer.extensions_mut().insert(Rows { returned, read });
        Ok(answer)
    }

    fn link(&self, relation: &str, page: usize, size: usize) -> String {
        let values = [("page", page.to_string()), ("per_page", size.to_string())];
        format!("<{}>; rel=\"{relation}\"", self.url_with(&values, &[]))
    }

    /// One keyset page by id: `rows` come with their ids, in the order asked for. `always`: every page
    /// that has rows names a next one, the last and short one too.
    pub(super) fn keyset_page<T>(
        &self,
        rows: &[(u64, T)],
        ascending: bool,
        always: bool,
        write: impl Fn(&T) -> Value,
    ) -> Answer {
        let size = self.page_size()?;
        let bound = |name: &str| -> Result<Option<u64>, ApiError> {
            self.parameter(name)
                .map(|text| text.parse().map_err(|_| ApiError::Invalid(name.to_owned())))
                .transpose()
        };
        let (after, before) = (bound("id_after")?, bound("id_before")?);
        let rows: Vec<&(u64, T)> = rows
            .iter()
            .filter(|(id, _)| {
                after.is_none_or(|after| *id > after) && before.is_none_or(|before| *id < before)
            })
            .collect();
        let page = &rows[..size.min(rows.len())];
        let mut answer = HttpResponse::Ok();
        let named = always && self.quirks.next_on_last_keyset_page || rows.len() > size;
        if let Some((last, _)) = page.last().filter(|_| named) {
            let name = if ascending { "id_after" } else { "id_before" };
            let values = [
                (name, last.to_string()),
                ("page", "1".to_owned()),
                ("per_page", size.to_string()),
            ];
            let url = self.url_with(&values, &[]);
            answer.insert_header(("link", format!("<{url}>; rel=\"next\"")));
        }
        let returned = page.len() as u64;
        let body: Vec<Value> = page.iter().map(|(_, row)| write(row)).collect();
        let mut answer = answer.json(body);
        let read = returned;
        answer.extensions_mut().insert(Rows { returned, read });
        Ok(answer)
    }
}
