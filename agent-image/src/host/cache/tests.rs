//! Entries that are whole, and entries that somebody made to do harm.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tar::{Builder, EntryType, Header};

const MOST: u64 = 1 << 20;

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn folders_come_back_as_they_were() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    fs::create_dir_all(one.join("deep/er/empty")).unwrap();
    fs::create_dir(&other).unwrap();
    let long = "n".repeat(200);
    fs::write(one.join(format!("deep/{long}")), "long name").unwrap();
    fs::write(one.join("deep/er/run"), "#!").unwrap();
    fs::set_permissions(one.join("deep/er/run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("er/run", one.join("deep/link")).unwrap();
    symlink("/nowhere", one.join("out")).unwrap();
    fs::write(other.join("x"), vec![7; 100_000]).unwrap();
    fs::set_permissions(one.join("deep/er"), fs::Permissions::from_mode(0o555)).unwrap();
    let archive = text(&place.path().join("a.tgz"));
    let length = pack(&[text(&one), text(&other)], &archive, MOST).unwrap();
    assert!(length < 10_000);

    let (first, second) = (place.path().join("new/first"), place.path().join("second"));
    fs::create_dir(&second).unwrap();
    fs::write(second.join("x"), "old").unwrap();
    fs::write(second.join("stays"), "mine").unwrap();
    assert_eq!(unpack(&archive, &[text(&first), text(&second)]).unwrap(), 3);
    assert_eq!(
        fs::read_to_string(first.join(format!("deep/{long}"))).unwrap(),
        "long name"
    );
    let mode = |path: &str| fs::metadata(first.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("deep/er/run"), mode("deep/er")), (0o755, 0o555));
    assert_eq!(
        fs::read_link(first.join("deep/link")).unwrap(),
        Path::new("er/run")
    );
    assert_eq!(
        fs::read_link(first.join("out")).unwrap(),
        Path::new("/nowhere")
    );
    assert!(first.join("deep/er/empty").is_dir());
    assert_eq!(fs::read(second.join("x")).unwrap().len(), 100_000);
    assert_eq!(fs::read_to_string(second.join("stays")).unwrap(), "mine");
}

/// An archive with one entry of any name and kind.
fn evil(at: &Path, entries: &[(&str, EntryType, &str)]) -> String {
    let file = File::create(at).unwrap();
    let mut archive = Builder::new(GzEncoder::new(file, Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4777);
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if is_link {
            header.set_link_name(content).unwrap();
        }
        let content = if is_link { "" } else { content };
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
    text(at)
}

#[test]
fn what_leads_out_of_the_folders_is_refused_and_writes_nothing_there() {
    for entries in [
        vec![("0/../../stolen", EntryType::Regular, "x")],
        vec![("../stolen", EntryType::Regular, "x")],
        vec![("/stolen", EntryType::Regular, "x")],
        vec![("0//etc/stolen", EntryType::Regular, "x")],
        vec![("1/stolen", EntryType::Regular, "x")],
        vec![("0", EntryType::Directory, "")],
        vec![
            ("0/a", EntryType::Symlink, ".."),
            ("0/a/stolen", EntryType::Regular, "x"),
        ],
        vec![
            ("0/a", EntryType::Symlink, "../outside"),
            ("0/a/b/stolen", EntryType::Regular, "x"),
        ],
        vec![
            ("0/a", EntryType::Symlink, ".."),
            ("0/a/stolen", EntryType::Directory, ""),
        ],
        vec![
            ("0/a", EntryType::Symlink, ".."),
            ("0/a/stolen", EntryType::Symlink, "x"),
        ],
        vec![("0/stolen", EntryType::Link, "../outside/kept")],
        vec![("0/stolen", EntryType::Fifo, "")],
        vec![("0/stolen", EntryType::Char, "")],
    ] {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("root")).unwrap();
        fs::create_dir_all(place.path().join("outside/b")).unwrap();
        fs::write(place.path().join("outside/kept"), "k").unwrap();
        let archive = evil(&place.path().join("a.tgz"), &entries);
        let root = text(&place.path().join("root"));
        let refused = unpack(&archive, &[root]);
        assert!(refused.is_err(), "{entries:?}");
        for path in [
            "stolen",
            "outside/stolen",
            "outside/b/stolen",
            "root/stolen",
            "root/etc",
        ] {
            assert!(!place.path().join(path).exists(), "{path} {entries:?}");
        }
        assert!(!Path::new("/stolen").exists());
    }
}

#[test]
fn a_link_in_the_way_is_replaced_and_its_target_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(place.path().join("kept"), "k").unwrap();
    symlink("../kept", root.join("file")).unwrap();
    symlink("..", root.join("folder")).unwrap();
    let entries = [
        ("0/file", EntryType::Regular, "new"),
        ("0/folder", EntryType::Directory, ""),
    ];
    let archive = evil(&place.path().join("a.tgz"), &entries);
    unpack(&archive, &[text(&root)]).unwrap();
    assert_eq!(fs::read_to_string(place.path().join("kept")).unwrap(), "k");
    let file = fs::symlink_metadata(root.join("file")).unwrap();
    assert!(file.is_file() && file.permissions().mode() & 0o7777 == 0o777);
    assert!(fs::symlink_metadata(root.join("folder")).unwrap().is_dir());
}

#[test]
fn what_is_too_long_cut_or_no_archive_says_so() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    fs::create_dir(&root).unwrap();
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(root.join("noise"), noise).unwrap();
    let archive = place.path().join("a.tgz");
    let error = pack(&[text(&root)], &text(&archive), 1000).unwrap_err();
    assert!(
        error.to_string().contains("more than 1000 bytes"),
        "{error}"
    );
    assert!(!archive.exists());
    pack(&[text(&root)], &text(&archive), MOST).unwrap();
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    assert!(unpack(&text(&archive), &[text(&root)]).is_err());
    fs::write(&archive, "no archive").unwrap();
    assert!(unpack(&text(&archive), &[text(&root)]).is_err());
    let file = text(&root.join("noise"));
    let error = pack(&[file], &text(&place.path().join("b")), MOST).unwrap_err();
    assert!(error.to_string().contains("no folder"), "{error}");
}

#[test]
fn files_are_found_by_patterns_and_hashed_by_content() {
    let place = tempfile::tempdir().unwrap();
    let base = text(place.path());
    for (path, content) in [
        ("a.lock", "1"),
        ("x/a.lock", "2"),
        ("x/y/.hidden.lock", "3"),
        ("old/a.lock", "4"),
        ("b.txt", "5"),
        ("{a}.q", "6"),
    ] {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let hashed = |patterns: &[&str], without: &[&str]| {
        let owned = |all: &[&str]| {
            all.iter()
                .map(|it| format!("{base}/{it}"))
                .collect::<Vec<_>>()
        };
        let found = hash(&base, &owned(patterns), &owned(without)).unwrap();
        let names: Vec<_> = found.first.iter().map(|it| it.path.clone()).collect();
        (names.join(" "), found.hash)
    };
    for (patterns, without, names) in [
        (vec!["a.lock"], vec![], "a.lock"),
        (
            vec!["**/*.lock"],
            vec![],
            "a.lock old/a.lock x/a.lock x/y/.hidden.lock",
        ),
        (vec!["*.lock"], vec![], "a.lock"),
        (vec!["*/a.lock"], vec!["old/**"], "x/a.lock"),
        (vec!["a.lock", "?.txt", "missing"], vec![], "a.lock b.txt"),
        (vec!["{a}.*"], vec![], "{a}.q"),
        (vec!["[x]/*"], vec![], "x/a.lock"),
        (vec!["nowhere/**"], vec![], ""),
    ] {
        assert_eq!(hashed(&patterns, &without).0, names, "{patterns:?}");
    }
    let before = hashed(&["**/*.lock"], &[]).1;
    assert_eq!(before, hashed(&["**/*.lock"], &[]).1);
    fs::write(place.path().join("x/a.lock"), "changed").unwrap();
    assert_ne!(before, hashed(&["**/*.lock"], &[]).1);
    let kernel = hash("/", &["/proc/self/environ".to_owned()], &[]);
    assert!(kernel.is_err());
}
