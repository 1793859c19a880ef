//! `encoderd generate`: man pages and shell completions, from the command line's own definition.

use super::Arguments as CommandLine;
use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The configuration file that packages install, each key in it as a comment.
const CONFIGURATION: &str = include_str!("../../packaging/encoderd.toml");

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to write
    what: What,
    /// The directory to write into; it is made
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// encoderd(1), one page for each command, and encoderd.toml(5)
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
    clap_mangen::generate_to(CommandLine::command(), directory)?;
    std::fs::write(directory.join("encoderd.toml.5"), configuration_page())
}

/// encoderd.toml(5): what the file says of itself.
fn configuration_page() -> String {
    let mut page = ".TH encoderd.toml 5\n.SH NAME\nencoderd.toml \\- configuration of encoderd(1)\n.SH SYNOPSIS\n\
        /etc/encoderd/encoderd.toml\n.SH DESCRIPTION\nThe file that is installed, with every key in it. Another one is \
        named with \\fB\\-\\-config\\fR or in \\fBENCODERD_CONFIG\\fR.\n.PP\n.nf\n"
        .to_owned();
    for line in CONFIGURATION.lines() {
        // A dot in front would be an order to roff; a backslash always is.
        let _infallible = writeln!(page, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"));
    }
    page + ".fi\n.SH SEE ALSO\nencoderd(1)\n"
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
    use crate::config::Config;
    use std::collections::BTreeSet;

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
        assert!(read("encoderd.toml.5").contains("\n\\&#personalize = \"auto\"\n"));
        assert!(read("encoderd.1").contains("encoderd\\-probe(1)"), "{}", read("encoderd.1"));
    }

    /// The keys of the file, with the table that they stand in: `# ` is a sentence, `#` and anything else is TOML.
    fn uncommented() -> String {
        let lines = CONFIGURATION.lines().map(|line| match line.strip_prefix('#') {
            Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
            Some(_) | None => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn keys(toml: &str) -> BTreeSet<String> {
        fn walk(value: &toml::Value, name: &str, found: &mut BTreeSet<String>) {
            if let Some(table) = value.as_table().filter(|_| name != "property.entrances") {
                for (key, value) in table {
                    walk(value, format!("{name}.{key}").trim_start_matches('.'), found);
                }
            } else if let Some(list) = value.as_array().filter(|_| name == "serial") {
                for one in list {
                    walk(one, name, found);
                }
            } else {
                found.insert(name.to_owned());
            }
        }
        let mut found = BTreeSet::new();
        walk(&toml::Value::Table(toml.parse().unwrap()), "", &mut found);
        found
    }

    #[test]
    fn the_installed_configuration_is_the_default_until_a_key_is_uncommented() {
        let parse = |text: &str| Config::parse(text, Path::new("encoderd.toml")).unwrap();
        assert_eq!(format!("{:?}", parse(CONFIGURATION)), format!("{:?}", Config::default()));
        let all = uncommented();
        parse(&all);
        // Each key alone beneath its table; those of a table that must be whole stay together.
        let mut tables = all.split("\n\n").filter(|table| table.lines().any(|line| line.starts_with('['))).peekable();
        assert!(tables.peek().is_some());
        for table in tables {
            let head = table.lines().find(|line| line.starts_with('[')).unwrap();
            parse(table);
            if ["[property]", "[[serial]]", "[cloud]"].contains(&head) {
                continue;
            }
            for key in table.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
                let config = parse(&format!("{head}\n{key}\n"));
                let is_example =
                    ["database", "auto_link", "status_listen", "pin", "ndef", "directory", "passphrase_file"]
                        .iter()
                        .any(|example| key.starts_with(example));
                if !is_example {
                    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()), "{key} is no default");
                }
            }
        }
    }

    #[test]
    fn the_installed_configuration_has_every_key_that_the_readme_has() {
        let readme = include_str!("../../README.md");
        let (_, chapter) = readme.split_once("\n## Configuration\n").unwrap();
        let (_, block) = chapter.split_once("```toml\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        assert_eq!(keys(&uncommented()), keys(block));
    }
}
