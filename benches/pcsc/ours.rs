//! Our own line to a reader, as the daemon's device uses it, in a process of its own: libpcsclite takes from the
//! environment which pcscd it is to talk to. Says the lines that the peers' programs say.

use anyhow::{Context as _, bail, ensure};
use encoder_protocols::command::{CardCommand, CardReply};
use encoder_protocols::dialect::pcsc_storage::{Learnt, PcscStorageHost, profile_of};
use encoder_protocols::family::classic::{Key, SectorNumber};
use encoder_protocols::id::Detection;
use encoderd::transport::pcsc::{CardState, Monitor, PcscLine};
use std::io::Write as _;

/// The sector that the job is about: blocks 4 to 6.
const SECTOR: u8 = 1;

/// Does the job on each card that comes.
pub(crate) async fn run() -> anyhow::Result<()> {
    let monitor = Monitor::start();
    let mut snapshot = monitor.snapshot();
    let name =
        snapshot.wait_for(|seen| !seen.readers.is_empty()).await?.readers.first().context("no reader")?.name.clone();
    let mut line = PcscLine::open(&name, None, snapshot.clone())?;
    let mut host = PcscStorageHost::new(profile_of(&name, None), Learnt::default());
    say("ready")?;
    loop {
        let is = |wanted| {
            let name = name.clone();
            move |seen: &encoderd::transport::pcsc::Snapshot| {
                seen.reader(&name).is_some_and(|reader| reader.card == wanted)
            }
        };
        snapshot.wait_for(is(CardState::Present)).await?;
        let uid = job(&mut line, &mut host).await?;
        say(&format!("done {uid}"))?;
        snapshot.wait_for(is(CardState::Absent)).await?;
        say("gone")?;
    }
}

async fn job(line: &mut PcscLine, host: &mut PcscStorageHost) -> anyhow::Result<String> {
    let CardReply::Detected(Detection::One(card)) = line.exchange(host, &CardCommand::Detect).await? else {
        bail!("not one card");
    };
    let sector = SectorNumber::new(SECTOR).context("a Classic has it")?;
    line.exchange(host, &CardCommand::Authenticate { sector, key: Key::transport_a() }).await?;
    for block in sector.data_blocks() {
        line.exchange(host, &CardCommand::Read(block.number())).await?;
    }
    let mut data = [0; 16];
    for (byte, uid) in data.iter_mut().zip(card.uid.as_bytes().iter().cycle()) {
        *byte = *uid;
    }
    for block in sector.data_blocks() {
        line.exchange(host, &CardCommand::Write(block, data)).await?;
    }
    for block in sector.data_blocks() {
        let found = line.exchange(host, &CardCommand::Read(block.number())).await?;
        ensure!(found == CardReply::Block(data), "read back: {found:?}");
    }
    line.exchange(host, &CardCommand::Release).await?;
    Ok(card.uid.to_string())
}

fn say(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}
