//! What the agent asks of the step host, and what it is told.

use serde::{Deserialize, Serialize};

/// The version of this protocol. Both sides come from one image, so there is no negotiation.
pub const VERSION: u32 = 4;

/// A process, numbered by the agent.
pub type ProcessNumber = u32;
/// A request that has one answer, numbered by the agent.
pub type RequestNumber = u32;

/// The longest piece of a file, or of output, in one frame.
pub const PIECE: usize = 64 * 1024;
/// The longest piece of a file that is published, in one frame.
pub const PIECES: usize = 2 * 1024 * 1024;

/// From the agent. Holds environments and scripts, so it has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Run a program; the answers are `Started` or `Refused`, `Output`, and `Exited`.
    Start {
        /// Its number, which is also the number of this request.
        process: ProcessNumber,
        /// What to run.
        program: Program,
    },
    /// Ask a process to end, and make it end: SIGINT, SIGTERM, SIGKILL to its group.
    Stop {
        /// Which.
        process: ProcessNumber,
    },
    /// Write a file; the payload is its content, or the next piece of it.
    Write {
        /// The request.
        request: RequestNumber,
        /// Where.
        path: String,
        /// The permission bits of a new file.
        mode: u32,
        /// Add to the file instead of making it.
        append: bool,
    },
    /// Remove a file or a tree; nothing there is success.
    Remove {
        /// The request.
        request: RequestNumber,
        /// What.
        path: String,
    },
    /// Make a directory and those above it.
    MakeDirectory {
        /// The request.
        request: RequestNumber,
        /// Where.
        path: String,
    },
    /// What is at a path; answered by `Found`.
    Look {
        /// The request.
        request: RequestNumber,
        /// Where.
        path: String,
    },
    /// Where a program is; answered by `Located`.
    Locate {
        /// The request.
        request: RequestNumber,
        /// Its name.
        name: String,
        /// Directories to look in before those of `PATH`.
        prepend_path: Vec<String>,
    },
    /// The files at and below a path, in order; answered by `Listed`.
    List {
        /// The request.
        request: RequestNumber,
        /// Where.
        path: String,
        /// How many the agent has already.
        skip: usize,
    },
    /// A piece of a file; answered by `Content` with the payload.
    Read {
        /// The request.
        request: RequestNumber,
        /// What is published.
        root: String,
        /// The file at or below it, as `Listed` said.
        path: String,
        /// From which byte on.
        offset: u64,
    },
    /// What the files hold that patterns name; answered by `Hashed`.
    Hash {
        /// The request.
        request: RequestNumber,
        /// Names below it count from there.
        base: String,
        /// Absolute patterns.
        patterns: Vec<String>,
        /// Patterns of what does not count.
        without: Vec<String>,
    },
    /// Pack folders into one new archive; answered by `Packed`.
    Pack {
        /// The request.
        request: RequestNumber,
        /// The folders.
        roots: Vec<String>,
        /// The archive.
        into: String,
        /// How long it may be.
        most: u64,
    },
    /// Put the files of an archive that `Pack` made into folders; answered by `Packed`, with their number.
    Unpack {
        /// The request.
        request: RequestNumber,
        /// The archive.
        archive: String,
        /// The folders, in the order in which they were packed.
        roots: Vec<String>,
    },
    /// Kill everything that runs in the job container; answered by `Killed`.
    KillEverything {
        /// The request.
        request: RequestNumber,
    },
}

/// A program to run.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the container's own environment; later entries win.
    pub environment: Vec<(String, String)>,
    /// Put before the `PATH` that results.
    pub prepend_path: Vec<String>,
    /// The working directory.
    pub directory: String,
    /// The environment variable that tells the program the number of a descriptor, from which it reads the frame's
    /// payload; none when there is no payload. What travels so is in no environment that others could read.
    pub descriptor: Option<String>,
}

impl Program {
    /// Why no kernel starts it, for whoever must make it shorter: names and lengths, no values.
    pub(crate) fn too_long(&self) -> String {
        let length = |(name, value): &(String, String)| name.len() + value.len() + 2;
        let arguments: usize = self.argv.iter().map(|argument| argument.len() + 1).sum();
        let all: usize = self.environment.iter().map(length).sum();
        let longest = self.environment.iter().max_by_key(|entry| length(entry));
        let longest = longest.map_or(String::new(), |entry| {
            format!(
                ", of which the longest is {} with {}",
                entry.0,
                length(entry)
            )
        });
        format!(
            "the program's arguments come to {arguments} bytes and its environment, which holds the job's variables, to {all}{longest}; a program can be started with about 2 MiB of both and 128 KiB of each. Put long values into files"
        )
    }
}

/// From the step host.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Answer {
    /// The first frame of a connection.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The work directory, as steps see it.
        work: String,
        /// Where script bodies go.
        scripts: String,
        /// Where tasks are.
        tasks: String,
    },
    /// The request was done.
    Done {
        /// Which.
        request: RequestNumber,
    },
    /// The request was not done.
    Refused {
        /// Which.
        request: RequestNumber,
        /// Why.
        reason: String,
    },
    /// What is at a path.
    Found {
        /// The request.
        request: RequestNumber,
        /// What.
        kind: FileKind,
    },
    /// Where a program is.
    Located {
        /// The request.
        request: RequestNumber,
        /// Its path, when there is one.
        path: Option<String>,
    },
    /// Files.
    Listed {
        /// The request.
        request: RequestNumber,
        /// The next ones.
        files: Vec<ListedFile>,
        /// Whether there are more.
        more: bool,
    },
    /// The payload is the piece.
    Content {
        /// The request.
        request: RequestNumber,
    },
    /// What files hold.
    Hashed {
        /// The request.
        request: RequestNumber,
        /// All of it.
        hashed: Hashed,
    },
    /// The archive was made or unpacked.
    Packed {
        /// The request.
        request: RequestNumber,
        /// The archive's length, or how many files came out of it.
        amount: u64,
    },
    /// Everything was killed.
    Killed {
        /// The request.
        request: RequestNumber,
        /// The names of what ran.
        processes: Vec<String>,
    },
    /// The process runs.
    Started {
        /// Which.
        process: ProcessNumber,
        /// Its id in the job container.
        pid: i32,
    },
    /// The process wrote something: the payload.
    Output {
        /// Which.
        process: ProcessNumber,
        /// Where to.
        stream: Stream,
    },
    /// The process ended, and all of its output was sent.
    Exited {
        /// Which.
        process: ProcessNumber,
        /// How.
        exit: Exit,
        /// The kernel killed something of the container while it ran: memory had run out.
        out_of_memory: Option<OutOfMemory>,
    },
}

/// A file that can be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Below what was listed; empty for that itself.
    pub path: String,
    /// In bytes.
    pub length: u64,
}

/// What the files hold that patterns name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashed {
    /// How many files there are.
    pub count: u64,
    /// Changes with every name and every content; 64 hexadecimal digits.
    pub hash: String,
    /// Some of the files, to be shown.
    pub first: Vec<HashedFile>,
}

/// A file and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedFile {
    /// Its name.
    pub path: String,
    /// Of its content.
    pub hash: String,
}

/// What memory that ran out led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutOfMemory {
    /// How many processes were killed.
    pub kills: u64,
    /// The container's limit, in bytes; without one it was the node's memory.
    pub limit: Option<u64>,
}

/// One of a process's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileKind {
    /// Nothing, or nothing that can be looked at.
    Nothing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}
