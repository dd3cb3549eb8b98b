//! Task definitions: uploaded, listed, served as a document and as an archive; and archives that are refused.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, Raw};
use dayfly_pool_service::rules::limits::Limits;
use dayfly_wire::error::key;
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const TASK: &str = "11111111-1111-4111-8111-111111111111";
const TASKS: &str = "/_apis/distributedtask/tasks";

fn definition(version: &str) -> Value {
    let numbers: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    json!({
        "id": TASK, "name": "Greet", "friendlyName": "Greet somebody",
        "version": {"Major": numbers[0], "Minor": numbers[1], "Patch": numbers[2]},
        "inputs": [{"name": "who", "type": "string", "required": true}],
        "execution": {"Node20_1": {"target": "main.js"}},
    })
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    archive_by(|archive| {
        for (name, content) in files {
            archive.start_file(*name, options()).unwrap();
            archive.write_all(content).unwrap();
        }
    })
}

fn archive_by(fill: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut archive);
    archive.finish().unwrap().into_inner()
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn task(version: &str) -> Vec<u8> {
    let definition = definition(version).to_string();
    archive(&[
        ("task.json", definition.as_bytes()),
        ("main.js", b"console.log('hello')"),
    ])
}

async fn upload(fixture: &Fixture, query: &str, body: &[u8]) -> Answer {
    let path = format!("{TASKS}/{TASK}{query}");
    let range = format!("bytes 0-{}/{}", body.len() - 1, body.len());
    let headers = [("content-range", range.as_str())];
    fixture
        .raw("PUT", &path, Some(&fixture.pat), &headers, Raw(body))
        .await
}

async fn get(fixture: &Fixture, path: &str) -> Answer {
    let path = format!("{TASKS}{path}");
    fixture.call("GET", &path, Some(&fixture.pat), None).await
}

#[tokio::test]
async fn a_task_is_uploaded_and_served_as_a_document_and_as_an_archive() {
    let fixture = Fixture::start().await;
    let uploaded = upload(&fixture, "", &task("1.2.3")).await;
    assert_eq!(uploaded.status, 200, "{}", uploaded.body);
    let document = get(&fixture, &format!("/{TASK}/1.2.3")).await.json();
    assert_eq!(document["version"]["major"], 1);
    assert_eq!(document["execution"]["Node20_1"]["target"], "main.js");
    assert_eq!(document["contentsUploaded"], true);

    // As a worker downloads it, with its job's token.
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let zip = fixture
        .bytes(
            &format!("{TASKS}/{TASK}/1.2.3"),
            &taken.token,
            &[("accept", "application/zip;api-version=5.1-preview.1")],
        )
        .await;
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    assert!(archive.by_name("task.json").is_ok() && archive.by_name("main.js").is_ok());
    let by_job = fixture
        .raw(
            "DELETE",
            &format!("{TASKS}/{TASK}"),
            Some(&taken.token),
            &[],
            Raw(b""),
        )
        .await;
    assert_eq!(by_job.status, 403);
}

#[tokio::test]
async fn versions_are_listed_replaced_and_removed() {
    let fixture = Fixture::start().await;
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        assert_eq!(upload(&fixture, "", &task(version)).await.status, 200);
    }
    let again = upload(&fixture, "", &task("1.0.0")).await;
    assert_eq!(
        (again.status, again.type_key().as_str()),
        (409, key::TASK_EXISTS)
    );
    assert_eq!(
        upload(&fixture, "?overwrite=true", &task("1.0.0"))
            .await
            .status,
        200
    );
    assert_eq!(
        get(&fixture, "").await.json()["count"],
        2,
        "the newest of each major version"
    );
    let all = get(&fixture, &format!("/{TASK}?allVersions=True"))
        .await
        .json();
    assert_eq!(all["count"], 3);

    for (path, named) in [
        (format!("/{TASK}/9.9.9"), "9.9.9"),
        (
            "/22222222-2222-4222-8222-222222222222".to_owned(),
            "22222222",
        ),
    ] {
        let missing = get(&fixture, &path).await;
        assert_eq!(
            (missing.status, missing.type_key().as_str()),
            (404, key::TASK_NOT_FOUND)
        );
        assert!(missing.body.contains(named), "{}", missing.body);
    }
    assert_eq!(get(&fixture, &format!("/{TASK}/1.x")).await.status, 400);

    let delete = async |path: &str| {
        let path = format!("{TASKS}/{TASK}{path}");
        fixture
            .call("DELETE", &path, Some(&fixture.pat), None)
            .await
            .status
    };
    assert_eq!(delete("/2.0.0").await, 204);
    assert_eq!(
        get(&fixture, &format!("/{TASK}?allVersions=true"))
            .await
            .json()["count"],
        2
    );
    assert_eq!(delete("").await, 204);
    assert_eq!(delete("").await, 404);
    assert_eq!(get(&fixture, "").await.json()["count"], 0);
}

#[tokio::test]
async fn archives_that_would_do_harm_are_refused_by_name() {
    let fixture = Fixture::start().await;
    let text = definition("1.0.0").to_string();
    let text = text.as_bytes();
    let zeroes = vec![0; 40 * 1024 * 1024];
    let bomb = archive(&[("task.json", text), ("zeroes", &zeroes)]);
    assert!(bomb.len() < 1024 * 1024, "it is small while it is packed");
    let link = archive_by(|archive| {
        archive.start_file("task.json", options()).unwrap();
        archive.write_all(text).unwrap();
        archive
            .add_symlink("main.js", "/etc/passwd", options())
            .unwrap();
    });
    let many = archive_by(|archive| {
        archive.start_file("task.json", options()).unwrap();
        archive.write_all(text).unwrap();
        for number in 0..20_001 {
            archive.start_file(number.to_string(), options()).unwrap();
        }
    });
    let mut torn = task("1.0.0");
    let place = torn
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    torn[place - 5] ^= 0xff;
    let cases: [(&str, Vec<u8>); 9] = [
        ("far more than the archive", bomb),
        (
            "leads out",
            archive(&[("task.json", text), ("../../etc/cron.d/x", b"")]),
        ),
        (
            "no relative path",
            archive(&[("task.json", text), ("/etc/cron.d/x", b"")]),
        ),
        (
            "twice",
            archive(&[("task.json", text), ("TASK.json", b"{}")]),
        ),
        ("is a link", link),
        ("at most 20000", many),
        ("no task.json", archive(&[("Greet/task.json", text)])),
        ("cannot be read", b"this is no archive at all".to_vec()),
        ("cannot be read", torn),
    ];
    for (expected, body) in cases {
        let refused = upload(&fixture, "", &body).await;
        assert_eq!(refused.status, 400, "{expected}: {}", refused.body);
        assert!(
            refused.body.contains(expected),
            "{expected}: {}",
            refused.body
        );
    }
    assert_eq!(get(&fixture, "").await.json()["count"], 0);
    let incoming = fixture.service.directory().join("content/incoming");
    assert_eq!(
        std::fs::read_dir(incoming).unwrap().count(),
        0,
        "nothing is left"
    );
}

#[tokio::test]
async fn a_task_must_say_what_it_is_and_come_in_one_piece() {
    let fixture = Fixture::start().await;
    let mut other = definition("1.0.0");
    other["id"] = json!("22222222-2222-4222-8222-222222222222");
    let refused = upload(
        &fixture,
        "",
        &archive(&[("task.json", other.to_string().as_bytes())]),
    )
    .await;
    assert!(refused.body.contains("the path says"), "{}", refused.body);
    let refused = upload(&fixture, "", &archive(&[("task.json", b"{\"id\": 1}")])).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("task.json:"), "{}", refused.body);
    let path = format!("{TASKS}/{TASK}");
    let headers = [("content-range", "bytes 0-9/20")];
    let part = fixture
        .raw(
            "PUT",
            &path,
            Some(&fixture.pat),
            &headers,
            Raw(b"0123456789"),
        )
        .await;
    assert!(part.body.contains("in one piece"), "{}", part.body);
    let reader = fixture.service.pat("agentpools").await.unwrap();
    let denied = fixture
        .raw("PUT", &path, Some(&reader), &[], Raw(b"x"))
        .await;
    assert_eq!(denied.status, 403);
}

#[tokio::test]
async fn a_task_that_is_too_large_is_refused_before_it_is_read() {
    let limits = Limits {
        task_bytes: 100,
        ..Limits::default()
    };
    let fixture = Fixture::with_limits(limits).await;
    let refused = upload(&fixture, "", &task("1.0.0")).await;
    assert_eq!(refused.status, 413);
    assert!(
        refused.body.contains("at most 100 bytes"),
        "{}",
        refused.body
    );
}
