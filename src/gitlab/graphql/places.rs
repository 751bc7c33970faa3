//! Queries whose document has places to fill: `p0`, `p1`, … for projects, which are asked for by their
//! paths, and in each of them `i0`, `i1`, … for things that are asked for by their own ids. A list of
//! projects gives all of them the same arguments; these do not.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use graphql_client::{GraphQLQuery, QueryBody};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::Scored;
use super::batch::Breaker;
use super::convert::gid;
use super::holes::Holes;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::types::{ProjectId, Text};

/// A query with places.
pub(super) trait Places {
    /// Name of the operation.
    const NAME: &'static str;
    /// The document.
    const DOCUMENT: &'static str;
    /// Places for projects.
    const PROJECTS: usize;
    /// Places in each.
    const ITEMS: usize;
    /// Variables that it has besides.
    const FIRST: Option<u32> = None;
    /// What says what is asked for.
    type Key: Copy;
    /// What the answer holds in a place.
    type Node: DeserializeOwned;
    /// What becomes of it.
    type Item;

    /// The variable of a place.
    fn variable(key: Self::Key) -> Value;

    /// The variable of a place that is left empty.
    fn blank() -> Value {
        Value::Null
    }

    /// Reads what stands in a place; `None` where it does not say all.
    fn convert(node: Self::Node) -> Option<Self::Item>;

    /// What it means that nothing stands there, where that says something.
    fn absent() -> Option<Self::Item> {
        None
    }
}

/// Something that is asked of a project.
#[derive(Clone, Debug)]
pub struct Asked<K> {
    /// The project.
    pub project: ProjectId,
    /// Its path.
    pub path: Text,
    /// What is asked for.
    pub key: K,
}

/// What was answered.
#[derive(Debug)]
pub struct Filled<T> {
    /// One for each that was asked for, in the same order; none where GraphQL did not answer.
    pub items: Vec<Option<T>>,
    /// Why the rest was not asked for.
    pub error: Option<Arc<GitLabError>>,
}

/// A query as it is sent and answered.
struct Sent<P>(PhantomData<P>);

impl<P: Places> GraphQLQuery for Sent<P> {
    type Variables = Map<String, Value>;
    type ResponseData = Answer<Answer<Value>>;

    fn build_query(variables: Self::Variables) -> QueryBody<Self::Variables> {
        QueryBody {
            variables,
            query: P::DOCUMENT,
            operation_name: P::NAME,
        }
    }
}

/// An object of places.
struct Answer<T> {
    id: Option<String>,
    places: BTreeMap<String, Option<T>>,
    score: Option<Score>,
}

#[derive(Deserialize)]
struct Score {
    score: Option<u32>,
    limit: Option<u32>,
}

impl<T> Scored for Answer<T> {
    fn score(&self) -> Option<(u32, u32)> {
        let Score { score, limit } = self.score.as_ref()?;
        Some(((*score)?, (*limit)?))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Answer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor(PhantomData))
    }
}

struct AnswerVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnswerVisitor<T> {
    type Value = Answer<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut answer = Answer {
            id: None,
            places: BTreeMap::new(),
            score: None,
        };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "id" => answer.id = map.next_value()?,
                "queryComplexity" => answer.score = map.next_value()?,
                _ => {
                    let value = map.next_value()?;
                    answer.places.insert(key, value);
                }
            }
        }
        Ok(answer)
    }
}

/// The projects of one document, and by their places what is asked of them.
type Document = Vec<(ProjectId, Text, Vec<usize>)>;

/// Lays what is asked for out, project by project: places in `asked`.
fn documents<P: Places>(asked: &[Asked<P::Key>], which: &[usize]) -> Vec<Document> {
    let mut of_project: BTreeMap<ProjectId, Vec<usize>> = BTreeMap::new();
    for place in which {
        if let Some(one) = asked.get(*place) {
            of_project.entry(one.project).or_default().push(*place);
        }
    }
    let mut places = Vec::new();
    for (project, items) in of_project {
        for some in items.chunks(P::ITEMS) {
            let path = some.first().and_then(|place| asked.get(*place));
            places.extend(path.map(|one| (project, one.path.clone(), some.to_vec())));
        }
    }
    let documents = places.chunks(P::PROJECTS);
    documents.map(<[_]>::to_vec).collect()
}

fn variables<P: Places>(document: &Document, asked: &[Asked<P::Key>]) -> Map<String, Value> {
    let mut variables = Map::new();
    if let Some(first) = P::FIRST {
        variables.insert("first".to_owned(), first.into());
    }
    for place in 0..P::PROJECTS {
        let project = document.get(place);
        let path = project.map_or("", |(_, path, _)| path);
        variables.insert(format!("p{place}"), path.into());
        variables.insert(format!("has{place}"), project.is_some().into());
        for item in 0..P::ITEMS {
            let key = project.and_then(|(_, _, items)| asked.get(*items.get(item)?));
            let value = key.map_or_else(P::blank, |one| P::variable(one.key));
            variables.insert(format!("p{place}i{item}"), value);
            variables.insert(format!("has{place}i{item}"), key.is_some().into());
        }
    }
    variables
}

/// Takes an answer in.
fn take_in<P: Places>(
    document: &Document,
    answer: Answer<Answer<Value>>,
    holes: &Holes,
    items: &mut [Option<P::Item>],
) {
    let mut projects = answer.places;
    for (place, (id, _, asked)) in document.iter().enumerate() {
        let project = format!("p{place}");
        // Another project may have the path by now.
        let Some(mut node) = projects.remove(&project).flatten().filter(|node| {
            let own = node.id.as_deref().map(|own| gid("id", own));
            own == Some(Ok(id.0))
        }) else {
            continue;
        };
        for (item, wanted) in asked.iter().enumerate() {
            let key = format!("i{item}");
            if holes.has_lost(&[&project, &key]) {
                continue;
            }
            let read = match node.places.remove(&key) {
                Some(Some(value)) if !value.is_null() => {
                    serde_json::from_value(value).ok().and_then(P::convert)
                }
                Some(_) => P::absent(),
                None => None,
            };
            if let Some(slot) = items.get_mut(*wanted) {
                *slot = read;
            }
        }
    }
}

/// Reads the body of an answer to a document whose places are all filled, with projects 1, 2, 3, ….
///
/// # Errors
/// A sentence when nothing at all could be read.
#[cfg(any(test, fuzzing))]
pub(super) fn places<P: Places>(body: &[u8]) -> Result<Vec<Option<P::Item>>, String> {
    let answer = super::read::<Answer<Answer<Value>>>(body).map_err(|cause| cause.to_string())?;
    let ids = (1_u64..).map(ProjectId).take(P::PROJECTS);
    let asked = |place: usize| (place * P::ITEMS..(place + 1) * P::ITEMS).collect();
    let document: Document = ids
        .enumerate()
        .map(|(place, id)| (id, Text::default(), asked(place)))
        .collect();
    let mut items: Vec<Option<P::Item>> = (0..P::PROJECTS * P::ITEMS).map(|_| None).collect();
    take_in::<P>(&document, answer.data, &answer.holes, &mut items);
    Ok(items)
}

impl GitLab {
    /// Asks for some things of some projects, a query after the other. One that is too much is halved; an
    /// error that the next would meet ends it. What GraphQL does not answer is left to REST.
    pub(super) async fn fill<P: Places>(
        &self,
        asked: &[Asked<P::Key>],
        breaker: &Breaker,
        now: UnixSeconds,
    ) -> Filled<P::Item> {
        let mut filled = Filled {
            items: asked.iter().map(|_| None).collect(),
            error: None,
        };
        let all: Vec<usize> = (0..asked.len()).collect();
        let mut open = documents::<P>(asked, &all);
        open.reverse();
        while let Some(document) = open.pop() {
            if !breaker.is_open(now) {
                break;
            }
            let count = document.iter().map(|(_, _, items)| items.len()).sum();
            let variables = variables::<P>(&document, asked);
            match self.query_of::<Sent<P>>(variables, count, 0).await {
                Ok(answer) => {
                    take_in::<P>(&document, answer.data, &answer.holes, &mut filled.items);
                }
                Err(error) if error.batch_too_heavy() && count > 1 => {
                    let whole: Vec<usize> = document
                        .into_iter()
                        .flat_map(|(_, _, items)| items)
                        .collect();
                    let (first, second) = whole.split_at(whole.len() / 2);
                    open.extend(documents::<P>(asked, second));
                    open.extend(documents::<P>(asked, first));
                }
                Err(error) => {
                    breaker.failed(&error, now);
                    filled.error = Some(Arc::new(error));
                    break;
                }
            }
        }
        filled
    }
}
