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
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| ApiError::InvalidParameter(name.to_owned())),
        }
    }

    pub(super) fn page_size(&self) -> Result<usize, ApiError> {
        let asked = self.page_number("per_page", 20)?;
        Ok(if self.state.world.read().quirks.page_maximum {
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
        let missing = self.state.world.read().quirks.totals_missing;
        let counted = !missing || counted && rows.len() <= COUNT_LIMIT;
        let start = (page - 1).saturating_mul(size).min(rows.len());
        let end = start.saturating_add(size).min(rows.len());
        let more = end < rows.len();
        let body: Vec<Value> = rows[start..end].iter().map(write).collect();
        let pages = rows.len().div_ceil(size).max(1);
        let mut links = Vec::new();
        if page > 1 {
            links.push(self.link("prev", page - 1, size));
        }
        if more {
            links.push(self.link("next", page + 1, size));
        }
        links.push(self.link("first", 1, size));
        if counted {
            links.push(self.link("last", pages, size));
        }
        let mut answer = HttpResponse::Ok();
        answer
            .insert_header(("link", links.join(", ")))
            .insert_header(("x-page", page.to_string()))
            .insert_header(("x-per-page", size.to_string()))
            .insert_header((
                "x-prev-page",
                if page > 1 {
                    (page - 1).to_string()
                } else {
                    String::new()
                },
            ))
            .insert_header((
                "x-next-page",
                if more {
                    (page + 1).to_string()
                } else {
                    String::new()
                },
            ));
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

    /// One keyset page by id: `rows` come with their ids, in the order asked for.
    pub(super) fn keyset_page<T>(
        &self,
        rows: &[(u64, T)],
        ascending: bool,
        write: impl Fn(&T) -> Value,
    ) -> Answer {
        let size = self.page_size()?;
        let bound = |name: &str| -> Result<Option<u64>, ApiError> {
            self.parameter(name)
                .map(|text| {
                    text.parse()
                        .map_err(|_| ApiError::InvalidParameter(name.to_owned()))
                })
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
        if rows.len() > size
            && let Some((last, _)) = page.last()
        {
            let name = if ascending { "id_after" } else { "id_before" };
            let url = self.url_with(
                &[(name, last.to_string()), ("per_page", size.to_string())],
                &["page"],
            );
            answer.insert_header(("link", format!("<{url}>; rel=\"next\"")));
        }
        Ok(answer.json(
            page.iter()
                .map(|(_, row)| write(row))
                .collect::<Vec<Value>>(),
        ))
    }

    /// The URL of this request with some parameters set and others left out.
    fn url_with(&self, set: &[(&str, String)], without: &[&str]) -> String {
        let kept = self
            .query
            .iter()
            .filter(|(name, _)| {
                !without.contains(&name.as_str()) && set.iter().all(|(other, _)| other != name)
            })
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let changed = set
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)));
        let query: Vec<String> = changed.chain(kept).collect();
        format!(
            "{}{}?{}",
            self.base_url(),
            self.request.uri().path(),
            query.join("&")
        )
    }
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
