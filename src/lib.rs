//! amazing-gitlab-exporter

pub mod cli;
pub mod config;
