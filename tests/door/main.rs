//! The door of a real node: files as departments really hand them in, what is taken, what is given back and what is asked.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod charter;
mod compare;
mod deadline;
mod dropped;
mod intake;
mod pages;
mod questions;
mod rights;
mod signals;
mod strangers;
