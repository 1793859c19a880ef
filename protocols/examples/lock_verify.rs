//! What a lock would do with a card: takes a dump of one, a door, a time and the property's key, and says open or why not.
//!
//! ```text
//! cargo run -p encoder-protocols --example lock_verify -- --dump card.mfd --uid 04a1b2c3 --door 101 \
//!     --time 1760025600 --key-id 1 --key 00112233445566778899aabbccddeeff --property 5d3c2b1a09f84e7d8c6b5a493827160f
//! ```
//!
//! A dump is a card's memory and nothing else, as `nfc-mfclassic r` and `nfc-mfultralight r` write it. Its length says which
//! card it is; where two have the same length, `--card` says it (`ultralight`, `ultralight-ev1-48`, `ultralight-ev1`,
//! `ultralight-c`, `ntag213`, `ntag215`, `ntag216`, `classic`). Exit status: 0 open, 1 shut, 2 a mistake in the arguments.

use encoder_protocols::family::type2::Type2Kind;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::keys::PropertyKey;
use encoder_protocols::layout::record::PropertyId;
use encoder_protocols::layout::verify::{Lock, Memory, place, verify};
use std::io::Write as _;
use std::process::ExitCode;

const USAGE: &str = "lock_verify --dump FILE --uid HEX --door NUMBER --time SECONDS --key-id NUMBER --key HEX \
                     --property HEX [--card KIND] [--common]";

const KINDS: [(&str, Type2Kind); 7] = [
    ("ultralight", Type2Kind::Ultralight),
    ("ultralight-ev1-48", Type2Kind::UltralightEv1Small),
    ("ultralight-ev1", Type2Kind::UltralightEv1Large),
    ("ultralight-c", Type2Kind::UltralightC),
    ("ntag213", Type2Kind::Ntag213),
    ("ntag215", Type2Kind::Ntag215),
    ("ntag216", Type2Kind::Ntag216),
];

struct Arguments(Vec<String>);

impl Arguments {
    fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn need(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("{name} is missing. Usage: {USAGE}"))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.need(name)?;
        text.parse().map_err(|_| format!("{name}: {text:?} is no number, or too large"))
    }

    /// Sixteen bytes in hex; the dashes of a UUID may stay.
    fn bytes(&self, name: &str) -> Result<[u8; 16], String> {
        let digits: String = self.need(name)?.chars().filter(|&digit| digit != '-').collect();
        let number = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten();
        number.map(u128::to_be_bytes).ok_or_else(|| format!("{name} is 16 bytes in hex"))
    }
}

/// What a dump is of: `None` for MIFARE Classic.
fn kind_of(card: Option<&str>, dump: &[u8]) -> Result<Option<Type2Kind>, String> {
    if let Some(name) = card.filter(|&name| name != "classic") {
        let kind = KINDS.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind);
        return kind.map(Some).ok_or_else(|| format!("--card: {name} is not among the kinds"));
    }
    let is_classic = [320, 1024, 4096].contains(&dump.len());
    if is_classic || card.is_some() {
        return Ok(None);
    }
    let by_length = KINDS.into_iter().find(|(_, kind)| usize::from(kind.pages()) * 4 == dump.len());
    let found = by_length.map(|(_, kind)| Some(kind));
    found.ok_or_else(|| format!("a dump of {} bytes is of no card that is known: say --card", dump.len()))
}

fn run(arguments: &Arguments) -> Result<(bool, String), String> {
    let file = arguments.need("--dump")?;
    let dump = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let uid: Uid = arguments.need("--uid")?.parse().map_err(|error| format!("--uid: {error}"))?;
    let keys = PropertyKey::new(arguments.number("--key-id")?, arguments.bytes("--key")?).for_card(&uid);
    let lock = Lock {
        property: PropertyId(arguments.bytes("--property")?),
        door: arguments.number("--door")?,
        is_common: arguments.0.iter().any(|argument| argument == "--common"),
        newest: None,
    };
    let memory = match kind_of(arguments.get("--card"), &dump)? {
        None => Memory::Classic(&dump),
        Some(kind) => Memory::Pages { place: place(kind, &dump), pages: &dump },
    };
    Ok(match verify(memory, &keys, &lock, arguments.number("--time")?) {
        Ok(opened) => (true, format!("open: credential …{}, until {}", opened.credential, opened.ends_at)),
        Err(refusal) => (false, format!("shut: {refusal}")),
    })
}

fn main() -> ExitCode {
    match run(&Arguments(std::env::args().skip(1).collect())) {
        Ok((is_open, said)) => {
            let shown = writeln!(std::io::stdout(), "{said}").is_ok();
            if is_open && shown { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(mistake) => {
            let _nobody_reads = writeln!(std::io::stderr(), "{mistake}");
            ExitCode::from(2)
        }
    }
}
