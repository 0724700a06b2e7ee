//! Figures as people read them.

use bytesize::ByteSize;
use indicatif::HumanCount;

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
pub(crate) fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// Up to a million in full, above to four digits.
pub(crate) fn count(value: f64) -> String {
    if value < 1e6 { HumanCount(whole(value)).to_string() } else { format!("{:.2} M", value / 1e6) }
}

/// How many times as much.
pub(crate) fn times(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// To three digits or so.
pub(crate) fn time(us: f64) -> String {
    match us {
        us if us < 10.0 => format!("{us:.1} us"),
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e4 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string().replace(".0 ", " ")
}

pub(crate) fn threads(n: u32) -> String {
    if n == 1 { "1 thread".into() } else { format!("{n} threads") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit() {
        assert_eq!((count(147_377.6), count(8.634e6)), ("147,378".into(), "8.63 M".into()));
        assert_eq!([0.93, 26.04, 151.2].map(times), ["0.93", "26.0", "151"]);
        let times = [7.14, 182.4, 2_140.0, 21_400.0, 3.2e6].map(time);
        assert_eq!(times, ["7.1 us", "182 us", "2.1 ms", "21 ms", "3.2 s"]);
        assert_eq!([100, 1024, 1536].map(size), ["100 B", "1 KiB", "1.5 KiB"]);
        assert_eq!((threads(1), threads(8)), ("1 thread".into(), "8 threads".into()));
    }
}
