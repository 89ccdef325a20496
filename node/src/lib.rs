//! The Tally daemon, as a library for its binary and for the simulation.

pub mod agree;
pub mod answers;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod config;
pub mod console;
pub mod daemon;
pub mod evidence;
pub mod folder;
pub mod index;
pub mod intake;
pub mod journal;
pub mod keyfile;
pub mod link;
pub mod mail;
pub mod replica;
pub mod sheet;
pub mod task;
pub mod tree;
pub mod verdict;
pub mod verify;
pub mod view;
