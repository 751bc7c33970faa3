//! Offset pages with their headers, and keyset pages with their `Link`.

use actix_web::HttpResponse;
use serde_json::Value;

use super::{Answer, ApiError, Call};

/// Above this many rows GitLab stops counting.
const COUNT_LIMIT: usize = 10_000;

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

    /// One offset page of rows that are in order; only the rows of the page are written out. `counted`:
    /// whether this endpoint tells totals at all.
    pub(super) fn offset_page<T>(
        &self,
        rows: &[T],
        counted: bool,
        write: impl Fn(&T) -> Value,
    ) -> Answer {
        let (page, size) = (self.page_number("page", 1)?, self.page_size()?);
        let counted = !self.quirks.totals_missing || counted && rows.len() <= COUNT_LIMIT;
        let start = (page - 1).saturating_mul(size).min(rows.len());
        let end = start.saturating_add(size).min(rows.len());
        let more = end < rows.len();
        let body: Vec<Value> = rows[start..end].iter().map(write).collect();
        let pages = rows.len().div_ceil(size).max(1);
        let mut links = Vec::new();
        if page > 1 {
            // Before a page beyond the end comes the last one.
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
            .insert_header(("x-prev-page", number(page > 1, page.saturating_sub(1))))
            .insert_header(("x-next-page", number(more, page + 1)));
        if counted {
            answer
                .insert_header(("x-total", rows.len().to_string()))
                .insert_header(("x-total-pages", pages.to_string()));
        }
        Ok(answer.json(body))
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
        Ok(answer.json(
            page.iter()
                .map(|(_, row)| write(row))
                .collect::<Vec<Value>>(),
        ))
    }
}
