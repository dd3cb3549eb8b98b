//! Tasks, written with the library that real ones are written with, packed and uploaded.

use super::World;
use dayfly_wire::task::TaskDefinition;
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub const TASK: &str = "33333333-3333-4333-8333-333333333333";
const SCRIPTS: [(&str, &str); 3] = [
    ("main.js", include_str!("../tasks/main.js")),
    ("pre.js", include_str!("../tasks/pre.js")),
    ("post.js", include_str!("../tasks/post.js")),
];

/// A definition that runs `main.js`.
pub fn definition(id: &str) -> Value {
    json!({
        "id": id, "name": "Probe", "friendlyName": "Probe the agent", "author": "Dayfly",
        "description": "For tests", "version": {"Major": 1, "Minor": 2, "Patch": 3},
        "inputs": [
            {"name": "do", "type": "string", "required": true},
            {"name": "who", "type": "string", "defaultValue": "$(user)", "aliases": ["whom"]},
            {"name": "loud", "type": "boolean", "defaultValue": true},
            {"name": "file", "type": "filePath"},
            {"name": "multi", "type": "multiLine"},
            {"name": "connection", "type": "connectedService:generic"},
            {"name": "secure", "type": "secureFile"},
        ],
        "outputVariables": [{"name": "declared"}],
        "execution": {"Node10": {"target": "missing.js"}, "Node20_1": {"target": "main.js"},
            "PowerShell3": {"target": "main.ps1"}},
    })
}

/// The same with parts before and after the steps.
pub fn with_all_parts(id: &str) -> Value {
    let mut definition = definition(id);
    definition["prejobexecution"] = json!({"Node16": {"target": "pre.js"}});
    definition["postjobexecution"] = json!({"Node16": {"target": "post.js"}});
    definition
}

/// The archive of a task with the library.
pub fn archive(definition: &Value) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let text = definition.to_string();
    let files = SCRIPTS.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    let own = [("task.json".to_owned(), text.into_bytes())];
    for (name, content) in own.iter().chain(&files).chain(library()) {
        archive
            .start_file(
                name.as_str(),
                SimpleFileOptions::default().compression_method(CompressionMethod::Stored),
            )
            .unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn library() -> &'static [(String, Vec<u8>)] {
    static LIBRARY: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let root = installed();
        let mut files = Vec::new();
        let mut waiting = vec![root.join("node_modules")];
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    waiting.push(entry.path());
                } else if kind.is_file() {
                    let path = entry.path();
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                    files.push((name.to_owned(), std::fs::read(&path).unwrap()));
                }
            }
        }
        files
    })
}

fn installed() -> PathBuf {
    let cache = std::env::var_os("DAYFLY_CACHE").map(PathBuf::from);
    let cache = cache
        .unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/dayfly"));
    let libraries = cache.join("clients/tasks");
    assert!(
        libraries.join("installed").exists(),
        "there is no library of tasks at {}; run e2e/clients.sh",
        libraries.display()
    );
    libraries
}

impl World {
    pub async fn upload(&self, definition: &Value) -> TaskDefinition {
        let archive = archive(definition);
        self.admin.upload_task(archive.into(), false).await.unwrap()
    }
}

/// A step that runs the task.
pub fn step(id: &str, action: &str, more: &Value) -> Value {
    let mut step = json!({
        "task": {"id": id, "name": "Probe", "version": "1.2.3"},
        "displayName": format!("Probe {action}"), "inputs": {"do": action},
    });
    for (name, value) in more.as_object().unwrap() {
        if name == "inputs" {
            for (input, value) in value.as_object().unwrap() {
                step["inputs"][input] = value.clone();
            }
        } else {
            step[name] = value.clone();
        }
    }
    step
}
