//! REST v4: typed calls and paging.
//!
//! Every list leaves out items whose content is invalid and says so in [`Page::skipped`].

#[cfg(any(test, fuzzing))]
pub(super) mod bodies;
mod deliveries;
mod dora;
pub mod hooks;
mod instance;
mod merge_requests;
mod pipelines;
mod projects;
mod refs;
mod reports;
mod repository;
mod reviews;
mod runners;
mod schedules;

use reqwest::Method;
use reqwest::header::{HeaderMap, LINK};
use serde::de::DeserializeOwned;
use url::Url;

pub use deliveries::DeploymentFilter;
pub use pipelines::PipelineFilter;
pub use projects::{ProjectFilter, ProjectRef};

use super::GitLab;
use super::client::{Answer, Call, record_failure};
use super::error::{Cause, GitLabError};
use super::json;
use super::model::Page;
use super::pager::{Bounds, Excess};

/// A GET that is being put together.
#[derive(Clone)]
struct Get {
    endpoint: &'static str,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    /// Whether GitLab returns a list in pages.
    in_pages: bool,
    /// Most items of a page, where it is to be smaller than the settings say.
    most: Option<u32>,
    bounds: Bounds,
    /// See [`Call::waits`].
    waits: bool,
}

impl Get {
    /// `endpoint` is the template; `segments` the real path below `/api/v4`, not yet encoded.
    fn new(endpoint: &'static str, segments: &[&str]) -> Self {
        Self {
            endpoint,
            segments: segments.iter().map(|&part| part.to_owned()).collect(),
            query: Vec::new(),
            in_pages: true,
            most: None,
            bounds: Bounds::PROJECT,
            waits: true,
        }
    }

    /// A list that GitLab returns as a whole, however long it is.
    fn in_one_page(mut self) -> Self {
        self.in_pages = false;
        self
    }

    /// Pages of at most so many.
    fn pages_of(mut self, most: u32) -> Self {
        self.most = Some(most);
        self
    }

    /// Fails where GitLab's limit of this endpoint is reached, instead of waiting.
    fn or_never(mut self) -> Self {
        self.waits = false;
        self
    }

    /// A list of the whole instance or of a group.
    fn of_instance(mut self) -> Self {
        self.bounds = Bounds::INSTANCE;
        self
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.query.push((key, value.to_string()));
        self
    }

    fn maybe(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn call(&self, root: &Url, after: Option<&str>, per_page: Option<u32>) -> Call {
        let mut url = root.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(["api", "v4"])
                .extend(&self.segments);
        }
        match after {
            // Keyset: the whole query string of the link GitLab gave.
            Some(query) if query.starts_with('?') => url.set_query(Some(&query[1..])),
            page => {
                let mut pairs = url.query_pairs_mut();
                pairs.extend_pairs(&self.query);
                if let Some(size) = per_page {
                    pairs.append_pair("per_page", &size.to_string());
                }
                if let Some(page) = page {
                    pairs.append_pair("page", page);
                }
                drop(pairs);
                if url.query() == Some("") {
                    url.set_query(None);
                }
            }
        }
        Call {
            method: Method::GET,
            endpoint: self.endpoint,
            url,
            graphql: None,
            body: None,
            waits: self.waits,
        }
    }
}

impl GitLab {
    async fn get(
        &self,
        get: &Get,
        after: Option<&str>,
        per_page: Option<u32>,
    ) -> Result<(Call, Answer), GitLabError> {
        let call = get.call(self.client().root(), after, per_page);
        let answer = self.client().send(self.lane(), &call).await?;
        Ok((call, answer))
    }

    /// One object, read as `Raw` and made a `T`.
    async fn get_one<Raw, T>(&self, get: &Get) -> Result<T, GitLabError>
    where
        Raw: DeserializeOwned,
        T: TryFrom<Raw>,
        T::Error: std::fmt::Display,
    {
        let (call, answer) = self.get(get, None, None).await?;
        self.decoded(&call, &answer, read_one::<Raw, T>(&answer.body))
    }

    /// One page of a list, with the bytes that it came in; invalid items are left out.
    async fn get_page<Raw, T>(
        &self,
        get: &Get,
        after: Option<&str>,
    ) -> Result<(Page<T>, usize), GitLabError>
    where
        Raw: DeserializeOwned,
        T: TryFrom<Raw>,
        T::Error: std::fmt::Display,
    {
        let size = self.shared.rest_page_size;
        let size = get.most.map_or(size, |most| most.min(size));
        let (call, answer) = self.get(get, after, Some(size)).await?;
        let (items, skipped) = self.decoded(&call, &answer, read_list::<Raw, T>(&answer.body))?;
        let most = usize::try_from(size).unwrap_or(usize::MAX);
        if get.in_pages && items.len() + skipped.len() > most {
            let cause = Cause::TooMuch(Excess::PageItems(most));
            record_failure(&answer.span, &cause);
            return Err(self.client().error(call.name(), cause));
        }
        let next = next_page(&answer.headers);
        // A keyset list names a next page after its last one, too, which is short.
        let is_short = items.len() + skipped.len() < most;
        let page = Page {
            next: next.filter(|next| !(is_short && next.starts_with('?'))),
            items,
            skipped: skipped
                .iter()
                .map(|why| format!("{}: {}", call.name(), self.client().tidy(why)))
                .collect(),
        };
        Ok((page, answer.body.len()))
    }

    /// The first page of a list.
    async fn get_first<Raw, T>(&self, get: &Get) -> Result<Page<T>, GitLabError>
    where
        Raw: DeserializeOwned,
        T: TryFrom<Raw>,
        T::Error: std::fmt::Display,
    {
        let (page, _) = self.get_page(get, None).await?;
        Ok(page)
    }

    /// All pages of a list.
    async fn get_all<Raw, T>(&self, get: &Get) -> Result<Page<T>, GitLabError>
    where
        Raw: DeserializeOwned,
        T: TryFrom<Raw>,
        T::Error: std::fmt::Display,
    {
        let first = self.get_page::<Raw, T>(get, None).await?;
        let more = async |after: String| self.get_page(get, Some(&after)).await.map(Some);
        let list = format!("GET {}", get.endpoint);
        self.all_pages(&list, get.bounds, first, more).await
    }

    /// The pages of a list from its beginning; of one with too much, what it begins with and a `next`.
    async fn get_beginning<Raw, T>(&self, get: &Get) -> Result<Page<T>, GitLabError>
    where
        Raw: DeserializeOwned,
        T: TryFrom<Raw>,
        T::Error: std::fmt::Display,
    {
        let first = self.get_page::<Raw, T>(get, None).await?;
        let more = async |after: String| self.get_page(get, Some(&after)).await.map(Some);
        match self.some_pages(get.bounds, first, more).await? {
            (_, Some(Excess::Loop)) => {
                let list = format!("GET {}", get.endpoint);
                Err(self.client().error(list, Cause::TooMuch(Excess::Loop)))
            }
            (page, _) => Ok(page),
        }
    }

    /// What an answer says, and whether it made sense, for the accounts.
    fn decoded<T>(
        &self,
        call: &Call,
        answer: &Answer,
        read: Result<T, String>,
    ) -> Result<T, GitLabError> {
        match read {
            Ok(read) => {
                self.client().accounting().understood(call.endpoint);
                Ok(read)
            }
            Err(why) => Err(self.decode_error(call, answer, why)),
        }
    }

    fn decode_error(&self, call: &Call, answer: &Answer, why: String) -> GitLabError {
        self.client().accounting().garbled(call.endpoint);
        let cause = Cause::Decode(why);
        record_failure(&answer.span, &cause);
        self.client().error(call.name(), cause)
    }
}

/// What the body of a single object says.
fn read_one<Raw, T>(body: &[u8]) -> Result<T, String>
where
    Raw: DeserializeOwned,
    T: TryFrom<Raw>,
    T::Error: std::fmt::Display,
{
    json::one::<Raw>(body).and_then(|raw| T::try_from(raw).map_err(|why| why.to_string()))
}

/// What the body of a list says, and a sentence for each invalid item.
fn read_list<Raw, T>(body: &[u8]) -> Result<(Vec<T>, Vec<String>), String>
where
    Raw: DeserializeOwned,
    T: TryFrom<Raw>,
    T::Error: std::fmt::Display,
{
    let (raws, mut skipped) = json::list::<Raw>(body)?;
    let mut items = Vec::with_capacity(raws.len());
    for raw in raws {
        match T::try_from(raw) {
            Ok(item) => items.push(item),
            Err(why) => skipped.push(why.to_string()),
        }
    }
    Ok((items, skipped))
}

/// The next page: its number for offset paging, its whole query string for keyset paging.
fn next_page(headers: &HeaderMap) -> Option<String> {
    if let Some(page) = headers.get("x-next-page") {
        let page = page.to_str().ok()?.trim();
        return (!page.is_empty()).then(|| page.to_owned());
    }
    let links = headers.get(LINK)?.to_str().ok()?;
    // Addresses may hold commas, so links are separated by their brackets.
    links.split('<').skip(1).find_map(|link| {
        let (url, attributes) = link.split_once('>')?;
        let (_, query) = url.split_once('?')?;
        let next = attributes
            .split([';', ','])
            .any(|a| a.trim() == "rel=\"next\"");
        next.then(|| format!("?{query}"))
    })
}

#[cfg(test)]
mod tests;
