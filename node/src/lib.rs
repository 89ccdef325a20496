//! The Tally daemon and its command line: config, wiring, commands.

#[macro_use(outln, errln)]
extern crate tally_client;

pub mod cli;
pub mod config;
pub mod daemon;
