//! What is found, and what of a hostile volume is not.

use super::*;
use tokio::io::AsyncReadExt;

fn scopes(refs: &[&str]) -> Scopes {
    Scopes {
        project: "p".to_owned(),
        pipeline: "7".to_owned(),
        refs: refs.iter().map(|it| (*it).to_owned()).collect(),
    }
}

fn key(segments: &[&str]) -> Vec<String> {
    segments.iter().map(|it| (*it).to_owned()).collect()
}

async fn save(volume: &Volume, scope: &str, segments: &[&str], content: &str, saved: i64) {
    let scopes = scopes(&[scope]);
    let mut entry = volume.begin(&scopes, content.len() as u64).await.unwrap();
    entry.file.write_all(content.as_bytes()).await.unwrap();
    let header = Header {
        key: key(segments),
        scope: scope.to_owned(),
        roots: 1,
        length: content.len() as u64,
        hash: hash(content.as_bytes()),
        saved,
    };
    entry.finish(&header).await.unwrap();
}

async fn found(volume: &Volume, refs: &[&str], wanted: &[(&[&str], bool)]) -> Option<String> {
    let wanted = wanted.iter().map(|(segments, exact)| Wanted {
        key: key(segments),
        exact: *exact,
    });
    let mut found = volume.find(scopes(refs), wanted.collect()).await.unwrap()?;
    let mut content = vec![0; found.header.length as usize];
    found.file.read_exact(&mut content).await.unwrap();
    Some(String::from_utf8(content).unwrap())
}

#[tokio::test]
async fn keys_come_before_scopes_and_of_several_the_newest() {
    let place = tempfile::tempdir().unwrap();
    let volume = Volume::new(place.path());
    save(&volume, "main", &["npm", "l", "1"], "main 1", 1).await;
    save(&volume, "main", &["npm", "l", "2"], "main 2", 5).await;
    save(&volume, "main", &["npm", "l", "3"], "main 3", 3).await;
    save(&volume, "topic", &["npm", "l", "4"], "topic 4", 2).await;
    save(&volume, "other", &["npm", "l", "5"], "other 5", 9).await;
    let both = &["topic", "main"];
    for (wanted, expected) in [
        (vec![(&["npm", "l", "1"][..], true)], Some("main 1")),
        (vec![(&["npm", "l", "5"][..], true)], None),
        (vec![(&["npm", "l"][..], true)], None),
        (
            vec![(&["npm", "l", "9"][..], true), (&["npm", "l"][..], false)],
            Some("topic 4"),
        ),
        (
            vec![(&["npm", "x"][..], false), (&["npm"][..], false)],
            Some("topic 4"),
        ),
        (vec![(&["n"][..], false)], None),
    ] {
        assert_eq!(found(&volume, both, &wanted).await.as_deref(), expected);
    }
    let of_main = found(&volume, &["main"], &[(&["npm"], false)]).await;
    assert_eq!(of_main.as_deref(), Some("main 2"));
    assert!(volume.has(&scopes(both), &key(&["npm", "l", "4"])));
    assert!(!volume.has(&scopes(both), &key(&["npm", "l", "1"])));
}

#[tokio::test]
async fn an_entry_is_never_changed_and_one_that_is_not_finished_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let volume = Volume::new(place.path());
    save(&volume, "main", &["a"], "first", 1).await;
    save(&volume, "main", &["a"], "second", 2).await;
    let wanted: &[(&[&str], bool)] = &[(&["a"], true)];
    assert_eq!(
        found(&volume, &["main"], wanted).await.as_deref(),
        Some("first")
    );
    let mut entry = volume.begin(&scopes(&["main"]), 3).await.unwrap();
    entry.file.write_all(b"abc").await.unwrap();
    drop(entry);
    let names = volume.entries().unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn what_is_cut_renamed_or_no_file_is_not_an_entry() {
    let place = tempfile::tempdir().unwrap();
    let volume = Volume::new(place.path());
    save(&volume, "main", &["a"], "content", 1).await;
    let path = volume.entries().unwrap().remove(0).0;
    let folder = path.parent().unwrap();
    let whole = fs::read(&path).unwrap();
    let wanted: &[(&[&str], bool)] = &[(&["a"], true), (&["a"], false)];
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(found(&volume, &["main"], wanted).await, None, "{length}");
    }
    fs::remove_file(&path).unwrap();
    fs::write(folder.join(name(&key(&["b"]))), &whole).unwrap();
    let elsewhere = place.path().join("elsewhere");
    fs::write(&elsewhere, &whole).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(found(&volume, &["main"], wanted).await, None);
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(found(&volume, &["main"], wanted).await, None);
    let mut long = whole;
    let at = long.len() - 12;
    long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::remove_file(&path).unwrap();
    fs::write(&path, long).unwrap();
    assert_eq!(found(&volume, &["main"], wanted).await, None);
    // What is no entry does not keep one from being saved.
    assert!(!volume.has(&scopes(&["main"]), &key(&["a"])));
    save(&volume, "main", &["a"], "new", 1).await;
    let now = found(&volume, &["main"], wanted).await;
    assert_eq!(now.as_deref(), Some("new"));
}

#[tokio::test]
async fn what_is_old_goes_and_what_does_not_fit_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let volume = Volume::new(place.path());
    for name in ["old", "used", "new"] {
        save(&volume, "main", &[name], name, 1).await;
    }
    let age = |name_of: &str, days: u64| {
        let path = volume
            .folder(&scopes(&["main"]), "main")
            .join(name(&key(&[name_of])));
        let time = now() - Duration::from_secs(days * 24 * 3600);
        let file = File::options().write(true).open(path).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    };
    for (name_of, days) in [("old", 8), ("used", 8), ("new", 6)] {
        age(name_of, days);
    }
    // Using an entry keeps it.
    assert!(
        found(&volume, &["main"], &[(&["used"], true)])
            .await
            .is_some()
    );
    let crashed = volume
        .folder(&scopes(&["main"]), "main")
        .join(format!("{UNFINISHED}x"));
    let file = File::create(crashed).unwrap();
    file.set_times(FileTimes::new().set_modified(now() - 2 * UNFINISHED_LIMIT))
        .unwrap();
    volume.make_room(1).unwrap();
    assert_eq!(volume.entries().unwrap().len(), 2);
    let too_much = volume.make_room(u64::MAX).unwrap_err();
    assert!(too_much.to_string().contains("more than the"), "{too_much}");
}
