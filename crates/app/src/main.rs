//! Entry point of `portal`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    portal_app::cli::run(std::env::args_os()).await
}
