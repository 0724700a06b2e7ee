//! The same error once more: [`std::io::Error`] and the errors of codecs cannot be cloned.

use std::io;
use std::sync::Arc;

use super::Error;

impl Error {
    /// An error that says the same. A codec's own error is kept by its words.
    pub(crate) fn copy(&self) -> Error {
        match self {
            Error::Io { op, path, source } => {
                Error::Io { op, path: path.clone(), source: copy_io(source) }
            }
            Error::Corrupt(damage) => Error::Corrupt(damage.clone()),
            Error::Locked { dir } => Error::Locked { dir: dir.clone() },
            Error::Linked { path, links } => Error::Linked { path: path.clone(), links: *links },
            Error::Removed { path } => Error::Removed { path: path.clone() },
            Error::Poisoned { cause } => Error::Poisoned { cause: Arc::clone(cause) },
            Error::Full { limit, op, path, source } => {
                Error::Full { limit: *limit, op, path: path.clone(), source: copy_io(source) }
            }
            &Error::RecordTooLarge { len, max } => Error::RecordTooLarge { len, max },
            &Error::BatchTooLarge { len, max } => Error::BatchTooLarge { len, max },
            &Error::OutOfRange { lsn, head, end } => Error::OutOfRange { lsn, head, end },
            &Error::NotARecord { lsn } => Error::NotARecord { lsn },
            &Error::InsideBatch { lsn } => Error::InsideBatch { lsn },
            &Error::Gone { lsn, head } => Error::Gone { lsn, head },
            &Error::NotDurable { lsn, durable } => Error::NotDurable { lsn, durable },
            Error::NotALog { dir, found } => {
                Error::NotALog { dir: dir.clone(), found: found.clone() }
            }
            Error::NoLog { dir } => Error::NoLog { dir: dir.clone() },
            Error::UnsupportedFormat { path, version, features } => Error::UnsupportedFormat {
                path: path.clone(),
                version: *version,
                features: *features,
            },
            Error::InvalidOption { option, value, range } => {
                Error::InvalidOption { option, value: *value, range: range.clone() }
            }
            Error::InvalidConsumer { name } => Error::InvalidConsumer { name: name.clone() },
            &Error::MetadataTooLarge { len } => Error::MetadataTooLarge { len },
            Error::Encode { source } => Error::Encode { source: source.to_string().into() },
            Error::Decode { lsn, schema, source } => {
                Error::Decode { lsn: *lsn, schema: *schema, source: source.to_string().into() }
            }
            Error::Panicked { thread, message } => {
                Error::Panicked { thread: thread.clone(), message: message.clone() }
            }
            Error::Closed => Error::Closed,
            Error::Forked => Error::Forked,
            Error::Cancelled => Error::Cancelled,
        }
    }
}

fn copy_io(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
