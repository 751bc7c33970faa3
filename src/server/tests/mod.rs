//! The server over real connections.

mod connections;
mod listeners;
mod metrics;
mod pages;
mod probes;
mod requests;
mod sample;
mod site;
mod web;
mod webhook;
