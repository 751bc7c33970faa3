//! The whole exporter against programs that nobody here wrote: one file per program. They are
//! installed by `tests/install-tools.sh`.

mod alertmanager;
mod binary;
mod chart;
mod docs;
mod exemplars;
mod hooks;
mod kubernetes;
mod otel_collector;
mod packages;
mod parity;
mod prometheus;
mod promtool;
mod proxy;
mod reload;
mod rules;
mod secrets;
mod secured;
mod shutdown;
mod stack;
pub mod story;
mod traces;
mod victoria_metrics;
mod webhooks;
