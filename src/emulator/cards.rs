//! The cards of a virtual encoder: which kinds there are, which lie on it, and which lay there before.

use encoder_protocols::card_sim::{
    Card, ClassicCard, CloneKind, DumpError, Field, Part4Card, Part4Kind, PlaceError, Type2Card, UnknownCard,
};
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::id::{Target, Uid, UidParseError};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

/// How many cards may lie on the encoder. A PN532 tells two apart; more only have to be "several".
const FIELD_CARDS_MAX: usize = 8;

/// How many removed cards are remembered; the one that was away longest is forgotten first.
const WALLET_CARDS_MAX: usize = 1000;

/// A kind of card that can be placed on a virtual encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulatedKind {
    /// MIFARE Classic of this size.
    Classic(ClassicSize),
    /// A clone of MIFARE Classic 1K.
    Clone(CloneKind),
    /// Ultralight or NTAG.
    Type2(Type2Kind),
    /// A card of ISO/IEC 14443-4 that no credential goes on.
    Part4(Part4Kind),
    /// A card that activates and answers nothing else.
    Unknown,
}

impl SimulatedKind {
    /// All kinds, in the order in which people are told of them.
    pub const ALL: [Self; 16] = [
        Self::Classic(ClassicSize::Mini),
        Self::Classic(ClassicSize::K1),
        Self::Classic(ClassicSize::K4),
        Self::Clone(CloneKind::Gen1a),
        Self::Clone(CloneKind::Gen2),
        Self::Type2(Type2Kind::Ultralight),
        Self::Type2(Type2Kind::UltralightEv1Large),
        Self::Type2(Type2Kind::UltralightEv1Small),
        Self::Type2(Type2Kind::UltralightC),
        Self::Type2(Type2Kind::Ntag213),
        Self::Type2(Type2Kind::Ntag215),
        Self::Type2(Type2Kind::Ntag216),
        Self::Part4(Part4Kind::Desfire),
        Self::Part4(Part4Kind::Payment),
        Self::Part4(Part4Kind::Phone),
        Self::Unknown,
    ];

    /// Its name on the command line and on the control socket.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic(ClassicSize::Mini) => "classic-mini",
            Self::Classic(ClassicSize::K1) => "classic-1k",
            Self::Classic(ClassicSize::K4) => "classic-4k",
            Self::Clone(CloneKind::Gen1a) => "classic-1k-gen1a",
            Self::Clone(CloneKind::Gen2) => "classic-1k-gen2",
            Self::Type2(Type2Kind::Ultralight) => "ultralight",
            Self::Type2(Type2Kind::UltralightEv1Large) => "ultralight-ev1",
            Self::Type2(Type2Kind::UltralightEv1Small) => "ultralight-ev1-48",
            Self::Type2(Type2Kind::UltralightC) => "ultralight-c",
            Self::Type2(Type2Kind::Ntag213) => "ntag213",
            Self::Type2(Type2Kind::Ntag215) => "ntag215",
            Self::Type2(Type2Kind::Ntag216) => "ntag216",
            Self::Part4(Part4Kind::Desfire) => "desfire",
            Self::Part4(Part4Kind::Payment) => "emv",
            Self::Part4(Part4Kind::Phone) => "phone",
            Self::Unknown => "unknown",
        }
    }

    fn of(card: &Card) -> Self {
        match card {
            Card::Classic(card) => card.clone_kind().map_or(Self::Classic(card.size()), Self::Clone),
            Card::Type2(card) => Self::Type2(card.kind()),
            Card::Part4(card) => Self::Part4(card.kind()),
            Card::Unknown(_) => Self::Unknown,
        }
    }

    /// A card as it leaves the factory.
    fn blank(self, uid: Uid) -> Card {
        match self {
            Self::Classic(size) => Card::Classic(ClassicCard::blank(size, uid)),
            Self::Clone(kind) => Card::Classic(ClassicCard::blank_clone(kind, ClassicSize::K1, uid)),
            Self::Type2(kind) => Card::Type2(Type2Card::blank(kind, uid)),
            Self::Part4(kind) => Card::Part4(Part4Card::new(kind, uid)),
            // SAK 40: a phone that offers NFCIP-1 and no card. Source: NXP AN10833, table "SAK coding".
            Self::Unknown => Card::Unknown(UnknownCard::new(Target::type_a(uid, [0x00, 0x04], 0x40))),
        }
    }

    /// The lengths of UIDs that cards of the kind have; a new one gets the first.
    fn uid_lengths(self) -> &'static [usize] {
        match self {
            // Source: MF1S50yyX/V1 data sheet, section 8.4: 7-byte UIDs and 4-byte NUIDs. Payment cards have either.
            Self::Classic(_) | Self::Clone(_) | Self::Part4(Part4Kind::Payment) => &[4, 7],
            // Source: their data sheets, "double size UID"; the same for DESFire.
            Self::Type2(_) | Self::Part4(Part4Kind::Desfire) => &[7],
            // One that is made up for each field. Source: ISO/IEC 14443-3, 6.5.4.
            Self::Part4(Part4Kind::Phone) => &[4],
            Self::Unknown => &[4, 7, 10],
        }
    }

    /// A UID for a new card.
    fn random_uid(self) -> Result<Uid, CardsError> {
        let len = self.uid_lengths().first().copied().unwrap_or(4);
        loop {
            let mut bytes = [0; 10];
            getrandom::fill(&mut bytes).map_err(CardsError::Random)?;
            // Single size: 08 marks a UID that changes at each activation, 88 is the cascade tag. Double size: NXP is
            // manufacturer 04. Source: ISO/IEC 14443-3, 6.5.4; ISO/IEC 7816-6.
            match (self, bytes.first_mut()) {
                (Self::Part4(Part4Kind::Phone), Some(first)) => *first = 0x08,
                (_, Some(first)) if len == 7 => *first = 0x04,
                (_, Some(0x08 | 0x88)) => continue,
                (_, Some(_) | None) => {}
            }
            if let Some(uid) = bytes.get(..len).and_then(Uid::new) {
                return Ok(uid);
            }
        }
    }
}

/// A card to place: `KIND[:UID]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardSpec {
    /// What it is.
    pub kind: SimulatedKind,
    /// Which one it is; without a UID a new card with a random one.
    pub uid: Option<Uid>,
}

/// What is not a card to place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardSpecError {
    /// No kind of this name.
    #[error("unknown kind of card {kind:?}; there are {}", SimulatedKind::ALL.map(SimulatedKind::name).join(", "))]
    Kind {
        /// What was asked for.
        kind: String,
    },
    /// Not a UID.
    #[error("{uid:?} is not a UID")]
    Uid {
        /// What was given.
        uid: String,
        /// Why.
        #[source]
        source: UidParseError,
    },
    /// A UID of a length that the kind does not have.
    #[error("a card of kind {} has a UID of {} bytes", kind.name(), lengths(*kind))]
    UidLength {
        /// The kind.
        kind: SimulatedKind,
    },
}

fn lengths(kind: SimulatedKind) -> String {
    kind.uid_lengths().iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

impl FromStr for CardSpec {
    type Err = CardSpecError;

    fn from_str(text: &str) -> Result<Self, CardSpecError> {
        let (name, uid) = text.split_once(':').map_or((text, None), |(name, uid)| (name, Some(uid)));
        let kind = SimulatedKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| CardSpecError::Kind { kind: name.into() })?;
        let uid = uid.map(|uid| uid.parse().map_err(|source| CardSpecError::Uid { uid: uid.into(), source }));
        let uid: Option<Uid> = uid.transpose()?;
        if uid.is_some_and(|uid| !kind.uid_lengths().contains(&uid.as_bytes().len())) {
            return Err(CardSpecError::UidLength { kind });
        }
        Ok(Self { kind, uid })
    }
}

/// A card's kind and UID as people read them: `classic-1k:deadbeef`.
struct Name<'a>(&'a Card);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", SimulatedKind::of(self.0).name(), self.0.uid())
    }
}

/// Why something could not be done with the cards.
#[derive(Debug, thiserror::Error)]
pub enum CardsError {
    /// The card cannot be placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The encoder is full.
    #[error("{FIELD_CARDS_MAX} cards lie there already; remove them first")]
    Full,
    /// The operating system gives no random numbers.
    #[error("no random UID to be had")]
    Random(#[source] getrandom::Error),
    /// No card lies on the encoder, or never did.
    #[error("no card lies there; place one first")]
    NoCard,
    /// Which card is meant is not clear.
    #[error("{count} cards lie there; remove them and place the one that is meant")]
    Several {
        /// How many there are.
        count: usize,
    },
    /// The card is of a kind without readable memory.
    #[error("{name} has no memory")]
    NoMemory {
        /// The card.
        name: String,
    },
    /// The image does not fit the card.
    #[error("this image does not fit {name}")]
    Image {
        /// The card.
        name: String,
        /// Why.
        source: DumpError,
    },
}

/// The cards that lay on the encoder before, the last one at the back. They keep their memory.
#[derive(Default)]
pub(super) struct Wallet {
    cards: VecDeque<Card>,
}

impl Wallet {
    /// Lays a card on the encoder, out of the wallet when it was here before. Says which.
    pub(super) fn place(&mut self, field: &mut Field, spec: CardSpec) -> Result<String, CardsError> {
        if field.cards().len() >= FIELD_CARDS_MAX {
            return Err(CardsError::Full);
        }
        let uid = spec.uid.map_or_else(|| spec.kind.random_uid(), Ok)?;
        if field.cards().iter().any(|card| card.uid() == uid) {
            return Err(PlaceError::SameUid(uid).into());
        }
        let card = self.take(spec.kind, uid).unwrap_or_else(|| spec.kind.blank(uid));
        let name = Name(&card).to_string();
        field.place(card)?;
        Ok(name)
    }

    /// Takes all cards off the encoder. Says which.
    pub(super) fn remove(&mut self, field: &mut Field) -> Vec<String> {
        field.remove_all().into_iter().map(|card| self.keep(card)).collect()
    }

    /// The memory of the card on the encoder, or of the one that lay there last.
    pub(super) fn memory(&self, field: &Field) -> Result<Vec<u8>, CardsError> {
        let card = match field.cards() {
            [] => self.cards.back().ok_or(CardsError::NoCard)?,
            [card] => card,
            cards => return Err(CardsError::Several { count: cards.len() }),
        };
        match card {
            Card::Classic(card) => Ok(card.dump()),
            Card::Type2(card) => Ok(card.dump()),
            Card::Part4(_) | Card::Unknown(_) => Err(CardsError::NoMemory { name: Name(card).to_string() }),
        }
    }

    fn take(&mut self, kind: SimulatedKind, uid: Uid) -> Option<Card> {
        let index = self.cards.iter().position(|card| SimulatedKind::of(card) == kind && card.uid() == uid)?;
        self.cards.remove(index)
    }

    fn keep(&mut self, card: Card) -> String {
        let name = Name(&card).to_string();
        // Loading an image changes a card's UID, perhaps to that of one in the wallet; the later one counts.
        self.take(SimulatedKind::of(&card), card.uid());
        if self.cards.len() >= WALLET_CARDS_MAX {
            self.cards.pop_front();
        }
        self.cards.push_back(card);
        name
    }
}

/// Replaces the memory of the card on the encoder.
pub(super) fn load(field: &mut Field, image: &[u8]) -> Result<(), CardsError> {
    let uid = match field.cards() {
        [] => return Err(CardsError::NoCard),
        [card] => card.uid(),
        cards => return Err(CardsError::Several { count: cards.len() }),
    };
    let card = field.card_mut(uid).ok_or(CardsError::NoCard)?;
    let name = Name(card).to_string();
    match card {
        Card::Classic(card) => card.load(image).map_err(|source| CardsError::Image { name, source }),
        Card::Type2(card) => card.load(image).map_err(|source| CardsError::Image { name, source }),
        Card::Part4(_) | Card::Unknown(_) => Err(CardsError::NoMemory { name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoder_protocols::family::classic::BlockNumber;

    fn spec(text: &str) -> CardSpec {
        text.parse().unwrap()
    }

    #[test]
    fn every_kind_parses_by_its_name_and_the_rest_is_refused_with_the_list() {
        for kind in SimulatedKind::ALL {
            assert_eq!(spec(kind.name()), CardSpec { kind, uid: None });
        }
        assert_eq!(spec("classic-1k:DEADBEEF").uid, Uid::new(&[0xDE, 0xAD, 0xBE, 0xEF]));
        let refused = |text: &str| text.parse::<CardSpec>().unwrap_err().to_string();
        assert_eq!(
            refused("ntag424"),
            "unknown kind of card \"ntag424\"; there are classic-mini, classic-1k, classic-4k, classic-1k-gen1a, classic-1k-gen2, \
             ultralight, ultralight-ev1, \
             ultralight-ev1-48, ultralight-c, ntag213, ntag215, ntag216, desfire, emv, phone, unknown"
        );
        assert_eq!(refused("classic-1k:"), "\"\" is not a UID");
        assert_eq!(refused("classic-1k:00112233445566778899"), "a card of kind classic-1k has a UID of 4 or 7 bytes");
    }

    #[test]
    fn a_card_that_comes_back_is_the_same_card() {
        let (mut field, mut wallet) = (Field::new(), Wallet::default());
        wallet.place(&mut field, spec("classic-1k:deadbeef")).unwrap();
        let uid = spec("classic-1k:deadbeef").uid.unwrap();
        match field.card_mut(uid).unwrap() {
            Card::Classic(card) => card.set_memory(BlockNumber::new(4), [0x5A; 16]),
            Card::Type2(_) | Card::Part4(_) | Card::Unknown(_) => panic!("not what was placed"),
        }
        assert_eq!(wallet.remove(&mut field), ["classic-1k:deadbeef"]);
        let memory = wallet.memory(&field).unwrap();
        assert_eq!(memory[64..80], [0x5A; 16]);
        wallet.place(&mut field, spec("classic-1k:deadbeef")).unwrap();
        assert_eq!(wallet.memory(&field).unwrap(), memory);
        wallet.remove(&mut field);
        wallet.place(&mut field, spec("classic-mini:deadbeef")).unwrap();
        assert_eq!(wallet.memory(&field).unwrap().len(), 320, "another kind is another card");
    }

    #[test]
    fn cards_without_a_uid_get_different_ones() {
        let (mut field, mut wallet) = (Field::new(), Wallet::default());
        let names: Vec<_> = (0..8).map(|_| wallet.place(&mut field, spec("classic-1k")).unwrap()).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), 8);
        assert!(matches!(wallet.place(&mut field, spec("unknown")), Err(CardsError::Full)));
        assert!(matches!(wallet.memory(&field), Err(CardsError::Several { count: 8 })));
    }

    #[test]
    fn the_wallet_forgets_the_card_that_was_away_longest() {
        let (mut field, mut wallet) = (Field::new(), Wallet::default());
        for uid in 0..=u32::try_from(WALLET_CARDS_MAX).unwrap() {
            wallet.place(&mut field, spec(&format!("unknown:{uid:08x}"))).unwrap();
            wallet.remove(&mut field);
        }
        assert_eq!(wallet.cards.len(), WALLET_CARDS_MAX);
        assert_eq!(wallet.cards.front().map(Card::uid), Uid::new(&[0, 0, 0, 1]));
    }
}
