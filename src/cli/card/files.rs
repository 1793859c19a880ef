//! Dumps of cards, and writing them on cards.

use super::formats::type2::{self, Type2File};
use super::formats::{CardFile, ClassicFile, Format, MaybeBlock, usual_atqa_sak};
use super::{On, print, print_json, say, unexpected, work_on};
use crate::api::bridge::raw::{RawBytes, RawCard, RawImage, RawKeys, RawPage, RawWrite};
use crate::control::card::{CardOutcome, CardWork, Holds, ReadAnswer, WrittenAnswer};
use anyhow::{Context as _, bail};
use clap::Args;
use encoder_protocols::family::classic::{ClassicSize, DataBlock};
use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::id::Uid;
use encoder_protocols::plan::RawUnit;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(super) struct DumpArguments {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    on: On,
    /// How to write it (default: flipper for a name that ends in .nfc, else mfd)
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Find out the card's keys and write them into the file; it is then readable by you alone
    #[arg(long)]
    with_keys: bool,
    /// More sector keys to try: a file with one key of 12 hex digits a line
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct WriteArguments {
    /// The dump to write
    #[arg(value_name = "FILE", required_unless_present = "raw", conflicts_with = "raw")]
    file: Option<PathBuf>,
    /// A raw image in JSON, as a lock vendor's server makes it (docs/raw-layout.md)
    #[arg(long, value_name = "IMAGE")]
    raw: Option<PathBuf>,
    #[command(flatten)]
    on: On,
    /// How the file is written (default: flipper for a name that ends in .nfc, else mfd)
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write the dump's keys and access bits too; a trailer whose keys are not in the dump is left alone
    #[arg(long)]
    trailers: bool,
    /// Let access bits be written that show key B, as a new card's do
    #[arg(long, requires = "trailers")]
    show_key_b: bool,
    /// Let access bits be written that can never be changed again
    #[arg(long, requires = "trailers")]
    lock_for_ever: bool,
    /// More sector keys to try: a file with one key of 12 hex digits a line
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Print what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads a file of keys: one of 12 hex digits a line; what follows `#` is for people.
pub(super) fn key_file(path: Option<&Path>) -> anyhow::Result<Vec<RawBytes<6>>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = Zeroizing::new(text);
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let Some(key) = RawBytes::from_hex(line) else {
                bail!("{}: line {number} is no key of 12 hex digits", path.display())
            };
            keys.push(key);
        }
    }
    Ok(keys)
}

pub(super) async fn dump(arguments: DumpArguments) -> anyhow::Result<ExitCode> {
    let DumpArguments { file, on, format, with_keys, keys, force, json } = arguments;
    if file.exists() && !force {
        bail!("{} is there already: choose a new file, or say --force", file.display());
    }
    let work = CardWork::Read { keys: key_file(keys.as_deref())?, contents: true, with_keys, tell_clone: false };
    let outcome = work_on(&on, work, "reading the card").await?;
    let CardOutcome::Read(read) = &outcome else { return unexpected(&outcome) };
    let format = format.unwrap_or_else(|| Format::of(&file));
    let bytes = Zeroizing::new(match (classic_file(read), type2_file(read), format) {
        (Some(card), _, format) => format.write(&card),
        (None, Some(card), Format::Mfd) => type2::raw(&card),
        (None, Some(card), Format::Flipper) => type2::flipper(&card).into_bytes(),
        (None, None, _) => bail!("a card of this kind cannot be dumped: {}", read.card.kind),
    });
    // A dump holds a guest's credential, and perhaps keys.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!force).mode(0o600);
    let written = options.open(&file).and_then(|mut file| {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(&bytes)?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", file.display()))?;
    let unread = unread(read);
    if json {
        print_json(&serde_json::json!({
            "card_number": read.card.card_number, "file": file, "with_keys": with_keys, "unread_blocks": unread,
        }))?;
    } else {
        print(&format!("card {} is in {}", read.card.card_number, file.display()))?;
    }
    if !unread.is_empty() {
        let shown = match format {
            Format::Mfd => "zero",
            Format::Flipper if !read.pages.is_empty() => "zero",
            Format::Flipper => "unknown",
        };
        let (count, blocks) = (unread.len(), list(&unread));
        let what = if read.pages.is_empty() { "blocks" } else { "pages" };
        say(&format!("{count} {what} could not be read and are {shown} in the file: {blocks}"));
        say("hint: give the card's keys with --keys FILE");
    }
    Ok(ExitCode::SUCCESS)
}

/// Blocks or pages that could not be read; keys and passwords are another matter.
fn unread(read: &ReadAnswer) -> Vec<u8> {
    let closed = read.pages.iter().filter(|page| page.holds == Holds::Closed);
    let mut blocks: Vec<u8> = closed.map(|page| page.page).collect();
    for sector in &read.sectors {
        let closed = sector.access_bits.is_none();
        let trailer = sector.blocks.last().map(|block| block.block);
        let is_unread = |block: u8, has_data: bool| !has_data && (closed || Some(block) != trailer);
        blocks.extend(sector.blocks.iter().filter(|b| is_unread(b.block, b.data.is_some())).map(|b| b.block));
    }
    blocks
}

fn list(blocks: &[u8]) -> String {
    blocks.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

/// What was read of an Ultralight or NTAG card, as a file has it.
fn type2_file(read: &ReadAnswer) -> Option<Type2File> {
    let kind = Type2Kind::ALL.into_iter().find(|kind| usize::from(kind.pages()) == read.pages.len())?;
    let uid = read.card.card_number.parse::<Uid>().ok()?.as_bytes().to_vec();
    let pages = read.pages.iter().map(|page| page.data.as_ref().map(|data| data.0)).collect();
    Some(Type2File { kind, uid, pages })
}

/// What was read, as a file has it.
fn classic_file(read: &ReadAnswer) -> Option<ClassicFile> {
    let size = match read.sectors.len() {
        5 => ClassicSize::Mini,
        16 => ClassicSize::K1,
        40 => ClassicSize::K4,
        _ => return None,
    };
    let uid = read.card.card_number.parse::<Uid>().ok()?.as_bytes().to_vec();
    let told = (|| {
        let atqa = RawBytes::<2>::from_hex(read.card.atqa.as_deref()?)?;
        let [sak] = RawBytes::<1>::from_hex(read.card.sak.as_deref()?)?.0;
        Some((atqa.0, sak))
    })();
    let mut blocks: Vec<MaybeBlock> = Vec::new();
    for sector in &read.sectors {
        let (trailer, data) = sector.blocks.split_last()?;
        debug_assert!(trailer.data.is_none(), "a trailer's content is never answered");
        blocks.extend(data.iter().map(|block| block.data.as_ref().map_or([None; 16], |data| data.0.map(Some))));
        let key = |key: Option<&RawBytes<6>>| key.map_or([None; 6], |key| key.0.map(Some));
        let middle = match (&sector.access_bits, &sector.general_purpose) {
            (Some(RawBytes([a, b, c])), Some(RawBytes([g]))) => [*a, *b, *c, *g].map(Some),
            (_, _) => [None; 4],
        };
        let mut content = [None; 16];
        let parts = key(sector.key_a.as_ref()).into_iter().chain(middle).chain(key(sector.key_b.as_ref()));
        for (byte, part) in content.iter_mut().zip(parts) {
            *byte = part;
        }
        blocks.push(content);
    }
    let atqa_sak = told.unwrap_or_else(|| usual_atqa_sak(size, uid.len()));
    Some(ClassicFile { size, uid, atqa_sak, blocks })
}

pub(super) async fn write(arguments: WriteArguments) -> anyhow::Result<ExitCode> {
    let more = key_file(arguments.keys.as_deref())?;
    let (image, known_keys) = match (&arguments.raw, &arguments.file) {
        (Some(raw), _) => (read_image(raw)?, !more.is_empty()),
        (None, Some(file)) => {
            let format = arguments.format.unwrap_or_else(|| Format::of(file));
            let bytes = Zeroizing::new(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
            let card = format.parse(&bytes).with_context(|| format!("{} is no such dump", file.display()))?;
            let image = match &card {
                CardFile::Classic(card) => image_of(card, &arguments),
                CardFile::Type2(_) if arguments.trailers || !more.is_empty() => {
                    bail!("{} is of a card without sectors: leave out --trailers and --keys", file.display())
                }
                CardFile::Type2(card) => pages_of(card),
            };
            (image, true)
        }
        (None, None) => bail!("name a file"),
    };
    let (dry_run, json) = (arguments.dry_run, arguments.json);
    let unit = if image.pages.is_empty() { RawUnit::Blocks } else { RawUnit::Pages };
    let work = CardWork::Write { image, keys: more, known_keys, dry_run };
    let outcome = work_on(&arguments.on, work, "writing the card").await?;
    let CardOutcome::Written(written) = &outcome else { return unexpected(&outcome) };
    if json {
        print_json(written)?;
    } else {
        tell(written, unit, dry_run)?;
    }
    Ok(if written.fault.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read_image(path: &Path) -> anyhow::Result<RawImage> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = Zeroizing::new(text);
    serde_json::from_str(&text).with_context(|| format!("{} is no raw image", path.display()))
}

/// A dump as an image: what of it is known, but never block 0, and trailers only when they are asked for.
fn image_of(card: &ClassicFile, arguments: &WriteArguments) -> RawImage {
    let mut image = RawImage {
        card: Some(match card.size {
            ClassicSize::Mini => RawCard::ClassicMini,
            ClassicSize::K1 => RawCard::Classic1k,
            ClassicSize::K4 => RawCard::Classic4k,
        }),
        write_trailers: arguments.trailers,
        lock_for_ever: arguments.lock_for_ever,
        show_key_b: arguments.show_key_b,
        ..RawImage::default()
    };
    for sector in card.size.sector_numbers() {
        let key_a = card.key_a(sector).map(|key| RawBytes(*key.0.expose()));
        let key_b = card.key_b(sector).map(|key| RawBytes(*key.0.expose()));
        if key_a.is_some() || key_b.is_some() {
            image.keys.push(RawKeys { sector: sector.get(), key_a, key_b });
        }
        for block in sector.data_blocks().map(DataBlock::number) {
            if let Some(data) = card.block(block) {
                image.writes.push(RawWrite::Block { block: block.get(), data: RawBytes(data), volatile: false });
            }
        }
        if let Some(trailer) = card.trailer(sector).filter(|_| arguments.trailers) {
            image.writes.push(RawWrite::Trailer {
                sector: sector.get(),
                key_a: RawBytes(*trailer.key_a.0.expose()),
                access_bits: RawBytes(trailer.access_bits.to_bytes()),
                general_purpose: Some(RawBytes([trailer.general_purpose])),
                key_b: RawBytes(*trailer.key_b.0.expose()),
            });
        }
    }
    image
}

/// The same of an Ultralight or NTAG card: its user's pages, and nothing of what closes it.
fn pages_of(card: &Type2File) -> RawImage {
    let card_kind = match card.kind {
        Type2Kind::Ultralight => RawCard::Ultralight,
        Type2Kind::UltralightEv1Small => RawCard::UltralightEv1Small,
        Type2Kind::UltralightEv1Large => RawCard::UltralightEv1,
        Type2Kind::UltralightC => RawCard::UltralightC,
        Type2Kind::Ntag213 => RawCard::Ntag213,
        Type2Kind::Ntag215 => RawCard::Ntag215,
        Type2Kind::Ntag216 => RawCard::Ntag216,
    };
    let page = |(page, data)| RawPage { page, data: RawBytes(data), volatile: false };
    RawImage { card: Some(card_kind), pages: card.user_pages().map(page).collect(), ..RawImage::default() }
}

fn tell(written: &WrittenAnswer, unit: RawUnit, dry_run: bool) -> anyhow::Result<()> {
    let card = written.card_number.as_deref().unwrap_or("unknown");
    let report = &written.report;
    if let Some(fault) = &written.fault {
        if !report.written.is_empty() {
            print(&format!("written     {unit} {}", list(&report.written)))?;
            print(&format!("verified    {unit} {}", list(&report.verified)))?;
        }
        say(&format!("error: {}", fault.message));
        return Ok(());
    }
    if dry_run {
        return print(&format!("card {card}\n{}", written.plan.as_deref().unwrap_or_default().trim_end()));
    }
    let (new, same) = (report.written.len(), report.unchanged.len());
    print(&format!("card {card}: {new} {unit} written, {same} were right before, {} verified", report.verified.len()))
}
