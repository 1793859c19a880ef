//! A raw image as the device takes it: every number checked, every trailer's access bits understood.

use crate::api::bridge::raw::{RawBytes, RawCard, RawImage, RawWrite};
use crate::fault::{Fault, FaultKind};
use encoder_protocols::family::classic::{
    AccessBits, BlockNumber, ClassicSize, DataBlock, Key, KeyA, KeyB, SectorKey, SectorNumber, SectorTrailer,
};
use encoder_protocols::id::Uid;
use encoder_protocols::plan::{ClassicImage, ClassicWrite, TrailerLeave};

/// What a raw image asks for.
#[derive(Debug)]
pub struct Parsed {
    /// What is to be on the card.
    pub image: ClassicImage,
    /// The size of the card that it is for.
    pub size: Option<ClassicSize>,
    /// The only card that may be written.
    pub only_card: Option<Uid>,
}

/// Reads a raw image and judges what can be judged without a card.
///
/// # Errors
/// [`FaultKind::ImageRefused`], with what is wrong; contents and keys are never quoted.
pub fn parse(image: &RawImage) -> Result<Parsed, Fault> {
    let size = image.card.map(|card| match card {
        RawCard::ClassicMini => ClassicSize::Mini,
        RawCard::Classic1k => ClassicSize::K1,
        RawCard::Classic4k => ClassicSize::K4,
    });
    let only_card = image.card_number.as_deref().map(str::parse).transpose().map_err(refused)?;
    let mut keys = Vec::new();
    for given in &image.keys {
        let sector = sector(given.sector)?;
        let key = |bytes: &RawBytes<6>| SectorKey::new(bytes.0);
        keys.extend(given.key_a.as_ref().map(|bytes| (sector, Key::A(KeyA(key(bytes))))));
        keys.extend(given.key_b.as_ref().map(|bytes| (sector, Key::B(KeyB(key(bytes))))));
    }
    let writes = image.writes.iter().map(write).collect::<Result<_, _>>()?;
    let leave =
        TrailerLeave { write: image.write_trailers, lock_for_ever: image.lock_for_ever, show_key_b: image.show_key_b };
    let image = ClassicImage { keys, writes, leave };
    image.check(size.unwrap_or(ClassicSize::K4)).map_err(refused)?;
    Ok(Parsed { image, size, only_card })
}

fn refused(detail: impl std::fmt::Display) -> Fault {
    Fault::with_detail(FaultKind::ImageRefused, detail)
}

fn sector(number: u8) -> Result<SectorNumber, Fault> {
    SectorNumber::new(number).ok_or_else(|| refused(format_args!("no card has sector {number}")))
}

fn write(write: &RawWrite) -> Result<ClassicWrite, Fault> {
    match write {
        RawWrite::Block { block, data, volatile } => {
            let number = BlockNumber::new(*block);
            let data_block = DataBlock::new(number).ok_or_else(|| {
                let what = if number.is_trailer() { "a trailer: write it as one" } else { "the manufacturer's" };
                refused(format_args!("block {number} is {what}"))
            })?;
            Ok(ClassicWrite::Data { block: data_block, data: data.0, volatile: *volatile })
        }
        RawWrite::Trailer { sector: number, key_a, access_bits, general_purpose, key_b } => {
            let sector = sector(*number)?;
            let access_bits = AccessBits::from_bytes(access_bits.0).ok_or_else(|| {
                refused(format_args!("the access bits for sector {number} disagree with their inverted copy"))
            })?;
            let [general_purpose] =
                general_purpose.as_ref().map_or([SectorTrailer::GENERAL_PURPOSE_TRANSPORT], |byte| byte.0);
            let trailer = SectorTrailer {
                key_a: KeyA(SectorKey::new(key_a.0)),
                access_bits,
                general_purpose,
                key_b: KeyB(SectorKey::new(key_b.0)),
            };
            Ok(ClassicWrite::Trailer { sector, trailer })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(writes: &str, flags: &str) -> Result<Parsed, String> {
        let text = format!(r#"{{"card":"classic-1k","writes":[{writes}]{flags}}}"#);
        parse(&serde_json::from_str(&text).unwrap()).map_err(|fault| fault.message)
    }

    fn block(number: u8) -> String {
        format!(r#"{{"write":"block","block":{number},"data":"{}"}}"#, "5a".repeat(16))
    }

    fn trailer(access_bits: &str) -> String {
        let (a, b) = ("a1".repeat(6), "b2".repeat(6));
        format!(r#"{{"write":"trailer","sector":5,"key_a":"{a}","access_bits":"{access_bits}","key_b":"{b}"}}"#)
    }

    #[test]
    fn what_may_never_be_written_is_refused_without_a_card() {
        let leave = r#","write_trailers":true"#;
        // Access bits by the tables of the MF1S50yyX data sheet: 787788 is data 100, trailer 011; FF0780 the factory's,
        // which show key B; 70F788 has trailer 111, which is closed for ever; 787789 disagrees with its inverted copy.
        for (writes, flags, why) in [
            (block(0), "", "block 0 is the manufacturer's"),
            (block(7), "", "block 7 is a trailer"),
            (block(64), "", "the card has no block 64"),
            (format!("{},{}", block(4), block(4)), "", "block 4 twice"),
            (String::new(), "", "no block to write"),
            (trailer("787788"), "", "without leave"),
            (trailer("787789"), leave, "inverted copy"),
            (trailer("FF0780"), leave, "read key B"),
            (trailer("7F0788"), leave, "inverted copy"),
            (trailer("70F788"), leave, "never be changed again"),
        ] {
            let error = judged(&writes, flags).map(drop).unwrap_err();
            assert!(error.contains(why), "{writes}: {error}");
            assert!(!error.contains("a1a1") && !error.contains("5a5a"), "{error}");
        }
        assert!(judged(&trailer("787788"), leave).is_ok());
        assert!(judged(&trailer("FF0780"), r#","write_trailers":true,"show_key_b":true"#).is_ok());
        let parsed = judged(&block(4), r#","card_number":"04a1b2c3""#).unwrap();
        assert_eq!(parsed.only_card, "04a1b2c3".parse().ok());
    }
}
