//! How requests and answers travel between the agent and the step host.
//!
//! A frame is two little-endian 32-bit lengths, a JSON header of the first length, and raw bytes of the second.
//! Either side may be hostile to the other: a length beyond the bounds ends the connection before anything is
//! buffered for it, and so does a header that does not parse.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use tokio_util::codec::{Decoder, Encoder};

/// How long the parts of a frame may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The header, in bytes.
    pub header: usize,
    /// The payload, in bytes.
    pub payload: usize,
}

/// Between agent and step host: a process with its whole environment, a piece of a file.
pub const STEP_HOST: Limits = Limits {
    header: 4 << 20,
    payload: 4 << 20,
};

const LENGTHS: usize = 8;

impl Limits {
    /// Whether a header can be sent.
    pub(crate) fn has_room_for(self, header: &impl Serialize) -> bool {
        let mut counted = Counted(0);
        serde_json::to_writer(&mut counted, header).is_ok() && counted.0 <= self.header
    }
}

/// Counts what is written, and keeps nothing of it.
struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A header and the bytes that belong to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<H> {
    /// What it is about.
    pub header: H,
    /// Raw bytes: output, or a file's content.
    pub payload: Bytes,
}

/// Why the connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A length beyond the bounds.
    #[error("a frame of {header} + {payload} bytes is beyond the bounds")]
    TooLong {
        /// The header's length.
        header: usize,
        /// The payload's length.
        payload: usize,
    },
    /// A header that does not parse. Its content is not repeated, it may hold secrets.
    #[error("a frame's header does not parse")]
    Header,
    /// The connection broke inside a frame, or otherwise.
    #[error("the connection broke")]
    Broken(#[from] std::io::Error),
}

/// Reads frames with headers `In`, writes frames with headers `Out`.
pub struct FrameCodec<In, Out> {
    limits: Limits,
    headers: PhantomData<fn(Out) -> In>,
}

impl<In, Out> FrameCodec<In, Out> {
    /// Frames within these limits, in both directions.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            headers: PhantomData,
        }
    }
}

impl<In: DeserializeOwned, Out> Decoder for FrameCodec<In, Out> {
    type Item = Frame<In>;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame<In>>, FrameError> {
        let Some((header, payload)) = lengths(buffer, self.limits)? else {
            return Ok(None);
        };
        let whole = LENGTHS + header + payload;
        if buffer.len() < whole {
            buffer.reserve(whole - buffer.len());
            return Ok(None);
        }
        buffer.advance(LENGTHS);
        let text = buffer.split_to(header);
        let payload = buffer.split_to(payload).freeze();
        let header = serde_json::from_slice(&text).map_err(|_| FrameError::Header)?;
        Ok(Some(Frame { header, payload }))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame<In>>, FrameError> {
        match self.decode(buffer)? {
            Some(frame) => Ok(Some(frame)),
            None if buffer.is_empty() => Ok(None),
            None => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

impl<In, Out: Serialize> Encoder<Frame<Out>> for FrameCodec<In, Out> {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame<Out>, buffer: &mut BytesMut) -> Result<(), FrameError> {
        let header = serde_json::to_vec(&frame.header).map_err(|_| FrameError::Header)?;
        let too_long = || FrameError::TooLong {
            header: header.len(),
            payload: frame.payload.len(),
        };
        if header.len() > self.limits.header || frame.payload.len() > self.limits.payload {
            return Err(too_long());
        }
        let length = |length: usize| u32::try_from(length).map_err(|_| too_long());
        buffer.reserve(LENGTHS + header.len() + frame.payload.len());
        buffer.put_u32_le(length(header.len())?);
        buffer.put_u32_le(length(frame.payload.len())?);
        buffer.put_slice(&header);
        buffer.put_slice(&frame.payload);
        Ok(())
    }
}

/// The two lengths, checked; `None` until both are there.
fn lengths(buffer: &BytesMut, limits: Limits) -> Result<Option<(usize, usize)>, FrameError> {
    let Some(mut start) = buffer.get(..LENGTHS) else {
        return Ok(None);
    };
    let read = |length: u32| usize::try_from(length).unwrap_or(usize::MAX);
    let (header, payload) = (read(start.get_u32_le()), read(start.get_u32_le()));
    if header > limits.header || payload > limits.payload {
        return Err(FrameError::TooLong { header, payload });
    }
    Ok(Some((header, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codec() -> FrameCodec<String, String> {
        FrameCodec::new(STEP_HOST)
    }

    fn encoded(header: &str, payload: &'static [u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        let frame = Frame {
            header: header.to_owned(),
            payload: Bytes::from_static(payload),
        };
        codec().encode(frame, &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn a_frame_arrives_whole_however_it_is_cut() {
        let bytes = encoded("hällo", b"payload");
        for cut in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..cut]);
            assert!(codec().decode(&mut buffer).unwrap().is_none());
            buffer.extend_from_slice(&bytes[cut..]);
            let frame = codec().decode(&mut buffer).unwrap().unwrap();
            assert_eq!(
                (&*frame.header, &*frame.payload),
                ("hällo", &b"payload"[..])
            );
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_length_beyond_the_bounds_is_refused_before_it_is_buffered() {
        for (header, payload) in [(u32::MAX, 0), (0, u32::MAX), (4 << 20, (4 << 20) + 1)] {
            let mut buffer = BytesMut::new();
            buffer.put_u32_le(header);
            buffer.put_u32_le(payload);
            let error = codec().decode(&mut buffer).unwrap_err();
            assert!(matches!(error, FrameError::TooLong { .. }), "{error}");
            assert!(buffer.capacity() < 4096);
        }
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error_and_between_frames_is_not() {
        let bytes = encoded("x", b"yz");
        let mut part = BytesMut::from(&bytes[..bytes.len() - 1]);
        assert!(matches!(
            codec().decode_eof(&mut part),
            Err(FrameError::Broken(_))
        ));
        assert!(matches!(codec().decode_eof(&mut BytesMut::new()), Ok(None)));
    }

    #[test]
    fn a_header_that_is_no_json_is_refused() {
        let mut buffer = encoded("x", b"");
        buffer[LENGTHS] = b'{';
        assert!(matches!(
            codec().decode(&mut buffer),
            Err(FrameError::Header)
        ));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut codec = FrameCodec::<super::super::protocol::Request, ()>::new(STEP_HOST);
            while let Ok(Some(_)) = codec.decode(&mut buffer) {}
        }
    }
}
