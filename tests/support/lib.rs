//! What the tests share: federations of real processes on this machine, looked at only from outside by command line, HTTP
//! and files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agree;
mod ask;
pub mod damage;
mod federation;
pub mod feeder;
mod flush;
pub mod http;
mod log;
pub mod pages;
mod ports;
mod process;
mod program;
pub mod rng;
pub mod sample;
pub mod segments;
pub mod shim;
mod wait;

pub use agree::named;
pub use federation::{CITY, COUNTY, FEDERATION, Federation, LINE, NEIGHBOUR, PROVINCE, Plan, origin};
pub use flush::flushes;
pub use ports::free_port;
pub use program::{Ran, run, tally};
pub use wait::{poll, seconds, wait_for};

use serde_json::Value;
use std::path::PathBuf;

/// Elements of an array in JSON.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

/// The element of `items` whose `field` is `wanted`.
pub fn find<'v>(items: &'v Value, field: &str, wanted: &str) -> &'v Value {
    list(items).iter().find(|i| i[field] == wanted).unwrap_or(&Value::Null)
}

/// A file that came with the source.
pub fn shipped(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}
