//! writeahead with its default options: single records through `WriteHandle::write`, whose writer thread commits all
//! that wait as one group; batches through `write_batch`. It has no append without a sync, so buffered records gather
//! until they are as large a batch as it takes, and one batch is written while the next gathers.
//! It syncs: `commit_group` (writer.rs) calls `sync_data` once for each group, and then it answers.

use std::mem;
use std::path::Path;
use std::task::Poll;

use futures::executor::block_on;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, poll};
use parking_lot::Mutex;
use writeahead::{WriteAhead, WriteAheadOptions, WriteHandle};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "writeahead", version: "0.4.1", open };

/// What it takes as one batch by default, and what each record adds to its payload.
const BATCH: usize = 4 << 20;
const HEAD: usize = 20;

struct Log {
    wal: WriteAhead,
    writer: WriteHandle,
    buffer: Mutex<Buffer>,
}

#[derive(Default)]
struct Buffer {
    records: Vec<Vec<u8>>,
    len: usize,
    /// The batch before, which the writer thread has.
    sent: Option<BoxFuture<'static, Outcome<()>>>,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let mut wal = WriteAhead::with_options(WriteAheadOptions {
        log_dir: dir.into(),
        max_batch_bytes: BATCH,
        ..WriteAheadOptions::default()
    });
    wal.start()?;
    Ok(Box::new(Log { writer: wal.writer()?, wal, buffer: Mutex::default() }))
}

impl Buffer {
    fn send(&mut self, writer: &WriteHandle) -> Outcome<()> {
        self.wait()?;
        let (records, writer) = (mem::take(&mut self.records), writer.clone());
        self.len = 0;
        let mut sent = async move { Ok(writer.write_batch(records).await.map(drop)?) }.boxed();
        // The first poll gives it to the writer thread.
        match block_on(async { poll!(&mut sent) }) {
            Poll::Ready(written) => written,
            Poll::Pending => {
                self.sent = Some(sent);
                Ok(())
            }
        }
    }

    fn wait(&mut self) -> Outcome<()> {
        self.sent.take().map_or(Ok(()), block_on)
    }
}

impl Peer for Log {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        block_on(self.writer.write(record.to_vec()))?;
        Ok(())
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        block_on(self.writer.write_batch(records.iter().map(|record| record.to_vec()).collect()))?;
        Ok(())
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut buffer = self.buffer.lock();
        if buffer.len + HEAD + record.len() > BATCH {
            buffer.send(&self.writer)?;
        }
        buffer.len += HEAD + record.len();
        buffer.records.push(record.to_vec());
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        let mut buffer = self.buffer.lock();
        buffer.send(&self.writer)?;
        buffer.wait()
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let mut stream = self.wal.create_stream()?;
        block_on(async {
            while let Some(entry) = stream.next().await {
                each(&entry?.1);
            }
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        // What is left ends with the handles.
        self.sync()
    }
}
