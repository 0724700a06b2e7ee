//! Typed logs: values come back as they went in, and what is no value is an error that says where.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use duralog::typed::{BoxError, UnknownSchema};
use duralog::{Bincode, Codec, Error, Json, Log, Lsn, Options, TypedLog};
use proptest::prelude::*;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// Every shape that serde knows.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Shape {
    Unit,
    New(String),
    Tuple(u8, Option<i64>, [u16; 3]),
    Struct { map: BTreeMap<String, Vec<u32>>, letter: char, flag: bool },
    Nested(Vec<Shape>, Wrapped),
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Wrapped(Box<Option<(f32, ())>>);

fn shapes() -> impl Strategy<Value = Shape> {
    let map =
        prop::collection::btree_map(".{0,8}", prop::collection::vec(any::<u32>(), 0..5), 0..4);
    let leaf = prop_oneof![
        Just(Shape::Unit),
        ".{0,40}".prop_map(Shape::New),
        any::<(u8, Option<i64>, [u16; 3])>().prop_map(|(a, b, c)| Shape::Tuple(a, b, c)),
        (map, any::<char>(), any::<bool>()).prop_map(|(map, letter, flag)| Shape::Struct {
            map,
            letter,
            flag
        }),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let number = prop::option::of((-1000i16..1000).prop_map(|n| (f32::from(n), ())));
        (prop::collection::vec(inner, 0..5), number)
            .prop_map(|(all, number)| Shape::Nested(all, Wrapped(Box::new(number))))
    })
}

fn encoded<T>(codec: &impl Codec<T>, value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    codec.encode(value, &mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn values_come_back_as_they_went_in(values in prop::collection::vec(shapes(), 1..30)) {
        fn check<C: Codec<Shape> + Default>(values: &[Shape]) {
            let dir = tempfile::tempdir().unwrap();
            let open = || {
                let options = Options::new().segment_size(64 << 10);
                TypedLog::<Shape, C>::open_with(options, dir.path()).unwrap()
            };
            let log = open();
            let mut lsns: Vec<Lsn> = values.iter().map(|v| log.append(v).unwrap()).collect();
            lsns.extend(log.append_batch(values).unwrap());
            log.close().unwrap();
            let log = open();
            let all: Vec<(Lsn, Shape)> = log.replay().map(|found| found.unwrap()).collect();
            let expected: Vec<_> =
                lsns.into_iter().zip(values.iter().chain(values).cloned()).collect();
            assert_eq!(all, expected);
            let (last, value) = &expected[expected.len() - 1];
            assert_eq!(&log.read(*last).unwrap(), value);
        }
        check::<Bincode>(&values);
        check::<Json>(&values);
    }
}

proptest! {
    #[test]
    fn a_codec_gives_back_what_it_took(value in shapes()) {
        assert_eq!(Bincode::read::<Shape>(&encoded(&Bincode, &value)).unwrap(), value);
        assert_eq!(Json::read::<Shape>(&encoded(&Json, &value)).unwrap(), value);
    }

    #[test]
    fn p11_any_bytes_are_a_value_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        value in shapes(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        fn check<C: Codec<Shape>>(codec: C, bytes: &[u8], value: &Shape, change: impl FnOnce(&mut Vec<u8>)) {
            drop(codec.decode(0, bytes));
            // What is nearly right gets further.
            let mut bytes = encoded(&codec, value);
            change(&mut bytes);
            if let Ok(other) = codec.decode(0, &bytes) {
                drop(encoded(&codec, &other));
            }
        }
        let change = |bytes: &mut Vec<u8>| {
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(bytes.len() - cut.index(bytes.len()) / 2);
        };
        check(Bincode, &bytes, &value, change);
        check(Json, &bytes, &value, change);
        drop(Json::read::<Value>(&bytes));
        drop(Bincode::read::<(String, BTreeMap<u64, Vec<u8>>, Option<char>)>(&bytes));
    }
}

/// A length in bincode: 64 bits.
fn claims(len: u64) -> Vec<u8> {
    let mut bytes = vec![253];
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes
}

#[test]
fn p11_a_claimed_length_is_not_believed() {
    for len in [u64::MAX, 1 << 62, 1 << 48, 1 << 32] {
        let bytes = claims(len);
        Bincode::read::<String>(&bytes).unwrap_err();
        Bincode::read::<Vec<u8>>(&bytes).unwrap_err();
        Bincode::read::<Vec<Vec<u64>>>(&bytes).unwrap_err();
        Bincode::read::<BTreeMap<String, String>>(&bytes).unwrap_err();
        Bincode::read::<Option<Box<Path>>>(&[&[1], bytes.as_slice()].concat()).unwrap_err();
    }
}

type Path = std::path::Path;

/// Says what it is asked to make room for, and whether its text was there before it was asked to hold it.
#[derive(Debug)]
struct Told {
    hint: Option<usize>,
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Told;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<Told, A::Error> {
                Ok(Told { hint: from.size_hint() })
            }
        }
        from.deserialize_seq(Look)
    }
}

#[derive(Debug)]
struct Borrowed;

impl<'de> Deserialize<'de> for Borrowed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Borrowed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in the record itself")
            }
            fn visit_borrowed_str<E>(self, _: &'de str) -> Result<Borrowed, E> {
                Ok(Borrowed)
            }
            fn visit_borrowed_bytes<E>(self, _: &'de [u8]) -> Result<Borrowed, E> {
                Ok(Borrowed)
            }
        }
        from.deserialize_string(Look)
    }
}

#[test]
fn p11_memory_is_asked_for_once_the_bytes_are_seen() {
    // The rest of the record is what is not read: an error, but behind the look.
    let told = |bytes: &[u8]| Bincode::read::<Told>(bytes);
    assert_eq!(told(&[0]).unwrap().hint, Some(0));
    assert_eq!(told(&claims(1 << 40)).unwrap().hint, Some(9), "as many as there are bytes");
    Bincode::read::<Borrowed>(b"\x03one").unwrap();
    Bincode::read::<Vec<Borrowed>>(b"\x02\x03one\x03two").unwrap();
}

#[test]
fn p11_elements_without_bytes_come_to_an_end() {
    Bincode::read::<Vec<()>>(&claims(1 << 24)).unwrap_err();
    Bincode::read::<Vec<()>>(&claims(u64::MAX)).unwrap_err();
    Bincode::read::<Vec<Vec<()>>>(&[vec![2], claims(1 << 19), claims(1 << 40)].concat())
        .unwrap_err();
    let many = vec![(); 1_000_000];
    assert_eq!(Bincode::read::<Vec<()>>(&encoded(&Bincode, &many)).unwrap(), many);
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Chain(Option<Box<Chain>>);

#[test]
fn p11_nesting_comes_to_an_end() {
    let deep = [vec![1; 300], vec![0]].concat();
    Bincode::read::<Chain>(&deep).unwrap_err();
    Bincode::read::<Chain>(&vec![1; 1 << 20]).unwrap_err();
    Json::read::<Value>(&vec![b'['; 1 << 20]).unwrap_err();
    let fine = [vec![1; 60], vec![0]].concat();
    assert_eq!(encoded(&Bincode, &Bincode::read::<Chain>(&fine).unwrap()), fine);
    // Depth is given back: many values beside one another are not deep.
    let many = vec![(Some(1u8), (2u8,)); 1000];
    assert_eq!(Bincode::read::<Vec<(Option<u8>, (u8,))>>(&encoded(&Bincode, &many)).unwrap(), many);
}

#[test]
fn bytes_behind_a_value_are_not_overlooked() {
    Bincode::read::<u8>(b"12").unwrap_err();
    Json::read::<u8>(b"12 3").unwrap_err();
}

#[test]
fn the_bytes_of_bincode_do_not_change() {
    let value = Shape::Tuple(1, Some(-2), [3, 300, 4]);
    assert_eq!(encoded(&Bincode, &value), [2, 1, 1, 3, 3, 251, 44, 1, 4]);
    assert_eq!(Bincode::read::<Shape>(&[2, 1, 1, 3, 3, 251, 44, 1, 4]).unwrap(), value);
}

#[test]
fn a_record_that_is_no_value_is_an_error_that_says_where_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = TypedLog::<u32>::open(dir.path()).unwrap();
    let one = log.append(&1).unwrap();
    let empty = log.log().append(b"").unwrap();
    let newer = log.log().append(&[9, 1]).unwrap();
    let short = log.log().append(&[0]).unwrap();
    let two = log.append_durable(&2).unwrap();
    let mut found = Vec::new();
    let mut replay = log.replay();
    for next in replay.by_ref() {
        found.push(match next {
            Ok((lsn, value)) => (lsn, Ok(value)),
            Err(Error::Decode { lsn, schema, source }) => {
                let unknown = source.downcast_ref::<UnknownSchema>().copied();
                (lsn, Err((schema, unknown)))
            }
            Err(other) => panic!("{other}"),
        });
    }
    let expected = vec![
        (one, Ok(1)),
        (empty, Err((None, None))),
        (newer, Err((Some(9), Some(UnknownSchema(9))))),
        (short, Err((Some(0), None))),
        (two, Ok(2)),
    ];
    assert_eq!(found, expected);
    assert!(replay.next().is_none());
    let error = log.read(newer).unwrap_err();
    assert!(matches!(&error, Error::Decode { lsn, .. } if *lsn == newer));
    assert_eq!(
        error.to_string(),
        format!("the record at LSN {newer}, of schema 9, cannot be decoded: schema 9 is unknown")
    );
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(log.replay_from(two).unwrap().count(), 1);
    assert_eq!(log.replay_range(one..two).unwrap().filter_map(Result::ok).count(), 1);
    log.close().unwrap();
    let mut replay = log.replay();
    assert!(matches!(replay.next(), Some(Err(Error::Closed))));
    assert!(replay.next().is_none(), "an error of the log is its end");
}

/// A codec that does what it is told.
struct Odd {
    schema: u8,
    replaces: Cell<bool>,
}

impl Codec<u8> for Odd {
    fn schema(&self) -> u8 {
        self.schema
    }
    fn encode(&self, value: &u8, out: &mut Vec<u8>) -> Result<(), BoxError> {
        if *value == 0 {
            out.push(1);
            return Err("zero cannot be said".into());
        }
        if self.replaces.get() {
            *out = vec![*value];
        } else {
            out.push(*value);
        }
        Ok(())
    }
    fn decode(&self, schema: u8, bytes: &[u8]) -> Result<u8, BoxError> {
        assert_eq!(schema, self.schema);
        Ok(bytes[0])
    }
}

#[test]
fn what_cannot_be_encoded_is_not_appended() {
    let dir = tempfile::tempdir().unwrap();
    let codec = Odd { schema: 200, replaces: Cell::new(false) };
    let log = TypedLog::new(Log::open(dir.path()).unwrap(), codec);
    let end = log.log().end();
    let error = log.append(&0).unwrap_err();
    assert!(matches!(&error, Error::Encode { .. }), "{error}");
    assert_eq!(error.to_string(), "the value cannot be encoded: zero cannot be said");
    assert!(matches!(log.append_batch(&[1, 0, 2]), Err(Error::Encode { .. })));
    assert_eq!(log.log().end(), end);
    log.append_batch(&[1, 2]).unwrap();
    log.append_durable(&3).unwrap();
    assert!(log.append_batch(&[]).unwrap().is_empty());
    let values: Vec<u8> = log.replay().map(|found| found.unwrap().1).collect();
    assert_eq!(values, [1, 2, 3]);
    assert!(log.log().replay().all(|record| record.unwrap().payload()[0] == 200));
}

#[test]
fn a_codec_that_replaces_what_it_is_to_append_to_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let codec = Odd { schema: 200, replaces: Cell::new(true) };
    let log = TypedLog::new(Log::open(dir.path()).unwrap(), codec);
    assert!(matches!(log.append(&1), Err(Error::Encode { .. })));
    assert!(matches!(log.append_batch(&[1, 2]), Err(Error::Encode { .. })));
    assert_eq!(log.log().replay().count(), 0);
}

thread_local! {
    static OTHER: std::cell::RefCell<Option<TypedLog<String>>> = const { std::cell::RefCell::new(None) };
}

/// Its encoding appends to another log.
struct Chatty;

impl Serialize for Chatty {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        OTHER.with_borrow(|other| other.as_ref().unwrap().append(&"seen".into()).unwrap());
        to.serialize_str("chatty")
    }
}

impl<'de> Deserialize<'de> for Chatty {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        assert_eq!(text, "chatty");
        Ok(Chatty)
    }
}

#[test]
fn an_encoding_may_append_to_another_log() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    OTHER.set(Some(TypedLog::open(one.path()).unwrap()));
    let log = TypedLog::<Chatty>::open(two.path()).unwrap();
    log.append(&Chatty).unwrap();
    log.append_batch(&[Chatty, Chatty]).unwrap();
    assert_eq!(log.replay().filter_map(Result::ok).count(), 3);
    let seen = OTHER.take().unwrap();
    assert!(seen.replay().all(|found| found.unwrap().1 == "seen"));
    assert_eq!(seen.replay().count(), 3);
}

/// The Python log from which it all came: `append(dict)`, `append(str)`, `replay()`, `close()`.
#[test]
fn json_holds_values_of_any_shape() {
    let dir = tempfile::tempdir().unwrap();
    let events = [
        json!({"event": "user_signup", "user_id": "user-123"}),
        json!("a text"),
        json!([1, null, {"deep": [true, -2.5]}]),
        json!({}),
    ];
    let log = TypedLog::<Value, Json>::open(dir.path()).unwrap();
    for event in &events {
        log.append(event).unwrap();
    }
    log.close().unwrap();
    let log = TypedLog::<Value, Json>::open(dir.path()).unwrap();
    let found: Vec<Value> = log.replay().map(|found| found.unwrap().1).collect();
    assert_eq!(found, events);
    // Lines that other programs can read, behind one byte.
    let first = log.log().replay().next().unwrap().unwrap();
    assert_eq!(first.payload(), b"\0{\"event\":\"user_signup\",\"user_id\":\"user-123\"}");
}

#[test]
fn threads_share_a_typed_log() {
    fn shared<T: Send + Sync>(_: &T) {}
    let dir = tempfile::tempdir().unwrap();
    let log = TypedLog::<(usize, u64)>::open(dir.path()).unwrap();
    // Values may stay with their threads.
    let not_shared: fn(&TypedLog<std::rc::Rc<u8>>) = shared;
    drop(Box::new(not_shared));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for seq in 0..500 {
                    log.append(&(thread, seq)).unwrap();
                }
            });
        }
    });
    let mut next = [0; 8];
    for found in &log {
        let (thread, seq) = found.unwrap().1;
        assert_eq!(seq, next[thread]);
        next[thread] += 1;
    }
    assert_eq!(next, [500; 8]);
}

#[allow(dead_code, reason = "it is enough that it compiles: any type with serde's traits")]
fn any_type<T: Serialize + DeserializeOwned>(log: &TypedLog<T>, value: &T) -> duralog::Result<T> {
    log.read(log.append(value)?)
}
