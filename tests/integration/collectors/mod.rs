//! Each collector beside the change feed: what it shows of a simulated GitLab.

mod code;
mod repository;
mod security;
mod value_stream;
