//! The metrics explained, from the catalogue.

use askama::Template;

use crate::catalogue::{self, Collector, Desc};
use crate::types::Tier;

/// The page.
#[derive(Template)]
#[template(path = "docs.html", config = "src/server/askama.toml")]
pub(super) struct DocsPage {
    style: &'static str,
    version: &'static str,
    chapters: Vec<Chapter>,
}

/// A collector and what it measures.
struct Chapter {
    collector: Collector,
    metrics: Vec<&'static Desc>,
}

/// Every metric of the catalogue, by collector.
pub(super) fn page() -> DocsPage {
    let mut chapters: Vec<Chapter> = Vec::new();
    for desc in catalogue::all() {
        let collector = desc.collector;
        match chapters
            .iter_mut()
            .find(|chapter| chapter.collector == collector)
        {
            Some(chapter) => chapter.metrics.push(desc),
            None => chapters.push(Chapter {
                collector,
                metrics: vec![desc],
            }),
        }
    }
    DocsPage {
        style: super::STYLE,
        version: env!("CARGO_PKG_VERSION"),
        chapters,
    }
}
