//! Files as departments really hand them in, at the door of a real node: what is taken, what is given back, and that
//! every row is accounted for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/lib.rs"]
mod support;

mod intake {
    //! By what is handed in.
    mod bulk;
    mod csv;
    mod http;
    mod refused;
    mod rules;
    mod sheet;
    mod template;
    mod xlsx;
}
