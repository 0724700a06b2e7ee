//! One file a peer.

mod duralog;
mod floor;
mod limit;

#[cfg(feature = "commitlog")]
mod commitlog;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "logdb")]
mod logdb;
#[cfg(feature = "okaywal")]
mod okaywal;
#[cfg(feature = "open-wal")]
mod open_wal;
#[cfg(feature = "raft-engine")]
mod raft_engine;
#[cfg(feature = "raft-log")]
mod raft_log;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rewal")]
mod rewal;
#[cfg(feature = "rusqlite")]
mod sqlite;
#[cfg(feature = "wal-db")]
mod wal_db;
#[cfg(feature = "walrus-rust")]
mod walrus;
#[cfg(feature = "writeahead")]
mod writeahead;

use crate::peer::Entry;

/// duralog first, the floor second, then the peers.
pub fn all() -> Vec<Entry> {
    vec![
        duralog::ENTRY,
        floor::ENTRY,
        #[cfg(feature = "writeahead")]
        writeahead::ENTRY,
        #[cfg(feature = "open-wal")]
        open_wal::ENTRY,
        #[cfg(feature = "rewal")]
        rewal::ENTRY,
        #[cfg(feature = "raft-engine")]
        raft_engine::ENTRY,
        #[cfg(feature = "okaywal")]
        okaywal::ENTRY,
        #[cfg(feature = "wal-db")]
        wal_db::ENTRY,
        #[cfg(feature = "walrus-rust")]
        walrus::ENTRY,
        #[cfg(feature = "logdb")]
        logdb::ENTRY,
        #[cfg(feature = "raft-log")]
        raft_log::ENTRY,
        #[cfg(feature = "commitlog")]
        commitlog::ENTRY,
        #[cfg(feature = "fjall")]
        fjall::ENTRY,
        #[cfg(feature = "redb")]
        redb::ENTRY,
        #[cfg(feature = "rusqlite")]
        sqlite::ENTRY,
    ]
}

/// What is put through faults: all that are logs, and what another setting makes different there.
#[cfg(feature = "faults")]
pub fn for_faults() -> Vec<Entry> {
    let mut entries = all();
    entries.retain(|entry| entry.name != floor::ENTRY.name);
    let others = [
        #[cfg(feature = "wal-db")]
        (wal_db::ENTRY, wal_db::STRICT),
        #[cfg(feature = "walrus-rust")]
        (walrus::ENTRY, walrus::MAPPED),
        #[cfg(feature = "redb")]
        (redb::ENTRY, redb::CHECKED),
    ];
    let others: &[(Entry, Entry)] = &others;
    for (beside, other) in others {
        if let Some(at) = entries.iter().position(|entry| entry.name == beside.name) {
            entries.insert(at + 1, *other);
        }
    }
    #[cfg(feature = "walrus-rust")]
    for entry in entries.iter_mut().filter(|entry| entry.name == walrus::ENTRY.name) {
        *entry = walrus::BY_DEFAULT;
    }
    entries
}

/// Who has a call that gives records back, so that their space is used again.
pub const THAT_GIVE_BACK: [&str; 6] =
    ["duralog", "floor", "open-wal", "raft-engine", "okaywal", "limit-written"];

/// What no log can pass: they only append.
pub fn limits() -> Vec<Entry> {
    vec![limit::WRITTEN, limit::FRESH, limit::NOTHING]
}
