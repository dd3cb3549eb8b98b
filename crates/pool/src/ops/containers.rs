//! Files of runs' containers: upload in pieces, list, read.

use super::attachments::encoded;
use crate::rules::access::{Caller, require_job, require_plan_writer, require_run_reader};
use crate::rules::artifact::{self, Next, Piece};
use crate::rules::entities::Plan;
use crate::rules::limits;
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service, Unit};
use crate::store::artifacts::{self, ContainerFile};
use crate::store::dialect::Conn;
use crate::store::plans;
use dayfly_wire::artifact::{ContainerItem, ItemStatus, ItemType};
use dayfly_wire::ids::BuildId;
use jiff::Timestamp;
use uuid::Uuid;

/// A piece that a client is about to send.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The container.
    pub build: BuildId,
    /// The file's path.
    pub path: String,
    /// Which part of it.
    pub piece: Piece,
    /// How long the file is when it is unpacked, if it travels packed.
    pub unpacked: Option<i64>,
}

impl Sending {
    fn bytes(&self) -> i64 {
        self.unpacked.unwrap_or(self.piece.total)
    }

    /// Whether a file that was begun is this one.
    fn continues(&self, begun: &ContainerFile) -> bool {
        begun.hash.is_none() && self.is_later_piece_of(begun)
    }

    /// Whether a file that is whole is this one.
    fn repeats(&self, whole: &ContainerFile) -> bool {
        whole.hash.is_some() && self.is_later_piece_of(whole)
    }

    fn is_later_piece_of(&self, file: &ContainerFile) -> bool {
        self.piece.start > 0
            && file.total == self.piece.total
            && file.gzip == self.unpacked.is_some()
            && file.bytes == self.bytes()
    }
}

impl Service {
    /// Whether this caller may upload to any container; asked first.
    pub fn check_upload(&self, caller: &Caller) -> Result<(), Failure> {
        Ok(require_job(caller).map(drop)?)
    }

    /// Finds where a piece belongs; a file that it begins is made. Asked before the piece is read.
    pub async fn begin_piece(
        &self,
        caller: &Caller,
        sending: &Sending,
    ) -> Result<ContainerFile, Failure> {
        require_job(caller)?;
        let mut unit = self.begin().await?;
        let plan = existing_run(unit.conn(), sending.build).await?;
        let claims = require_plan_writer(caller, plan.id)?;
        super::plans::running_request(&mut unit, claims).await?;
        let now = unit.now;
        let existing = artifacts::find_file(unit.conn(), sending.build, &sending.path).await?;
        let mut file = match &existing {
            // Whole already: the answer to its last piece was lost.
            Some(whole) if sending.repeats(whole) => return Ok(whole.clone()),
            Some(begun) if sending.continues(begun) => begun.clone(),
            Some(_) | None => {
                check_room(&mut unit, sending, existing.as_ref()).await?;
                begun(sending, existing.as_ref(), now)
            }
        };
        let upload = *file.upload.get_or_insert_with(Uuid::new_v4);
        if file.received > 0 && !self.contents.upload(upload).exists() {
            // It was whole, or rested too long: the client begins again.
            file.received = 0;
        }
        artifact::next(sending.piece, file.received)?;
        artifacts::put_file(unit.conn(), &file).await?;
        unit.commit().await?;
        Ok(file)
    }

    /// Remembers a piece that was written; true when the file is whole.
    pub async fn end_piece(
        &self,
        caller: &Caller,
        sending: &Sending,
        mut file: ContainerFile,
    ) -> Result<(ContainerItem, bool), Failure> {
        if file.hash.is_some() {
            let mut conn = self.store.read().await?;
            let plan = existing_run(&mut conn, sending.build).await?;
            return Ok((self.item(&plan, &file), true));
        }
        let next = artifact::next(sending.piece, file.received)?;
        let whole = next == Next::Whole;
        match next {
            Next::Write(received) => file.received = received,
            Next::Whole => {
                let upload = file.upload.unwrap_or_default();
                let most = sending.bytes();
                let content = self.contents.adopt(upload, file.gzip, most).await?;
                let content = content.ok_or_else(|| {
                    Refusal::invalid(format!(
                        "itemPath: {} is not the {most} bytes that were announced; send it again",
                        file.path
                    ))
                })?;
                file.received = file.total;
                file.hash = Some(content.hash);
                file.upload = None;
            }
        }
        let mut unit = self.begin().await?;
        let plan = existing_run(unit.conn(), sending.build).await?;
        let claims = require_plan_writer(caller, plan.id)?;
        super::plans::running_request(&mut unit, claims).await?;
        file.changed_at = unit.now;
        artifacts::put_file(unit.conn(), &file).await?;
        unit.commit().await?;
        Ok((self.item(&plan, &file), whole))
    }

    /// A container's files and folders, all or those at and below a path.
    pub async fn container_items(
        &self,
        caller: &Caller,
        build: BuildId,
        below: Option<&str>,
    ) -> Result<Vec<ContainerItem>, Failure> {
        let mut conn = self.store.read().await?;
        let plan = readable_run(&mut conn, caller, build).await?;
        let files = artifacts::files(&mut conn, build, below).await?;
        if let Some(path) = below.filter(|_| files.is_empty()) {
            return Err(no_item(build, path).into());
        }
        let paths = files.iter().map(|file| file.path.as_str());
        let mut items: Vec<_> = artifact::folders(paths, below)
            .into_iter()
            .map(|path| self.folder(&plan, path))
            .collect();
        items.extend(files.iter().map(|file| self.item(&plan, file)));
        items.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(items)
    }

    /// A file that is whole: its hash and its length.
    pub async fn container_file(
        &self,
        caller: &Caller,
        build: BuildId,
        path: &str,
    ) -> Result<(String, i64), Failure> {
        let mut conn = self.store.read().await?;
        readable_run(&mut conn, caller, build).await?;
        let file = artifacts::find_file(&mut conn, build, path).await?;
        let whole = file.and_then(|file| Some((file.hash?, file.bytes)));
        Ok(whole.ok_or_else(|| no_item(build, path))?)
    }

    fn folder(&self, plan: &Plan, path: String) -> ContainerItem {
        let (item_location, content_location) = self.locations(plan, &path);
        ContainerItem {
            container_id: plan.build,
            scope_identifier: plan.project,
            path,
            item_type: ItemType::Folder,
            status: ItemStatus::Created,
            file_length: 0,
            date_created: None,
            date_last_modified: None,
            item_location,
            content_location,
        }
    }

    fn item(&self, plan: &Plan, file: &ContainerFile) -> ContainerItem {
        let status = if file.hash.is_some() {
            ItemStatus::Created
        } else {
            ItemStatus::Pending
        };
        ContainerItem {
            item_type: ItemType::File,
            status,
            file_length: file.bytes,
            date_created: Some(file.created_at),
            date_last_modified: Some(file.changed_at),
            ..self.folder(plan, file.path.clone())
        }
    }

    fn locations(&self, plan: &Plan, path: &str) -> (Option<String>, Option<String>) {
        let item = format!(
            "{}/_apis/resources/Containers/{}?itemPath={}",
            self.settings.public_url,
            plan.build,
            encoded(path)
        );
        let content = format!("{item}&%24format=OctetStream");
        (Some(item), Some(content))
    }
}

/// A file as its first piece begins it, in place of one that was there.
fn begun(sending: &Sending, existing: Option<&ContainerFile>, now: Timestamp) -> ContainerFile {
    ContainerFile {
        build: sending.build,
        path: sending.path.clone(),
        bytes: sending.bytes(),
        total: sending.piece.total,
        received: 0,
        gzip: sending.unpacked.is_some(),
        upload: None,
        hash: None,
        created_at: existing.map_or(now, |existing| existing.created_at),
        changed_at: now,
    }
}

async fn check_room(
    unit: &mut Unit<'_>,
    sending: &Sending,
    existing: Option<&ContainerFile>,
) -> Result<(), Failure> {
    let limits = unit.service().settings.limits;
    let (files, bytes) = artifacts::usage(unit.conn(), sending.build).await?;
    if existing.is_none() && files >= limits.artifact_files {
        return Err(limits::too_many("a run", "files in artifacts", limits.artifact_files).into());
    }
    let others = bytes - existing.map_or(0, |existing| existing.bytes);
    let most = limits.artifact_bytes;
    if sending.bytes() > limits.artifact_file_bytes {
        let most = limits.artifact_file_bytes;
        return Err(limits::too_large("a file of an artifact", most).into());
    }
    if others + sending.bytes() > most {
        return Err(limits::too_large("the artifacts of a run", most).into());
    }
    Ok(())
}

/// The run of a container, or the refusal that says that it is not there.
pub async fn existing_run(conn: &mut Conn, build: BuildId) -> Result<Plan, Failure> {
    let plan = plans::by_build(conn, build).await?;
    Ok(plan.ok_or_else(|| {
        Refusal::new(
            Kind::NotFound,
            format!("there is no run {build}, and so no container of it"),
        )
    })?)
}

/// The run of a container, for a caller who may read it.
pub async fn readable_run(
    conn: &mut Conn,
    caller: &Caller,
    build: BuildId,
) -> Result<Plan, Failure> {
    let plan = plans::by_build(conn, build).await?;
    require_run_reader(caller, plan.as_ref().map(|plan| plan.project))?;
    match plan {
        Some(plan) => Ok(plan),
        None => existing_run(conn, build).await,
    }
}

fn no_item(build: BuildId, path: &str) -> Refusal {
    Refusal::new(
        Kind::NotFound,
        format!("container {build} has nothing at {path:?}"),
    )
}
