//! A card in words, and its memory as a map.

use crate::cli::status::simulated;
use crate::control::card::{CardAnswer, CardCredential, Holds, PageAnswer, ReadAnswer, SectorAnswer, SlotAnswer};
use crate::device::order::{CardFormat, CloneKind};
use std::fmt::Write as _;

/// The card as JSON: what `card info` has always said, and beside it the rest.
pub(super) fn json(read: &ReadAnswer) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(&read.card)?;
    let rest = serde_json::json!({ "made_by": read.made_by, "clone": read.clone, "slots": read.slots, "sectors": read.sectors, "pages": read.pages });
    if let (Some(value), serde_json::Value::Object(rest)) = (value.as_object_mut(), rest) {
        value.extend(rest);
    }
    Ok(value)
}

/// The card in words.
pub(super) fn text(read: &ReadAnswer) -> String {
    let mut text = words(&read.card, read.made_by.as_deref());
    if let Some(CloneKind::Gen1a) = read.clone {
        text.push_str(
            "\nclone       with a back door (gen1a): its UID and block 0 can be changed; it can be copied at will",
        );
    }
    for slot in read.slots.iter().flatten() {
        let _infallible = write!(text, "\nslot {}      {}", slot.slot, slot_words(slot));
    }
    if !read.sectors.is_empty() {
        let _infallible = write!(text, "\n\n{}", map(&read.sectors));
    }
    if !read.pages.is_empty() {
        let _infallible = write!(text, "\n\n{}", page_map(&read.pages));
    }
    text
}

fn words(card: &CardAnswer, made_by: Option<&str>) -> String {
    let format = match card.format {
        CardFormat::Ours => "personalised by this property",
        CardFormat::Blank => "blank",
        CardFormat::Foreign => "foreign: neither blank nor of this property",
        CardFormat::Unknown => "not looked at: this family carries no credential, or this desk has no card key",
    };
    let made_by = made_by.map(|maker| format!(", made by {maker}")).unwrap_or_default();
    let mut lines = vec![
        format!("encoder     {}", simulated(&card.encoder, card.simulated)),
        match (&card.atqa, &card.sak) {
            (Some(atqa), Some(sak)) => format!("card        {} (ATQA {atqa}, SAK {sak})", card.kind),
            (Some(_) | None, _) => format!("card        {}", card.kind),
        },
        format!("UID         {}{made_by}", card.card_number),
        format!("format      {format}"),
    ];
    match &card.credential {
        None => lines.push("credential  none".to_owned()),
        Some(credential) => lines.extend(credential_lines(credential)),
    }
    lines.join("\n")
}

fn credential_lines(credential: &CardCredential) -> [String; 4] {
    let time = |time: Option<jiff::Timestamp>| time.map_or_else(|| "no end".to_owned(), |time| time.to_string());
    let doors: Vec<String> = credential.doors.iter().map(u16::to_string).collect();
    [
        format!("credential  {}", whose(credential)),
        format!("valid       {} to {}", time(credential.starts_at), time(credential.ends_at)),
        format!("issued      {}", time(credential.issued_at)),
        format!("doors       {}", doors.join(", ")),
    ]
}

fn whose(credential: &CardCredential) -> String {
    let short = || format!("one that ends with {}", credential.number);
    credential.acs_credential_id.map_or_else(short, |id| id.to_string())
}

fn slot_words(slot: &SlotAnswer) -> String {
    match (&slot.credential, &slot.why) {
        (Some(credential), _) => {
            format!("valid, number {}, credential {}", slot.sequence.unwrap_or_default(), whose(credential))
        }
        (None, Some(why)) => format!("{}: {why}", slot.state),
        (None, None) => slot.state.clone(),
    }
}

/// Each thing's sign in the map, and what it stands for.
fn sign(holds: Holds) -> (char, &'static str) {
    match holds {
        Holds::Manufacturer => ('M', "manufacturer"),
        Holds::Directory => ('D', "directory"),
        Holds::SlotA => ('A', "slot A"),
        Holds::SlotB => ('B', "slot B"),
        Holds::Trailer => ('T', "keys and access bits"),
        Holds::CapabilityContainer => ('C', "capability container"),
        Holds::Configuration => ('X', "configuration"),
        Holds::Front => ('N', "what phones are shown"),
        Holds::Blank => ('.', "blank"),
        Holds::Foreign => ('#', "foreign data"),
        Holds::Closed => ('?', "closed: no key at hand opens it"),
    }
}

/// How many sectors stand side by side.
const SECTORS_IN_A_ROW: usize = 8;

/// Draws the memory: a cell a sector, a sign a block.
fn map(sectors: &[SectorAnswer]) -> String {
    let mut lines = Vec::new();
    let mut met: Vec<Holds> = Vec::new();
    // The large sectors of a 4K card stand two in a row.
    let (small, large): (Vec<_>, Vec<_>) = sectors.iter().partition(|sector| sector.blocks.len() <= 4);
    let rows = small.chunks(SECTORS_IN_A_ROW).chain(large.chunks(2));
    for row in rows {
        let first = row.first().map(|sector| sector.sector).unwrap_or_default();
        let last = row.last().map(|sector| sector.sector).unwrap_or_default();
        let cell = |sector: &&SectorAnswer| {
            let signs = sector.blocks.iter().map(|block| sign(block.holds).0);
            format!("[{}]", signs.collect::<String>())
        };
        let cells: Vec<String> = row.iter().map(cell).collect();
        lines.push(format!("{:11} {}", format!("{first:>2} to {last}"), cells.join(" ")));
        met.extend(row.iter().flat_map(|sector| sector.blocks.iter().map(|block| block.holds)));
    }
    format!("sectors\n{}\n            {}", lines.join("\n"), legend(met))
}

/// How many pages stand side by side.
const PAGES_IN_A_ROW: usize = 48;

/// Draws the memory of a card of pages: a sign a page, four together.
fn page_map(pages: &[PageAnswer]) -> String {
    let mut lines = Vec::new();
    for row in pages.chunks(PAGES_IN_A_ROW) {
        let first = row.first().map(|page| page.page).unwrap_or_default();
        let last = row.last().map(|page| page.page).unwrap_or_default();
        let fours = row.chunks(4).map(|four| four.iter().map(|page| sign(page.holds).0).collect::<String>());
        lines.push(format!("{:11} {}", format!("{first:>2} to {last}"), fours.collect::<Vec<_>>().join(" ")));
    }
    let met = pages.iter().map(|page| page.holds).collect();
    format!("pages\n{}\n            {}", lines.join("\n"), legend(met))
}

/// Explains the signs that are used.
fn legend(mut met: Vec<Holds>) -> String {
    met.sort_unstable();
    met.dedup();
    let words: Vec<String> = met.into_iter().map(sign).map(|(sign, name)| format!("{sign} {name}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::card::BlockAnswer;

    fn sector(number: u8, signs: &str) -> SectorAnswer {
        let all = [
            Holds::Manufacturer,
            Holds::Directory,
            Holds::SlotA,
            Holds::SlotB,
            Holds::Trailer,
            Holds::Blank,
            Holds::Foreign,
            Holds::Closed,
        ];
        let holds = |wanted| all.into_iter().find(|holds| sign(*holds).0 == wanted).unwrap();
        let blocks = signs.chars().map(|sign| BlockAnswer { block: 0, holds: holds(sign), data: None }).collect();
        SectorAnswer { sector: number, key_a: None, key_b: None, access_bits: None, general_purpose: None, blocks }
    }

    #[test]
    fn the_map_shows_a_sign_a_block_and_explains_those_that_it_uses() {
        let mut sectors = vec![sector(0, "MDDT"), sector(1, "AAAT"), sector(2, "AA.T"), sector(3, "BB#T")];
        sectors.extend((4..32).map(|number| sector(number, "????")));
        sectors.extend((32..40).map(|number| sector(number, "...............T")));
        let map = map(&sectors);
        let lines: Vec<&str> = map.lines().collect();
        assert_eq!(lines[1], " 0 to 7     [MDDT] [AAAT] [AA.T] [BB#T] [????] [????] [????] [????]");
        assert_eq!(lines[5], "32 to 33    [...............T] [...............T]");
        assert_eq!(lines.len(), 1 + 4 + 4 + 1);
        let legend = lines[9];
        assert!(legend.contains("A slot A") && legend.contains("# foreign data") && legend.contains("? closed"));
        assert!(!self::map(&sectors[..1]).contains("slot A"), "what is not there is not explained");
    }
}
