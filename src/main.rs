//! The `stentor` command. What it can do is in `cli.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    stentor::cli::main()
}
