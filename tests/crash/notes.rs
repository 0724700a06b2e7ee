//! What the log must keep beside the records, whatever happens: metadata, consumers, what has been archived.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use duralog::{Log, Lsn};

use super::model::End;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Metadata,
    Archived,
    Consumer(u8),
}

/// Its bytes, or the eight of an LSN; empty if there is none.
type Value = Vec<u8>;

/// What was said of one of them, the oldest first that a crash may leave; and where, if that is known.
#[derive(Clone, Debug)]
struct Said {
    versions: Vec<(Option<Lsn>, Value)>,
    /// A crash leaves this one or a later.
    owed: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Told(BTreeMap<Key, Said>);

/// A consumer stands no further than at a cut, and no lower than where all begins anew.
fn moved(key: &Key, value: &Value, to: &RangeInclusive<Lsn>) -> Value {
    match (key, position(value)) {
        (Key::Consumer(_), Some(at)) => {
            at.clamp(*to.start(), *to.end()).get().to_le_bytes().to_vec()
        }
        _ => value.clone(),
    }
}

fn position(value: &Value) -> Option<Lsn> {
    <[u8; 8]>::try_from(&value[..]).ok().map(u64::from_le_bytes).map(Lsn::new)
}

pub(crate) fn name(number: u8) -> String {
    format!("consumer {number}")
}

fn value(log: &Log, key: &Key) -> Value {
    let lsn = |lsn: Option<Lsn>| lsn.map_or(Vec::new(), |lsn| lsn.get().to_le_bytes().to_vec());
    match key {
        Key::Metadata => log.metadata().unwrap(),
        Key::Archived => lsn(log.archived().unwrap()),
        Key::Consumer(number) => {
            let consumers = log.consumers().unwrap();
            lsn(consumers.iter().find(|c| c.name == name(*number)).map(|c| c.position))
        }
    }
}

impl Told {
    /// It is so now, in the log that is open. `at`: the note's LSN, none if the call failed and it may be or not.
    pub(crate) fn said(&mut self, key: Key, value: Value, at: Option<Lsn>) {
        let nothing = Said { versions: vec![(Some(Lsn::MIN), Vec::new())], owed: 0 };
        self.0.entry(key).or_insert(nothing).versions.push((at, value));
    }

    pub(crate) fn committed_to(&mut self, durable: Lsn) {
        for said in self.0.values_mut() {
            let below = |at: &Option<Lsn>| at.is_some_and(|at| at < durable);
            let owed = said.versions.iter().rposition(|(at, _)| below(at));
            said.owed = said.owed.max(owed.unwrap_or(0));
        }
    }

    /// A cut may be made now: from here on either is so.
    pub(crate) fn cut_asked(&mut self, to: &RangeInclusive<Lsn>) {
        for (key, said) in &mut self.0 {
            let last = said.versions.last().map(|(_, value)| moved(key, value, to));
            said.versions.extend(last.map(|value| (None, value)));
        }
    }

    /// A cut makes all of them durable, and moves the consumers.
    pub(crate) fn cut(&mut self, to: &RangeInclusive<Lsn>) {
        for (key, said) in &mut self.0 {
            let last = said.versions.last().map(|(_, value)| moved(key, value, to));
            *said = Said {
                versions: last.into_iter().map(|value| (Some(Lsn::MIN), value)).collect(),
                owed: 0,
            };
        }
    }

    /// Where a consumer stands at the least, by all that a crash may leave.
    pub(crate) fn slowest(&self, durable: Lsn) -> Option<Lsn> {
        let consumers = self.0.iter().filter(|(key, _)| matches!(key, Key::Consumer(_)));
        let positions = consumers.flat_map(|(_, said)| {
            let below = |(at, _): &(Option<Lsn>, Value)| at.is_some_and(|at| at < durable);
            let from = said.versions.iter().rposition(below).unwrap_or(0);
            said.versions[from..].iter().filter_map(|(_, value)| position(value))
        });
        positions.min()
    }

    /// `last`: the last record that is there; what was said before it is there too. `lost`: the first that is not; nor is
    /// what was said behind it.
    pub(crate) fn found(&mut self, log: &Log, end: End, last: Option<Lsn>, lost: Option<Lsn>) {
        for (key, said) in &mut self.0 {
            let found = value(log, key);
            let before = |at: &Option<Lsn>| at.is_some_and(|at| Some(at) < last);
            let seen = said.versions.iter().rposition(|(at, _)| before(at)).unwrap_or(0);
            let told = said.versions.iter().rposition(|(at, _)| at.is_some()).unwrap_or(0);
            let owed = match end {
                End::PowerCut => said.owed.max(seen),
                End::Kill => told,
                End::Rot | End::RotOfMuch => 0,
            };
            let behind = |at: &Option<Lsn>| at.is_some_and(|at| lost.is_some_and(|lost| lost < at));
            let may: Vec<_> = said.versions[owed..].iter().filter(|(at, _)| !behind(at)).collect();
            assert!(
                may.iter().any(|(_, value)| *value == found),
                "{key:?} is {found:?}, and may be one of {may:?} ({end:?})"
            );
            *said = Said { versions: vec![(Some(Lsn::MIN), found)], owed: 0 };
        }
        // Nothing that no one said.
        let names = log.consumers().unwrap().into_iter().map(|consumer| consumer.name);
        let said = |number| self.0.contains_key(&Key::Consumer(number));
        assert!(names.into_iter().all(|found| (0..=255).any(|n| name(n) == found && said(n))));
        assert!(log.metadata().unwrap().is_empty() || self.0.contains_key(&Key::Metadata));
        assert!(log.archived().unwrap().is_none() || self.0.contains_key(&Key::Archived));
    }
}
