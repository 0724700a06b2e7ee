//! A bar on standard error while a log is opened that was not closed, and so has to be read.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use duralog::{Options, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// What is over sooner is not worth a flicker.
const PATIENCE: Duration = Duration::from_millis(200);

/// Shows how far the opening is, on a terminal alone.
pub(crate) fn shown(options: Options) -> Options {
    let opening = Opening::new(PATIENCE, ProgressDrawTarget::stderr);
    options.progress(move |at| {
        opening.show(at);
        ControlFlow::Continue(())
    })
}

struct Opening<T> {
    began: Instant,
    patience: Duration,
    target: T,
    bar: OnceLock<ProgressBar>,
}

impl<T: Fn() -> ProgressDrawTarget> Opening<T> {
    fn new(patience: Duration, target: T) -> Opening<T> {
        Opening { began: Instant::now(), patience, target, bar: OnceLock::new() }
    }

    fn show(&self, at: &Progress) {
        let is_through = at.bytes == at.bytes_total;
        if is_through && self.bar.get().is_none() || self.began.elapsed() < self.patience {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::with_draw_target(Some(at.bytes_total), (self.target)());
            // Also when the opening fails, and all of this is dropped.
            bar.with_finish(ProgressFinish::AndClear).with_style(style())
        });
        bar.set_position(at.bytes);
        bar.tick();
        if is_through {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let line = "recovering {wide_bar} {bytes} of {total_bytes}, {eta} left";
    ProgressStyle::with_template(line).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, TermLike};

    use super::*;

    fn at(bytes: u64) -> Progress {
        let mut at = Progress::default();
        (at.bytes, at.bytes_total) = (bytes, 64 << 20);
        at
    }

    fn opening(
        patience: Duration,
        screen: &InMemoryTerm,
    ) -> Opening<impl Fn() -> ProgressDrawTarget> {
        let screen = screen.clone();
        Opening::new(patience, move || {
            let screen: Box<dyn TermLike> = Box::new(screen.clone());
            ProgressDrawTarget::term_like(screen)
        })
    }

    #[test]
    fn a_long_opening_says_how_far_it_is_and_leaves_nothing() {
        let screen = InMemoryTerm::new(4, 80);
        let opening = opening(Duration::ZERO, &screen);
        opening.show(&at(16 << 20));
        let shown = screen.contents();
        assert!(
            shown.contains("recovering") && shown.contains("16.00 MiB of 64.00 MiB"),
            "{shown}"
        );
        opening.show(&at(64 << 20));
        assert_eq!(screen.contents(), "");
    }

    #[test]
    fn one_that_fails_leaves_nothing() {
        let screen = InMemoryTerm::new(4, 80);
        let opening = opening(Duration::ZERO, &screen);
        opening.show(&at(0));
        assert_ne!(screen.contents(), "");
        drop(opening);
        assert_eq!(screen.contents(), "");
    }

    #[test]
    fn a_short_one_is_not_shown() {
        let screen = InMemoryTerm::new(4, 80);
        let opening = opening(Duration::from_secs(3600), &screen);
        opening.show(&at(0));
        opening.show(&at(64 << 20));
        assert_eq!(screen.contents(), "");
    }
}
