//! A sealed segment read from wherever its bytes are: memory, a pipe, an object store.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;

use super::OwnedRecord;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::frame::{self, Head, Kind, Place};
use crate::format::header::{self, Identity, Refusal};
use crate::format::{self, DATA_START, END_ROOM};
use crate::segment::scan::{Bytes, Scan, Step, Stop, Why};
use crate::segment::verdict::{Says, Verdict, cut_of, verdict};

/// Asked of the source at once.
const CHUNK: usize = 64 << 10;

/// Who a segment is, by its header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentIdentity {
    /// The log's random id, as 32 hexadecimal digits.
    pub log_id: String,
    /// Its number.
    pub id: u64,
    /// LSN of its first byte.
    pub base: Lsn,
    /// Bytes of the file.
    pub size: u64,
    /// Random number of this life of the file.
    pub salt: u64,
}

/// How a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentEnd {
    /// Where its records end.
    pub lsn: Lsn,
    /// The id of the segment in which the log went on, if an end frame names it. None: it was sealed by a cut or a
    /// recovery, and the log went on in some later one.
    pub next: Option<u64>,
}

/// The records of one segment, from any source of its bytes: a `&[u8]`, a file, a download. One pass, no seek; it holds one
/// record in memory, or the whole of one batch.
///
/// The bytes are those of the file, from its start; behind the end of the records they are not needed. A segment that was
/// rolled says itself where it ends. One that was sealed by a recovery or by
/// [`truncate_after`](crate::Log::truncate_after) does not: then say so by [`until`](SegmentReader::until), with the
/// [`end`](super::SegmentInfo::end) that the manifest has. Whatever the bytes are, what comes out are
/// whole batches of records with sound checksums, or an error.
///
/// ```
/// use duralog::inspect::SegmentReader;
///
/// let dir = tempfile::tempdir()?;
/// let log = duralog::Log::open(dir.path())?;
/// log.append(b"shipped")?;
/// log.roll()?;
/// log.close()?;
///
/// let bytes = std::fs::read(dir.path().join("0000000000000001.seg"))?;
/// let mut reader = SegmentReader::new("backup/1", &bytes[..])?;
/// while let Some((_lsn, payload)) = reader.next_payload()? {
///     assert_eq!(payload, b"shipped");
/// }
/// assert_eq!(reader.end().and_then(|end| end.next), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SegmentReader<R> {
    name: PathBuf,
    identity: Identity,
    scan: Scan<Stream<R>>,
    /// The frames whose records are whole and come next.
    ready: Range<u64>,
    end: Option<SegmentEnd>,
    failed: bool,
}

impl<R: Read> SegmentReader<R> {
    /// Reads the header. `name` says in errors which bytes these are.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if it is no header of a segment, [`Error::UnsupportedFormat`], [`Error::Io`] if the source fails.
    ///
    /// ```
    /// let error = duralog::inspect::SegmentReader::new("empty", &[][..]).unwrap_err();
    /// assert!(error.is_corrupt());
    /// ```
    pub fn new(name: impl Into<PathBuf>, source: R) -> Result<SegmentReader<R>> {
        let name = name.into();
        let mut stream = Stream {
            source,
            buffer: Vec::new(),
            start: 0,
            keep: 0,
            limit: DATA_START,
            missed: false,
        };
        let damage = |what: &str| Error::corrupt(&name, None, 0, Lsn::MIN..Lsn::MIN, what);
        let first = stream.get(0, header::LEN).map_err(|e| Error::io("read", &name, e))?;
        let identity = Identity::decode(first.unwrap_or(&[])).map_err(|refusal| match refusal {
            Refusal::Damaged(what) => damage(what),
            Refusal::Unsupported { version, features } => {
                Error::UnsupportedFormat { path: name.clone(), version, features }
            }
        })?;
        let Identity { base, size, .. } = identity;
        (stream.limit, stream.keep) = (size, DATA_START);
        let scan = Scan::new(stream, identity.seed(), base, size, None);
        let ready = DATA_START..DATA_START;
        Ok(SegmentReader { name, identity, scan, ready, end: None, failed: false })
    }

    /// The records end at `end`: before the first of them is read.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if no record of this segment can end there.
    ///
    /// ```
    /// use duralog::inspect::{Inspector, SegmentReader};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let keep = log.append(b"kept")?;
    /// log.append(b"cut")?;
    /// log.truncate_after(keep)?;
    /// log.close()?;
    ///
    /// let sealed = Inspector::open(dir.path())?.summary().segments[0].clone();
    /// let bytes = std::fs::read(dir.path().join(&sealed.file))?;
    /// let reader = SegmentReader::new(&sealed.file, &bytes[..])?.until(sealed.end.unwrap())?;
    /// assert_eq!(reader.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn until(mut self, end: Lsn) -> Result<SegmentReader<R>> {
        let Identity { base, size, .. } = self.identity;
        let (head, last) = (base + DATA_START, base + size - END_ROOM);
        let lsn = end.get();
        if !(head..=last).contains(&lsn) || lsn % format::ALIGN != 0 {
            return Err(Error::OutOfRange { lsn: end, head: Lsn::new(head), end: Lsn::new(last) });
        }
        self.scan.bound = Some(lsn - base);
        Ok(self)
    }

    /// Who the segment is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let file = std::fs::File::open(dir.path().join("0000000000000001.seg"))?;
    /// let reader = duralog::inspect::SegmentReader::new("1", file)?;
    /// assert_eq!(reader.identity().id, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn identity(&self) -> SegmentIdentity {
        let Identity { log_id, id, base, size, salt } = self.identity;
        let log_id = log_id.iter().map(|byte| format!("{byte:02x}")).collect();
        SegmentIdentity { log_id, id, base: Lsn::new(base), size, salt }
    }

    /// How the segment ended; none before its last record has been passed, and after an error.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let file = std::fs::File::open(dir.path().join("0000000000000001.seg"))?;
    /// let mut reader = duralog::inspect::SegmentReader::new("1", file)?;
    /// // The log was closed, and may yet go on in this segment.
    /// assert!(reader.next_payload().unwrap_err().is_corrupt());
    /// assert_eq!(reader.end(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn end(&self) -> Option<SegmentEnd> {
        self.end
    }

    /// The next record's LSN and payload; None at the end of the segment. The payload is held until the next call;
    /// the iterator gives copies.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where a record should be and none is sound, which says why: damage, a source that ends too
    /// early, a batch that is not whole, a segment that does not say where it ends. [`Error::Io`] if the source fails.
    /// After an error there are no more records.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// # log.append(b"one")?;
    /// # log.roll()?;
    /// # log.close()?;
    /// # let bytes = std::fs::read(dir.path().join("0000000000000001.seg"))?;
    /// let mut reader = duralog::inspect::SegmentReader::new("1", &bytes[..])?;
    /// assert_eq!(reader.next_payload()?.map(|(_lsn, payload)| payload), Some(&b"one"[..]));
    /// assert_eq!(reader.next_payload()?, None);
    /// assert!(reader.end().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_payload(&mut self) -> Result<Option<(Lsn, &[u8])>> {
        if self.failed {
            return Ok(None);
        }
        let next = self.advance();
        self.failed = next.is_err();
        let Some((offset, head)) = next? else { return Ok(None) };
        let name = &self.name;
        let payload = self.scan.payload(offset, head).map_err(|e| Error::io("read", name, e))?;
        Ok(Some((Lsn::new(self.identity.base + offset), payload)))
    }

    /// Where the next record is.
    fn advance(&mut self) -> Result<Option<(u64, Head)>> {
        while self.ready.is_empty() && self.end.is_none() {
            let step = self.scan.step().map_err(|e| Error::io("read", &self.name, e))?;
            match step {
                Step::Frame { offset, head } => {
                    let end = offset + head.frame_len();
                    let kept = self.scan.window.keep;
                    match head.kind {
                        // The batch began where the last frame ended.
                        Kind::Record => self.ready = kept..end,
                        Kind::Part => {}
                        Kind::Mark | Kind::End | Kind::Note => self.scan.window.keep = end,
                    }
                }
                Step::Stopped(stop) => self.stopped(&stop)?,
            }
        }
        if self.ready.is_empty() {
            return Ok(None);
        }
        let (offset, name) = (self.ready.start, &self.name);
        let Identity { base, size, .. } = self.identity;
        let place = Place { seed: 0, base, size, offset };
        let first = self.scan.window.get(offset, 8).map_err(|e| Error::io("read", name, e))?;
        let head = first.and_then(|first| frame::head(*first.first_chunk()?, place));
        let Some(head) = head else { return Ok(None) };
        self.ready.start = offset + head.frame_len();
        // Only for the next read: this one's payload is still there to be lent.
        self.scan.window.keep = self.ready.start;
        Ok(Some((offset, head)))
    }

    fn stopped(&mut self, stop: &Stop) -> Result<()> {
        let Identity { id, base, size, .. } = self.identity;
        let io = |e| Error::io("read", &self.name, e);
        let what = match (self.scan.bound, stop.why) {
            (Some(_), _) => match verdict(Says::Bounded, stop, false) {
                Verdict::Damage { what, .. } => what,
                _ => {
                    let next = self.scan.end_frame().map_err(io)?;
                    self.end = Some(SegmentEnd { lsn: Lsn::new(base + stop.at), next });
                    return Ok(());
                }
            },
            (None, Why::End { next }) if stop.open_batch.is_none() => {
                self.end = Some(SegmentEnd { lsn: Lsn::new(base + stop.at), next: Some(next) });
                return Ok(());
            }
            (None, _) if stop.open_batch.is_some() => "a batch is not complete",
            (None, _) => "there is no valid frame, and nothing says that the segment ends here",
        };
        let what = if self.scan.window.missed {
            format!("{what}: the bytes end here")
        } else {
            what.to_owned()
        };
        let until = base + self.scan.bound.unwrap_or(size);
        let from = base + cut_of(stop);
        let lsns = Lsn::new(from)..Lsn::new(until.max(from));
        Err(Error::corrupt(&self.name, Some(id), stop.at, lsns, what))
    }
}

/// What a walk needs of a source that is read once.
struct Stream<R> {
    source: R,
    buffer: Vec<u8>,
    /// Offset of the first byte in the buffer.
    start: u64,
    /// What is below is not needed any more.
    keep: u64,
    /// Nothing behind is a part of the segment.
    limit: u64,
    /// The last look found that the source has ended before.
    missed: bool,
}

impl<R: Read> Bytes for Stream<R> {
    fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let Some(end) = offset.checked_add(len as u64).filter(|end| *end <= self.limit) else {
            self.missed = false;
            return Ok(None);
        };
        let behind = self.start + self.buffer.len() as u64;
        if end > behind {
            let done = self.keep.min(offset).saturating_sub(self.start);
            let done = usize::try_from(done).unwrap_or(0).min(self.buffer.len());
            self.buffer.drain(..done);
            self.start += done as u64;
            let want = (end - behind).max(CHUNK as u64).min(self.limit - behind);
            // The buffer grows with what comes, not with what a length says.
            self.source.by_ref().take(want).read_to_end(&mut self.buffer)?;
        }
        let from = offset.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let bytes = from.and_then(|from| self.buffer.get(from..from.checked_add(len)?));
        self.missed = bytes.is_none();
        Ok(bytes)
    }
}

impl<R: Read> Iterator for SegmentReader<R> {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Result<OwnedRecord>> {
        let next = self.next_payload().transpose()?;
        Some(next.map(|(lsn, payload)| OwnedRecord { lsn, payload: payload.to_vec() }))
    }
}

impl<R: Read> std::iter::FusedIterator for SegmentReader<R> {}

impl<R> fmt::Debug for SegmentReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SegmentReader { name, identity, end, .. } = self;
        f.debug_struct("SegmentReader")
            .field("name", name)
            .field("identity", identity)
            .field("end", end)
            .finish_non_exhaustive()
    }
}
