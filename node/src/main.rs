//! `tally`: the daemon and its commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    tally_node::cli::main()
}
