//! Every parser in one program, so that it is built once: `DAYFLY_FUZZ_ENTRY` says which one it feeds.

#![no_main]

use dayfly_fuzz_entries::{ENTRIES, Entry};
use std::sync::OnceLock;

static CHOSEN: OnceLock<Entry> = OnceLock::new();

fn choose() {
    let name = std::env::var("DAYFLY_FUZZ_ENTRY").unwrap_or_default();
    let Some(entry) = ENTRIES.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = ENTRIES.iter().map(|(known, _)| *known).collect();
        eprintln!("set DAYFLY_FUZZ_ENTRY to one of: {}", names.join(" "));
        std::process::exit(2);
    };
    let _ = CHOSEN.set(*entry);
}

libfuzzer_sys::fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some((_, parse)) = CHOSEN.get() {
        parse(bytes);
    }
});
