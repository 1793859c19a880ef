//! The `encoderd` program: reads the command line and hands over to one file a subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    encoderd::cli::main()
}
