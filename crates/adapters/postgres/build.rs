//! Rebuilds the crate when a migration changes, and gives the set of migrations a name: the embedding macro does neither.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new("../../../migrations");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for change in fs::read_dir(folder)? {
        for file in fs::read_dir(change?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        println!("cargo:rerun-if-changed={}", file.display());
        file.hash(&mut hasher);
        fs::read(file)?.hash(&mut hasher);
    }
    println!("cargo:rustc-env=MIGRATIONS_FINGERPRINT={:016x}", hasher.finish());
    Ok(())
}
