//! Looks through an archive that somebody uploaded before it is kept: nothing is unpacked to disk.

use crate::rules::refusal::Refusal;
use crate::rules::task::{
    DEFINITION, MAX_DEFINITION, MAX_ENTRIES, check_entry, most_unpacked, parse,
};
use dayfly_wire::task::TaskDefinition;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;

/// What a file of an archive says that it is, where it says so at all.
const KIND_OF_FILE: u32 = 0o170_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// The task of an archive whose every file was read: its lengths and paths are what they claim, and bounded.
pub fn inspect(path: &Path) -> Result<TaskDefinition, Refusal> {
    let file = File::open(path).map_err(|_| unreadable("it cannot be opened"))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
    if archive.len() > MAX_ENTRIES {
        return Err(Refusal::invalid(format!(
            "the archive: at most {MAX_ENTRIES} files and folders"
        )));
    }
    let mut room = most_unpacked(length);
    let mut names = BTreeSet::new();
    let mut definition = None;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        let name = entry.name().map_err(unreadable)?.into_owned();
        check_entry(&name)?;
        if entry
            .unix_mode()
            .is_some_and(|mode| mode & KIND_OF_FILE == SYMBOLIC_LINK)
        {
            return Err(Refusal::invalid(format!("the archive: {name:?} is a link")));
        }
        if !names.insert(name.to_lowercase()) {
            return Err(Refusal::invalid(format!(
                "the archive: {name:?} is there twice"
            )));
        }
        let read = if name == DEFINITION {
            let mut text = Vec::new();
            let read = (&mut entry)
                .take(MAX_DEFINITION + 1)
                .read_to_end(&mut text)
                .map_err(unreadable)?;
            if read as u64 > MAX_DEFINITION {
                return Err(Refusal::invalid("task.json: too long"));
            }
            definition = Some(text);
            read as u64
        } else {
            // One byte more than there is room for is enough to know.
            std::io::copy(&mut (&mut entry).take(room + 1), &mut std::io::sink())
                .map_err(unreadable)?
        };
        room = room.checked_sub(read).ok_or_else(|| {
            Refusal::invalid(
                "the archive: its files come to more than a task may have, or to far more than the archive",
            )
        })?;
    }
    let text = definition
        .ok_or_else(|| Refusal::invalid("the archive: there is no task.json at its root"))?;
    parse(&text)
}

fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(format!("the archive: it cannot be read: {error}"))
}
