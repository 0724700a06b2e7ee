//! Ctrl-C, or a request to terminate, of a command that has something to put away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// True from the first one on, which the command ends by itself; the second one ends the program at once.
pub(crate) fn watched() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let noted = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::AcqRel) {
            std::process::exit(1);
        }
    });
    noted.context("signals")?;
    Ok(interrupted)
}
