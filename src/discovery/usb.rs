//! What a USB device says of itself and can be believed.

/// What makers leave in the place of a serial number. All units of the product say the same.
///
/// `0001` is Silicon Labs' default (CP2102: Klipper issue 4975, proxmark3 issue 1904); the others are what sample code
/// and flashing tools leave behind.
const DEFAULTS: &[&str] = &["0001", "none", "null", "n/a", "serial", "serialnumber", "default"];

/// What a number that somebody typed to have one begins like.
const COUNTED: [&str; 2] = ["0123456789abcdef", "1234567890abcdef"];

/// A serial number that is one: it tells two units of a product apart.
///
/// None are: blanks, one letter repeated (`0000`, `FFFF`), a count (`12345678`), a PCI address (`0000:00:14.0`, which
/// host controllers say), makers' defaults, and what is no printable text: chips with an empty memory say noise.
pub fn true_serial(text: &str) -> Option<String> {
    let serial = text.trim().trim_end_matches('\0');
    let lower = serial.to_ascii_lowercase();
    let is_one_letter = |first: char| lower.chars().all(|letter| letter == first);
    let is_counted = lower.len() >= 4 && COUNTED.iter().any(|count| count.starts_with(&lower));
    let is_junk = lower.chars().next().is_none_or(is_one_letter)
        || serial.chars().any(|letter| letter.is_control() || letter == char::REPLACEMENT_CHARACTER)
        || DEFAULTS.contains(&&*lower)
        || is_counted
        || is_pci_address(&lower);
    (!is_junk).then(|| serial.to_owned())
}

/// `0000:00:14.0`: domain, bus, device, function.
fn is_pci_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '.']).collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([4, 2, 2, 1]) && parts.iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_units_say_is_no_serial_number() {
        for junk in [
            "",
            "  ",
            "0",
            "0000",
            "FFFFFFFF",
            "ffff",
            "0001",
            "12345678",
            "0123456789ABCDEF",
            "1234",
            "None",
            "0000:00:14.0",
            "A\u{1}B",
            "\u{FFFD}\u{FFFD}7",
        ] {
            assert_eq!(true_serial(junk), None, "{junk:?}");
        }
        for serial in ["A1", "FTDI1234", "A50285BI", " RR464-000123 \n", "0002", "12346", "0000:00:14", "é9"] {
            assert_eq!(true_serial(serial).as_deref(), Some(serial.trim()), "{serial:?}");
        }
    }
}
