//! Large files: how they are named, and what to answer to a batch of them.

use super::limits::{Limits, too_large, too_many};
use super::refusal::{Kind, Refusal};
use dayfly_wire::lfs::{
    Action, Actions, BASIC, Batch, BatchAnswer, Object, ObjectAnswer, ObjectError, Operation,
};
use std::fmt;

const MAX_OBJECTS: usize = 1000;
const SHA256: &str = "sha256";

/// The name of a large file: as many digits as a SHA-256 has, so that it can stand in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectId(String);

impl ObjectId {
    /// Reads a name; only lower-case hexadecimal digits count.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Refuses a batch that nobody could answer.
pub fn check(batch: &Batch) -> Result<(), Refusal> {
    if batch.objects.len() > MAX_OBJECTS {
        return Err(too_many("a batch", "objects", MAX_OBJECTS));
    }
    if let Some(other) = &batch.hash_algo
        && other != SHA256
    {
        return Err(Refusal::invalid(
            "hash_algo: objects are named by their sha256 here",
        ));
    }
    if !batch.transfers.is_empty() && !batch.transfers.iter().any(|known| known == BASIC) {
        return Err(Refusal::invalid("transfers: only basic is served here"));
    }
    Ok(())
}

/// What the client is to do; `kept` tells an object's length where there is one, `room` how many bytes the
/// repository may still take, `base_url` where objects lie.
pub fn answer(
    batch: &Batch,
    kept: impl Fn(&ObjectId) -> Option<i64>,
    room: i64,
    limits: &Limits,
    base_url: &str,
) -> BatchAnswer {
    let one = |object: &Object| {
        let decided = ObjectId::parse(&object.oid)
            .ok_or_else(|| refused(422, "oid: 64 lower-case hexadecimal digits"))
            .and_then(|id| {
                let here = kept(&id).is_some_and(|size| size == object.size);
                let action = Action {
                    href: format!("{base_url}/{id}"),
                };
                match batch.operation {
                    Operation::Download if here => Ok(Some(Actions::Download(action))),
                    Operation::Download => Err(refused(404, "there is no such object")),
                    Operation::Upload if here => Ok(None),
                    Operation::Upload => {
                        check_size(object.size, room, limits)
                            .map_err(|refusal| refused(422, &refusal.message))?;
                        Ok(Some(Actions::Upload(action)))
                    }
                }
            });
        let (actions, error) = match decided {
            Ok(actions) => (actions, None),
            Err(error) => (None, Some(error)),
        };
        ObjectAnswer {
            object: object.clone(),
            actions,
            error,
        }
    };
    BatchAnswer {
        transfer: BASIC,
        objects: batch.objects.iter().map(one).collect(),
        hash_algo: SHA256,
    }
}

fn refused(code: u16, message: &str) -> ObjectError {
    ObjectError {
        code,
        message: message.to_owned(),
    }
}

/// Whether a repository takes an object of this length.
pub fn check_size(size: i64, room: i64, limits: &Limits) -> Result<(), Refusal> {
    if size < 0 {
        return Err(Refusal::invalid("size: less than nothing"));
    }
    if size > limits.large_file_bytes {
        return Err(too_large("a large file", limits.large_file_bytes));
    }
    if size > room {
        return Err(Refusal::new(
            Kind::TooLarge,
            format!("the repository takes {room} more bytes; remove what it does not need"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn batch(operation: Operation, oid: &str, size: i64) -> Batch {
        Batch {
            operation,
            transfers: vec!["basic".to_owned()],
            objects: vec![Object {
                oid: oid.to_owned(),
                size,
            }],
            hash_algo: None,
        }
    }

    fn answered(batch: &Batch) -> ObjectAnswer {
        let kept = |id: &ObjectId| (id.to_string() == HERE).then_some(3);
        let limits = Limits {
            large_file_bytes: 50,
            ..Limits::default()
        };
        let answer = answer(batch, kept, 20, &limits, "http://h/objects");
        answer.objects.into_iter().next().unwrap()
    }

    #[test]
    fn what_is_here_is_fetched_and_not_sent_again() {
        let place = Action {
            href: format!("http://h/objects/{HERE}"),
        };
        let download = answered(&batch(Operation::Download, HERE, 3));
        assert_eq!(download.actions, Some(Actions::Download(place)));
        let upload = answered(&batch(Operation::Upload, HERE, 3));
        assert_eq!((upload.actions, upload.error), (None, None));
    }

    #[test]
    fn what_is_not_here_is_sent_and_not_fetched() {
        let other = "0".repeat(64);
        let download = answered(&batch(Operation::Download, &other, 3));
        assert_eq!(download.error.map(|error| error.code), Some(404));
        let upload = answered(&batch(Operation::Upload, &other, 3));
        assert!(matches!(upload.actions, Some(Actions::Upload(_))));
        let other_length = answered(&batch(Operation::Download, HERE, 4));
        assert_eq!(other_length.error.map(|error| error.code), Some(404));
    }

    #[test]
    fn what_cannot_be_taken_says_why() {
        for (oid, size, word) in [
            ("../../config", 3, "digits"),
            (&HERE.to_uppercase(), 3, "digits"),
            (&"0".repeat(64), 51, "50 bytes"),
            (&"0".repeat(64), 21, "20 more bytes"),
            (&"0".repeat(64), -1, "less than nothing"),
        ] {
            let error = answered(&batch(Operation::Upload, oid, size))
                .error
                .unwrap();
            assert_eq!(error.code, 422);
            assert!(error.message.contains(word), "{}", error.message);
        }
    }

    #[test]
    fn batches_that_nobody_could_answer_are_refused() {
        let mut other = batch(Operation::Upload, HERE, 3);
        other.transfers = vec!["ssh".to_owned()];
        assert!(check(&other).is_err());
        other.transfers.clear();
        assert!(check(&other).is_ok());
        other.hash_algo = Some("sha512".to_owned());
        assert!(check(&other).is_err());
    }
}
