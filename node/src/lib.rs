//! The Tally daemon, as a library for its binary and for the simulation.

pub mod cli;
pub mod config;
pub mod console;
pub mod daemon;
pub mod demo;
pub mod index;
pub mod intake;
pub mod journal;
pub mod keyfile;
pub mod link;
pub mod replica;
pub mod view;
