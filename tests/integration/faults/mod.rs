//! What can go wrong around the exporter, fault by fault: what stays on `/metrics`, what `/ready`
//! and the status page say, which errors are counted, and that all comes back by itself with
//! counters equal to GitLab's own ledger.

mod clocks;
mod limits;
mod network;
mod outages;
mod receiver;
mod refusals;
mod rig;
mod says;
mod wrong_answers;
