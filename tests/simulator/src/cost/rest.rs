//! What an answer by REST costs: the price of its route, and what its rows add.

use super::Charge;
use super::prices;
use crate::world::ProjectId;

/// How many rows a handler wrote, and how many the database read for them. Kept with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Rows that come back.
    pub returned: u64,
    /// Rows that the database reads; as many as come back where nothing else is said.
    pub read: u64,
}

/// A request as its price depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// Template such as `/api/v4/projects/:id/pipelines`.
    pub endpoint: &'a str,
    /// The query string.
    pub query: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// The project that the path names.
    pub project: Option<ProjectId>,
    /// Rows of the answer; `None` where it is no list.
    pub rows: Option<Rows>,
}

/// What the answer to a call costs.
pub(crate) fn charge(call: &Call<'_>) -> Charge {
    let mut charge = Charge::request();
    if let Some(price) = prices::refused(call.status) {
        charge.pay(call.project, price);
        return charge;
    }
    let route = call.endpoint.strip_prefix("/api/v4").unwrap_or_default();
    let item = prices::route(route);
    charge.pay(call.project, item.each);
    let returned = call.rows.map_or(0, |rows| rows.returned);
    if returned > 0 {
        charge.pay(call.project, item.filled);
        let simple = call.query.split('&').any(|part| part == "simple=true");
        let row = item.simple.filter(|_| simple).unwrap_or(item.row);
        charge.pay(call.project, row.times(returned as usize));
    }
    match call.rows {
        Some(rows) => charge.read_list(call.project, rows.read),
        None => charge.read(call.project, 1),
    }
    charge
}
