//! A raw image as the device takes it: every number checked, every trailer's access bits understood.

use crate::api::bridge::raw::{RawBytes, RawCard, RawImage, RawPage, RawWrite};
use crate::fault::{Fault, FaultKind};
use encoder_protocols::family::classic::{
    AccessBits, BlockNumber, ClassicSize, DataBlock, Key, KeyA, KeyB, SectorKey, SectorNumber, SectorTrailer,
};
use encoder_protocols::family::type2::{PageNumber, Password, Type2Kind, UltralightCKey};
use encoder_protocols::id::Uid;
use encoder_protocols::plan::{ClassicImage, ClassicWrite, PageWrite, TrailerLeave, Type2Image, Unlock};
use encoder_protocols::secret::Secret;

/// What a raw image asks for.
#[derive(Debug)]
pub struct Parsed {
    /// What is to be on the card.
    pub image: Image,
    /// The only card that may be written.
    pub only_card: Option<Uid>,
}

/// What is to be on a card, by its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// MIFARE Classic.
    Classic {
        /// What.
        image: ClassicImage,
        /// The size of the card that it is for.
        size: Option<ClassicSize>,
    },
    /// Ultralight or NTAG.
    Type2 {
        /// What.
        image: Type2Image,
        /// The kind of card that it is for.
        kind: Option<Type2Kind>,
    },
}

/// The card that an image names.
enum Wanted {
    Classic(ClassicSize),
    Type2(Type2Kind),
}

fn wanted(card: RawCard) -> Wanted {
    match card {
        RawCard::ClassicMini => Wanted::Classic(ClassicSize::Mini),
        RawCard::Classic1k => Wanted::Classic(ClassicSize::K1),
        RawCard::Classic4k => Wanted::Classic(ClassicSize::K4),
        RawCard::Ultralight => Wanted::Type2(Type2Kind::Ultralight),
        RawCard::UltralightEv1Small => Wanted::Type2(Type2Kind::UltralightEv1Small),
        RawCard::UltralightEv1 => Wanted::Type2(Type2Kind::UltralightEv1Large),
        RawCard::UltralightC => Wanted::Type2(Type2Kind::UltralightC),
        RawCard::Ntag213 => Wanted::Type2(Type2Kind::Ntag213),
        RawCard::Ntag215 => Wanted::Type2(Type2Kind::Ntag215),
        RawCard::Ntag216 => Wanted::Type2(Type2Kind::Ntag216),
    }
}

/// Reads a raw image and judges what can be judged without a card.
///
/// # Errors
/// [`FaultKind::ImageRefused`], with what is wrong; contents and keys are never quoted.
pub fn parse(image: &RawImage) -> Result<Parsed, Fault> {
    let only_card = image.card_number.as_deref().map(str::parse).transpose().map_err(refused)?;
    let image = match (image.card.map(wanted), image.pages.is_empty()) {
        (Some(Wanted::Type2(kind)), _) => pages(image, Some(kind))?,
        (None, false) => pages(image, None)?,
        (Some(Wanted::Classic(size)), _) => blocks(image, Some(size))?,
        (None, true) => blocks(image, None)?,
    };
    Ok(Parsed { image, only_card })
}

fn blocks(image: &RawImage, size: Option<ClassicSize>) -> Result<Image, Fault> {
    if !image.pages.is_empty() {
        return Err(refused("a MIFARE Classic card has blocks and no `pages`"));
    }
    if image.password.is_some() || image.pack.is_some() || image.key.is_some() {
        return Err(refused("a MIFARE Classic card is opened with `keys`, by sector"));
    }
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
    Ok(Image::Classic { image, size })
}

fn pages(image: &RawImage, kind: Option<Type2Kind>) -> Result<Image, Fault> {
    if !image.writes.is_empty() || !image.keys.is_empty() {
        return Err(refused("an Ultralight or NTAG card has `pages`, and neither sectors nor blocks"));
    }
    let opening = match (&image.password, &image.pack, &image.key) {
        (None, None, None) => None,
        (Some(password), Some(pack), None) => {
            Some(Unlock::Password { password: Password::new(password.0), pack: Secret::new(pack.0) })
        }
        (None, None, Some(key)) => Some(Unlock::UltralightC(UltralightCKey::new(key.0))),
        (Some(_), None, _) | (None, Some(_), _) => {
            return Err(refused("`password` and `pack` go together: what is sent and what the card answers"));
        }
        (Some(_), Some(_), Some(_)) => return Err(refused("a card has a password or a 3DES key, not both")),
    };
    let write =
        |page: &RawPage| PageWrite { page: PageNumber::new(page.page), data: page.data.0, volatile: page.volatile };
    let image = Type2Image { opening, writes: image.pages.iter().map(write).collect() };
    // Which card lies there is not known yet: what every card or the largest would refuse is refused now.
    let largest = match &image.opening {
        Some(Unlock::UltralightC(_)) => Type2Kind::UltralightC,
        Some(Unlock::Password { .. }) | None => Type2Kind::Ntag216,
    };
    image.check(kind.unwrap_or(largest)).map_err(refused)?;
    Ok(Image::Type2 { image, kind })
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

    #[test]
    fn only_a_users_pages_may_be_named_and_a_password_has_its_pack() {
        let judged = |text: &str| parse(&serde_json::from_str(text).unwrap()).map_err(|fault| fault.message);
        let image = |card: &str, page: u8, more: &str| {
            format!(r#"{{"card":"{card}","pages":[{{"page":{page},"data":"5a5a5a5a"}}]{more}}}"#)
        };
        // NTAG213F/216F data sheet rev. 3.1, section 8.5: page 2 lock bytes, 3 CC, 4 to 39 user, 40 dynamic locks, 41 to 44
        // configuration.
        for (text, why) in [
            (image("ntag213", 0, ""), "page 0 holds UID, lock bits or OTP"),
            (image("ntag213", 2, ""), "page 2 holds UID, lock bits or OTP"),
            (image("ntag213", 3, ""), "page 3 holds UID, lock bits or OTP"),
            (image("ntag213", 40, ""), "page 40 holds lock bits or configuration of a NTAG213"),
            (image("ntag213", 43, ""), "its user's pages are 4 to 39"),
            (image("ntag213", 45, ""), "has no page 45"),
            (image("ntag213", 4, r#","password":"a1a1a1a1""#), "go together"),
            (image("ntag213", 4, r#","pack":"a1a1""#), "go together"),
            (image("ultralight", 4, r#","password":"a1a1a1a1","pack":"a1a1""#), "is not opened with"),
            (image("ntag213", 4, r#","key":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1""#), "is not opened with"),
            (image("ntag213", 4, r#","keys":[{"sector":1}]"#), "neither sectors"),
            (image("classic-1k", 4, ""), "no `pages`"),
            (r#"{"card":"ntag213"}"#.to_owned(), "no page to write"),
            (format!(r#"{{"writes":[{}],"key":"{}"}}"#, block(4), "a1".repeat(16)), "by sector"),
            (r#"{"pages":[{"page":4,"data":"5a5a5a5a"},{"page":4,"data":"5a5a5a5b"}]}"#.to_owned(), "page 4 twice"),
        ] {
            let error = judged(&text).map(drop).expect_err(&text);
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("a1a1") && !error.contains("5a5a"), "{error}");
        }
        let parsed = judged(&image("ntag216", 225, r#","password":"a1a1a1a1","pack":"a1a1""#)).unwrap();
        assert!(matches!(parsed.image, Image::Type2 { kind: Some(Type2Kind::Ntag216), .. }));
        assert!(!format!("{parsed:?}").contains("161"), "a password is printed");
    }
}
