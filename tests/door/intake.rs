//! Files as departments really hand them in, by what is handed in: what is taken, what is given back, and that every row
//! is accounted for.

mod bulk;
mod csv;
mod http;
mod junk;
mod known;
mod refused;
mod rules;
mod sheet;
mod tables;
mod template;
mod values;
mod xlsx;
