//! Logs as answers: as text, or as a list of lines. Piece by piece: a slow reader holds one piece in memory, not the
//! log.

use super::App;
use super::reply::{json, streamed};
use crate::ops::logs::Cursor;
use crate::rules::log::LineList;
use crate::service::Failure;
use axum::body::Body;
use axum::response::Response;
use futures::stream;
use http::header::CONTENT_TYPE;

/// A log as plain text.
pub(super) fn text(app: App, cursor: Cursor) -> Response {
    let pieces = stream::try_unfold((app, cursor), |(app, mut cursor)| async move {
        let piece = app.read_log(&mut cursor).await?;
        Ok::<_, Failure>(piece.map(|piece| (piece, (app, cursor))))
    });
    streamed(
        Response::builder().header(CONTENT_TYPE, "text/plain; charset=utf-8"),
        Body::from_stream(pieces),
    )
}

/// A log as the document that is the list of its lines.
pub(super) fn lines(app: App, cursor: Cursor) -> Response {
    let begun = (app, cursor, Some(LineList::default()));
    let pieces = stream::try_unfold(begun, |(app, mut cursor, lines)| async move {
        let Some(mut lines) = lines else {
            return Ok::<_, Failure>(None);
        };
        let piece = match app.read_log(&mut cursor).await? {
            Some(text) => lines.push(&text),
            None => return Ok(Some((lines.end(), (app, cursor, None)))),
        };
        Ok(Some((piece, (app, cursor, Some(lines)))))
    });
    streamed(
        Response::builder().header(CONTENT_TYPE, json()),
        Body::from_stream(pieces),
    )
}
