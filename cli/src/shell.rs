//! `duralog completions` and `duralog man`: what a shell and a reader of manuals want.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Cli, out};

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog completions bash > /etc/bash_completion.d/duralog")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Print the manual page, or write all of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog man | man -l -")]
pub(crate) struct Man {
    /// A directory for a page of each command
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn completions(args: &Completions) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "duralog", &mut text);
    out::print(&String::from_utf8_lossy(&text))
}

pub(crate) fn man(args: &Man) -> Result<()> {
    let command = Cli::command();
    let Some(dir) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return out::print(&String::from_utf8_lossy(&page));
    };
    let made = make(dir).and_then(|()| clap_mangen::generate_to(command, dir));
    made.with_context(|| dir.display().to_string())
}

/// Those above it are there, or it is a slip.
fn make(dir: &std::path::Path) -> std::io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
