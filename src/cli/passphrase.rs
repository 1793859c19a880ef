//! Where a passphrase comes from: a file, or somebody who types it without it being shown.

use crate::backup::wrap::{PASSPHRASE_CHARACTERS_MIN, Passphrase};
use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use zeroize::Zeroizing;

/// The longest that can be typed, in bytes.
const TYPED_MAX: usize = 1024;

/// Asks for a new passphrase, twice. `None`: an empty one was given, and there is to be none.
pub(super) fn ask_new(question: &str) -> anyhow::Result<Option<Passphrase>> {
    let mut terminal = Terminal::open()?;
    loop {
        let first = terminal.ask(&format!("{question}: "))?;
        if first.is_empty() {
            return Ok(None);
        }
        if first.chars().count() < PASSPHRASE_CHARACTERS_MIN {
            terminal.say(&format!("It must have {PASSPHRASE_CHARACTERS_MIN} characters or more."))?;
            continue;
        }
        if *terminal.ask("Once more: ")? == *first {
            return Ok(Some(Passphrase::new(first)?));
        }
        terminal.say("These were two different ones.")?;
    }
}

/// Asks for a passphrase that is there already.
pub(super) fn ask(question: &str) -> anyhow::Result<Passphrase> {
    Ok(Passphrase::new(Terminal::open()?.ask(&format!("{question}: "))?)?)
}

/// Whether somebody is there to ask.
pub(super) fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal() && Path::new("/dev/tty").exists()
}

/// The terminal, with its settings put back when it is dropped.
struct Terminal {
    tty: File,
    before: Termios,
}

impl Terminal {
    fn open() -> anyhow::Result<Self> {
        let tty =
            OpenOptions::new().read(true).write(true).open("/dev/tty").context("there is no terminal to ask on")?;
        let before = tcgetattr(&tty)?;
        let mut quiet = before.clone();
        // Signals are taken as letters: a program that is ended by one could not turn the echo on again.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&tty, OptionalActions::Flush, &quiet)?;
        Ok(Self { tty, before })
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<Zeroizing<String>> {
        self.tty.write_all(question.as_bytes())?;
        let mut typed = Zeroizing::new(Vec::with_capacity(TYPED_MAX));
        loop {
            let mut letter = Zeroizing::new([0]);
            if self.tty.read(letter.as_mut())? == 0 {
                bail!("the terminal was closed");
            }
            match letter.first().copied().unwrap_or_default() {
                b'\r' | b'\n' => break,
                // Control-C, control-D, control-backslash.
                0x03 | 0x04 | 0x1C => {
                    self.say("")?;
                    bail!("broken off");
                }
                // Backspace takes a whole character away, as people see it.
                0x08 | 0x7F => while typed.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {},
                // Control-U.
                0x15 => typed.clear(),
                _ if typed.len() == TYPED_MAX => {}
                byte => typed.push(byte),
            }
        }
        self.say("")?;
        let text = str::from_utf8(&typed).context("the passphrase is not UTF-8")?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.tty.write_all(format!("{text}\n").as_bytes())?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _terminal_gone = tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
    }
}
