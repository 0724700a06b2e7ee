//! What a codec takes, it gives back: what it could not is refused before it is appended.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::collections::BTreeMap;
use std::fmt::Debug;

use duralog::typed::{BoxError, Checked, Codec};
use duralog::{Bincode, Error, Json, TypedLog};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Both what goes in and what comes out, by a log.
fn json<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, Error> {
    let dir = tempfile::tempdir().unwrap();
    let log = TypedLog::<T, Json>::open(dir.path())?;
    let end = log.log().end();
    let lsn = log.append(value).inspect_err(|_| assert_eq!(log.log().end(), end))?;
    Ok(log.read(lsn).expect("a value that was taken"))
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    assert_eq!(json(&value).unwrap(), value);
}

fn refused<T: Serialize + DeserializeOwned>(value: T, why: &str) {
    match json(&value) {
        Err(Error::Encode { source }) => assert!(source.to_string().contains(why), "{source}"),
        other => panic!("{why}: {:?}", other.map(drop)),
    }
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Unit;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct New(Option<u8>);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Shape {
    New(f64),
    Tuple(f64, u8),
    Struct { field: f64 },
    Deeper(Vec<Shape>),
}

#[test]
fn json_takes_no_number_that_it_would_write_as_null() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(bad, "JSON has no number");
        refused(Some(bad), "JSON has no number");
        refused(vec![1.0, bad], "JSON has no number");
        refused((1, bad), "JSON has no number");
        refused(
            BTreeMap::from([("a", bad)])
                .into_iter()
                .map(|(a, b)| (a.to_owned(), b))
                .collect::<BTreeMap<_, _>>(),
            "JSON has no number",
        );
        refused(Shape::New(bad), "JSON has no number");
        refused(Shape::Tuple(bad, 1), "JSON has no number");
        refused(Shape::Deeper(vec![Shape::Struct { field: bad }]), "JSON has no number");
    }
    refused(f32::NAN, "JSON has no number");
    for good in [0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::EPSILON, 5e-324] {
        comes_back(Some(Shape::Struct { field: good }));
    }
}

#[test]
fn json_takes_no_some_that_would_come_back_as_none() {
    refused(Some(None::<u8>), "would give None back");
    refused(Some(()), "would give None back");
    refused(Some(Unit), "would give None back");
    refused(vec![Some(New(None))], "would give None back");
    refused(Some(serde_json::Value::Null), "would give None back");
    comes_back(None::<Option<u8>>);
    comes_back(Some(Some(1)));
    comes_back((None::<u8>, (), Unit, New(None), Some(vec![None::<u8>]), Some(()).map(|()| [()])));
}

#[test]
fn json_takes_nothing_that_is_nested_deeper_than_it_reads() {
    let nested = |levels| {
        let innermost = serde_json::Value::from(1);
        (0..levels).fold(innermost, |inner, _| serde_json::Value::Array(vec![inner]))
    };
    comes_back(nested(127));
    refused(nested(128), "nested deeper");
    let nested = |pairs| (0..pairs).fold(Shape::New(1.0), |inner, _| Shape::Deeper(vec![inner]));
    comes_back(nested(63));
    refused(nested(64), "nested deeper");
}

/// Of a parser that is only nearly exact one in some ten comes back as its neighbor.
#[test]
fn json_gives_each_float_back_bit_by_bit() {
    let mut bits = 1_u64;
    for _ in 0..10_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = f64::from_bits(bits);
        if value.is_finite() {
            let mut bytes = Vec::new();
            Json::write(&value, &mut bytes).unwrap();
            assert_eq!(Json::read::<f64>(&bytes).unwrap().to_bits(), bits, "{value}");
        }
    }
}

/// Forgets the value behind a hundred.
struct Forgetful;

impl Codec<u32> for Forgetful {
    fn encode(&self, value: &u32, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(value.min(&100).to_string().as_bytes());
        Ok(())
    }

    fn decode(&self, _: u8, bytes: &[u8]) -> Result<u32, BoxError> {
        match std::str::from_utf8(bytes)?.parse()? {
            13 => Err("thirteen".into()),
            value => Ok(value),
        }
    }
}

#[test]
fn a_checked_codec_appends_nothing_that_would_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = TypedLog::new(duralog::Log::open(dir.path()).unwrap(), Checked(Forgetful));
    for (bad, why) in [(101, "another value"), (13, "could not be decoded again: thirteen")] {
        let error = log.append(&bad).unwrap_err();
        assert!(
            matches!(&error, Error::Encode { source } if source.to_string().contains(why)),
            "{error}"
        );
        assert!(log.append_batch(&[1, bad]).is_err());
    }
    log.append_batch(&[1, 100]).unwrap();
    let values: Vec<u32> = log.replay().map(|found| found.unwrap().1).collect();
    assert_eq!(values, [1, 100]);
    log.close().unwrap();
    // Its records are those of the codec inside.
    let log = TypedLog::new(duralog::Log::open(dir.path()).unwrap(), Forgetful);
    assert_eq!(log.replay().count(), 2);
}

/// What bincode takes and cannot read, as its documentation says.
#[test]
fn a_checked_bincode_refuses_what_does_not_describe_itself() {
    let dir = tempfile::tempdir().unwrap();
    let log = TypedLog::<serde_json::Value, Checked<Bincode>>::open(dir.path()).unwrap();
    assert!(matches!(log.append(&serde_json::json!({"a": 1})), Err(Error::Encode { .. })));
    assert_eq!(log.replay().count(), 0);
}
