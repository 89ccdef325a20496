//! `tally status`.

use super::{ConfigFile, Exit, Failure};
use clap::Args;
use std::time::Duration;
use tally_client::{print, shown};
use tally_console::{screen, status::Status};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// One JSON document on stdout (with --watch, one a line).
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: StatusArgs) -> Result<Exit, Failure> {
    let client = args.config.client()?;
    loop {
        // Whoever looks at a node sees it now, also while its index is far behind: how many records there are is not known then.
        // A program that counts them waits until that is known.
        let path = if args.json { "/v1/status" } else { "/v1/status?wait=false" };
        let answer = client.get(path).await?;
        if args.json {
            outln!("{}", String::from_utf8_lossy(&answer));
        } else {
            let status: Status = shown(&answer)?;
            if args.watch {
                print::clear();
            }
            outln!("{}", screen::render(&status).trim_end());
        }
        if print::is_over() || !args.watch {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
