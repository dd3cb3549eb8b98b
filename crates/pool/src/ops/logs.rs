//! Stored logs: make, append, read by lines.

use super::plans::{PlanPath, existing_plan, running_in_plan};
use crate::rules::access::{Caller, require_plan_reader, require_plan_writer};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::{limits, log, timeline};
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::logs::{self, Log};
use dayfly_wire::ids::{LogId, PlanId};
use dayfly_wire::log::LogReference;

const MAX_PATH: usize = 400;
const MAX_LOGS: i64 = 10_000;
/// A stored piece is at most this long, so that reading a log takes little memory.
const CHUNK: usize = 256 * 1024;

/// Where reading a log has come to.
#[derive(Clone, Debug)]
pub struct Cursor {
    plan: PlanId,
    log: LogId,
    chunk: i64,
    start: i64,
    end: i64,
}

impl Service {
    /// Makes an empty log.
    pub async fn create_log(
        &self,
        caller: &Caller,
        path: &PlanPath,
        draft: LogReference,
    ) -> Result<LogReference, Failure> {
        let claims = require_plan_writer(caller, path.plan)?;
        let mut unit = self.begin().await?;
        running_in_plan(&mut unit, path, claims).await?;
        let name: String = draft
            .path
            .unwrap_or_default()
            .chars()
            .take(MAX_PATH)
            .collect();
        let now = unit.now;
        let log = logs::create(unit.conn(), path.plan, claims.job, name, now).await?;
        if log.id.0 > MAX_LOGS {
            return Err(limits::too_many("a plan", "logs", MAX_LOGS).into());
        }
        unit.commit().await?;
        Ok(log.document())
    }

    /// Appends to a log of the token's job.
    pub async fn append_log(
        &self,
        caller: &Caller,
        path: &PlanPath,
        id: LogId,
        text: &[u8],
    ) -> Result<LogReference, Failure> {
        let claims = require_plan_writer(caller, path.plan)?;
        let mut unit = self.begin().await?;
        running_in_plan(&mut unit, path, claims).await?;
        let mut log = existing_log(unit.conn(), path.plan, id).await?;
        timeline::check_maker(claims.job, log.job, &format!("log {id}"))?;
        let most = self.settings.limits.log_bytes;
        if log.bytes + i64::try_from(text.len()).unwrap_or(i64::MAX) > most {
            return Err(limits::too_large("a log", most).into());
        }
        let now = unit.now;
        // NUL is no text for every database.
        let text = String::from_utf8_lossy(text).replace('\0', "\u{fffd}");
        for piece in pieces(&text) {
            let ends = log::line_ends(piece);
            logs::append(unit.conn(), path.plan, &mut log, piece, ends, now).await?;
        }
        unit.commit().await?;
        Ok(log.document())
    }

    /// A plan's logs.
    pub async fn logs(
        &self,
        caller: &Caller,
        path: &PlanPath,
    ) -> Result<Vec<LogReference>, Failure> {
        require_plan_reader(caller, path.plan)?;
        let mut conn = self.store.read().await?;
        existing_plan(&mut conn, path).await?;
        let all = logs::all(&mut conn, path.plan).await?;
        Ok(all.iter().map(Log::document).collect())
    }

    /// Begins reading lines `start` to `end` (from 1, both included) of a log.
    pub async fn open_log(
        &self,
        caller: &Caller,
        path: &PlanPath,
        id: LogId,
        start: i64,
        end: i64,
    ) -> Result<Cursor, Failure> {
        require_plan_reader(caller, path.plan)?;
        let mut conn = self.store.read().await?;
        existing_plan(&mut conn, path).await?;
        existing_log(&mut conn, path.plan, id).await?;
        Ok(Cursor {
            plan: path.plan,
            log: id,
            chunk: 0,
            start,
            end,
        })
    }

    /// The next piece of text, until there is none.
    pub async fn read_log(&self, cursor: &mut Cursor) -> Result<Option<String>, Failure> {
        let mut conn = self.store.read().await?;
        let found = logs::next_chunk(
            &mut conn,
            cursor.plan,
            cursor.log,
            cursor.chunk,
            cursor.start,
            cursor.end,
        )
        .await?;
        Ok(found.map(|(number, chunk)| {
            cursor.chunk = number + 1;
            log::range(&chunk.content, chunk.first_line, cursor.start, cursor.end)
        }))
    }
}

async fn existing_log(conn: &mut Conn, plan: PlanId, id: LogId) -> Result<Log, Failure> {
    let log = logs::find(conn, plan, id).await?;
    Ok(log.ok_or_else(|| Refusal::new(Kind::NotFound, format!("plan {plan} has no log {id}")))?)
}

/// Cuts text into pieces that are not too long, at ends of lines where there are any.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let window = rest.floor_char_boundary(CHUNK.min(rest.len()));
        let cut = if window == rest.len() {
            window
        } else {
            rest.as_bytes()
                .iter()
                .take(window)
                .rposition(|byte| *byte == b'\n')
                .map_or(window, |position| position + 1)
        };
        let (piece, remainder) = rest.split_at(cut);
        rest = remainder;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_short_and_lose_nothing() {
        let text = "ä".repeat(CHUNK) + "\n" + &"line\n".repeat(100_000);
        let cut: Vec<_> = pieces(&text).collect();
        assert!(cut.len() > 2);
        assert!(cut.iter().all(|piece| piece.len() <= CHUNK));
        assert_eq!(cut.concat(), text);
    }
}
