//! The same tokens for `portal-clerk` and for `clerk-rs`: what each says, and how long it takes.
//!
//! Ends with an error if the verdict of `portal-clerk` in `strict` differs from what it should be. Times have no bar: they depend on
//! the machine, and only their ratio says something.

use std::process::ExitCode;
use std::time::SystemTime;

use portal_clerk::Timestamp;

#[path = "../../../crates/adapters/clerk/tests/clerk/minting.rs"]
#[expect(dead_code, reason = "shared with the tests of the library, which use more of it")]
mod minting;
mod sides;
mod times;
mod tokens;

use sides::{Ours, Theirs};

async fn compare() -> bool {
    let now = Timestamp::from(SystemTime::now());
    let theirs = Theirs::new();
    let (strict, exact) = (Ours::strict(now, 0), Ours::exact(now));
    println!("| token | clerk-rs | portal-clerk, exact | portal-clerk, strict |");
    println!("| --- | --- | --- | --- |");
    let (mut wrong, mut rows) = (Vec::new(), 0);
    for row in tokens::rows(now.unix_seconds()) {
        let ours = strict.verdict(&row.token).await;
        let (exact, theirs) = (exact.verdict(&row.token).await, theirs.verdict(&row.token).await);
        println!("| {} | {theirs} | {exact} | {ours} |", row.name);
        rows += 1;
        // What follows a colon says why.
        if ours.split(": ").next() != Some(row.expected) {
            wrong.push(format!("{}: {ours}, and should be: {}", row.name, row.expected));
        }
    }
    println!("\n{rows} tokens, {} verdicts of portal-clerk in strict are not what they should be", wrong.len());
    for line in &wrong {
        println!("{line}");
    }
    wrong.is_empty()
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let as_it_should_be = runtime.block_on(compare());
    runtime.block_on(times::measure());
    if as_it_should_be { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
