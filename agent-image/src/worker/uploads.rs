//! What a step's output asked to send, sent when its process has ended: files that the step host reads, masked where they
//! are text, and what is said of the run.

use super::artifacts::{cannot_read, failed, refused, run, tried, within};
use super::command_uploads::{Attachment, Upload, file_name};
use super::lines::{Lines, Output};
use super::step::{Running, StepError};
use crate::host::protocol::{FileKind, PIECES};
use bytes::Bytes;
use dayfly_client::Error;

/// The longest attachment: it is held in memory, to be masked.
const LONGEST: usize = 8 << 20;

impl Running<'_> {
    /// Sends what the step's output asked for. A failure fails the step, and does not keep it from the rest.
    pub(crate) async fn upload_all(&mut self, uploads: Vec<Upload>) -> Result<(), StepError> {
        for upload in uploads {
            let title = upload.title();
            self.record
                .section(&format!("Async Command Start: {title}"));
            match self.upload(upload).await {
                Ok(()) => {}
                Err(StepError::Failed(reason)) => self.fail(&reason),
                Err(other) => return Err(other),
            }
            self.record.section(&format!("Async Command End: {title}"));
        }
        Ok(())
    }

    async fn upload(&mut self, upload: Upload) -> Result<(), StepError> {
        match upload {
            Upload::Artifact(publishing) => self.publish_one(publishing).await,
            Upload::Attachment(attachment) => within(self, attach(self, &attachment)).await,
            Upload::Log(path) => within(self, store_log(self, &path)).await,
            Upload::BuildNumber(number) => within(self, renumber(self, &number)).await,
            Upload::BuildTag(tag) => match within(self, add_tag(self, &tag)).await? {
                true => Ok(()),
                false => {
                    self.record.warning(&format!(
                        "The run was not tagged '{tag}': the service does not offer tags."
                    ));
                    Ok(())
                }
            },
        }
    }
}

async fn attach(step: &Running<'_>, attachment: &Attachment) -> Result<(), StepError> {
    let path = rooted(step, &attachment.path);
    let content = masked(step, whole(step, &path).await?);
    let name = attachment.name.as_deref();
    let name = name.unwrap_or_else(|| file_name(&path));
    let (destination, record) = (&step.job.destination, step.record.id());
    let put = || {
        destination.client.put_attachment(
            &destination.scope,
            destination.timeline,
            record,
            (&attachment.kind, name),
            content.clone(),
        )
    };
    let put = tried(step.job, put).await;
    put.map_err(|error| refused(&format!("attach {path}"), &error))
}

/// A file that is no longer than an attachment may be.
async fn whole(step: &Running<'_>, path: &str) -> Result<Vec<u8>, StepError> {
    let mut content = Vec::new();
    loop {
        let piece = read(step, path, content.len() as u64).await?;
        content.extend_from_slice(&piece);
        if content.len() > LONGEST {
            return Err(failed(format!(
                "{path} is longer than {LONGEST} bytes; publish it as an artifact."
            )));
        }
        if piece.len() < PIECES {
            return Ok(content);
        }
    }
}

/// What is text is masked like a log; other files are as they are.
fn masked(step: &Running<'_>, content: Vec<u8>) -> Bytes {
    match String::from_utf8(content) {
        Ok(text) => {
            let reporter = step.record.reporter();
            reporter.outbox(|outbox| outbox.masked(&text)).into()
        }
        Err(error) => error.into_bytes().into(),
    }
}

/// Stores a file as a log of its own, masked line by line.
async fn store_log(step: &Running<'_>, path: &str) -> Result<(), StepError> {
    let path = rooted(step, path);
    let mut piece = read(step, &path, 0).await?;
    let (client, scope) = (&step.job.destination.client, &step.job.destination.scope);
    let what = format!("store {path}");
    let name = format!("logs\\{}", step.record.id());
    let log = tried(step.job, || client.create_log(scope, &name)).await;
    let log = log.map_err(|error| refused(&what, &error))?.id;
    let mut lines = Lines::default();
    let mut at = 0;
    loop {
        at += piece.len() as u64;
        let is_last = piece.len() < PIECES;
        let text = mask_lines(step, &mut lines, &piece, is_last);
        if !text.is_empty() {
            let sent = tried(step.job, || client.append_log(scope, log, text.clone())).await;
            sent.map_err(|error| refused(&what, &error))?;
        }
        if is_last {
            return Ok(());
        }
        piece = read(step, &path, at).await?;
    }
}

fn mask_lines(step: &Running<'_>, lines: &mut Lines, piece: &[u8], is_last: bool) -> Bytes {
    step.record.reporter().outbox(|outbox| {
        let mut whole = Vec::new();
        outbox.assemble(lines, piece, &mut whole);
        if is_last {
            outbox.finish(lines, &mut whole);
        }
        let mut text = String::new();
        for output in whole {
            match output {
                Output::Line(line) => text += &outbox.masked(&line),
                Output::Piece(piece) => text += &piece,
                Output::CommandTooLong => {}
            }
            text.push('\n');
        }
        text.into()
    })
}

async fn renumber(step: &Running<'_>, number: &str) -> Result<(), StepError> {
    let (run, destination) = (run(step.job)?, &step.job.destination);
    let (client, project) = (&destination.client, destination.scope.project);
    let shown = step
        .record
        .reporter()
        .outbox(|outbox| outbox.masked(number));
    let set = tried(step.job, || client.set_build_number(project, run, &shown)).await;
    set.map_err(|error| refused(&format!("set the run's number to '{shown}'"), &error))
}

/// Whether the service offers tags at all.
async fn add_tag(step: &Running<'_>, tag: &str) -> Result<bool, StepError> {
    let (run, destination) = (run(step.job)?, &step.job.destination);
    let (client, project) = (&destination.client, destination.scope.project);
    let shown = step.record.reporter().outbox(|outbox| outbox.masked(tag));
    match tried(step.job, || client.add_build_tag(project, run, &shown)).await {
        Ok(()) => Ok(true),
        Err(Error::NotFound(_)) => Ok(false),
        Err(error) => Err(refused(&format!("tag the run '{shown}'"), &error)),
    }
}

/// A piece of a file that the job names: what is no regular file is refused by the step host.
async fn read(step: &Running<'_>, path: &str, offset: u64) -> Result<Bytes, StepError> {
    let link = &step.job.link;
    if offset == 0 && link.look(path).await? == FileKind::Nothing {
        return Err(failed(format!("The file {path} does not exist.")));
    }
    let piece = link.read(path, "", offset).await;
    piece.map_err(|error| cannot_read(path, error))
}

fn rooted(step: &Running<'_>, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let sources = step.job.variables.value("system.defaultworkingdirectory");
    format!(
        "{}/{path}",
        sources.unwrap_or_default().trim_end_matches('/')
    )
}
