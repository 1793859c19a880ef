//! `encoderd generate`: man pages and shell completions, from the command line's own definition.

use super::Arguments as CommandLine;
use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to write
    what: What,
    /// The directory to write into; it is made
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// encoderd(1), and one page for each command
    Man,
    /// For bash, zsh and fish
    Completions,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    match arguments.what {
        What::Man => man(directory),
        What::Completions => completions(directory),
    }
    .with_context(|| format!("cannot write into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn man(directory: &Path) -> std::io::Result<()> {
    clap_mangen::generate_to(CommandLine::command(), directory)
}

fn completions(directory: &Path) -> std::io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut CommandLine::command(), "encoderd", directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page_and_every_shell_its_completions() {
        let directory = tempfile::tempdir().unwrap();
        for what in [What::Man, What::Completions] {
            run(&Arguments { what, directory: directory.path().join("new") }).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join("new").join(name)).unwrap();
        for command in CommandLine::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let (first, _) = command
                .get_about()
                .unwrap()
                .to_string()
                .split_once([' ', '.'])
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .unwrap();
            assert!(read(&format!("encoderd-{name}.1")).contains(&first), "{name}");
            for shell in ["encoderd.bash", "_encoderd", "encoderd.fish"] {
                assert!(read(shell).contains(name), "{shell} lacks {name}");
            }
        }
        assert!(read("encoderd.1").contains("encoderd\\-probe(1)"), "{}", read("encoderd.1"));
    }
}
