//! Every parser on its corpus, on what is near to it, and on random bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dayfly_fuzz_entries::{ENTRIES, Entry};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRunner};
use std::path::Path;

/// Inputs that are made up for each parser.
const CASES: u32 = 2000;
/// Some parsers recurse; they run on as little stack as the threads of a server have.
const STACK: usize = 2 << 20;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let files = std::fs::read_dir(&directory).unwrap_or_else(|_| panic!("no {directory:?}"));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// One byte changed, something cut away, or something doubled.
#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    Cut(Index, Index),
    Double(Index, Index),
}

fn range(bytes: &[u8], one: Index, other: Index) -> std::ops::Range<usize> {
    let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
    one.min(other)..one.max(other)
}

fn changed(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for change in changes {
        match change {
            Change::Byte(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Change::Byte(_, byte) => bytes.push(byte),
            Change::Cut(one, other) => {
                bytes.drain(range(&bytes, one, other));
            }
            Change::Double(one, other) => {
                let range = range(&bytes, one, other);
                let copy = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, copy);
            }
        }
    }
    bytes
}

fn inputs(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::Cut(one, other)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::Double(one, other)),
    ];
    let near = (
        prop::sample::select(corpus),
        prop::collection::vec(change, 1..6),
    )
        .prop_map(|(bytes, changes)| changed(bytes, changes));
    prop_oneof![4 => near, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

fn torment((name, parse): Entry) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    corpus.iter().for_each(|bytes| parse(bytes));
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&inputs(corpus), |bytes| {
            parse(&bytes);
            Ok(())
        })
        .unwrap_or_else(|error| match error {
            TestError::Fail(reason, bytes) => {
                panic!("{name}: {reason}: {:?}", String::from_utf8_lossy(&bytes))
            }
            TestError::Abort(reason) => panic!("{name}: {reason}"),
        });
}

#[test]
fn no_parser_of_strangers_bytes_panics_or_breaks_its_promise() {
    let threads = ENTRIES.map(|entry| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || torment(entry))
            .unwrap()
    });
    for thread in threads {
        thread.join().unwrap();
    }
}
