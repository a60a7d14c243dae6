//! `headcount completions SHELL`

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// Prints a completion script
///
/// For bash:  headcount completions bash > ~/.local/share/bash-completion/completions/headcount
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Completions {
    /// The shell to complete in
    shell: Shell,
}

pub fn run<C: CommandFactory>(command: &Completions) -> u8 {
    let mut script = Vec::new();
    generate(command.shell, &mut C::command(), "headcount", &mut script);
    super::output::print(&String::from_utf8_lossy(&script));
    super::DONE
}
