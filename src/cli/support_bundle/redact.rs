//! Takes out of a text what nobody else may know: keys, tokens, PINs, guests' names; card numbers are shortened.
//!
//! Twice over: what is known to be secret on this PC is looked for as it is, and what looks like a secret by its name or
//! its form is taken out as well. A little too much is lost rather than a little too little.

/// What stands where a secret was.
const GONE: &str = "[secret]";

/// Names whose values are nobody's business, by how they end. `…_file` and `…_id` name places and things, not secrets.
const NAMES: &[&str] = &[
    "pin",
    "passphrase",
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "key",
    "authorization",
    "cookie",
    "csrf",
    "code",
    "full_name",
    "guest_name",
    "guest",
    "email",
    "email_address",
    "phone",
    "phone_number",
];

/// How secrets of ours begin.
const PREFIXES: &[&str] = &["seam_", "bridge_", "whsec_", "sk_", "Bearer ", "bearer ", "Basic "];

/// A quote in a text that is itself quoted, such as a line of the configuration in an error in JSON.
const QUOTED_QUOTE: &str = "\\\"";

/// Secrets shorter than this would take ordinary words with them; they are found by their names.
const KNOWN_BYTES_MIN: usize = 4;

/// What is to be taken out.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    known: Vec<String>,
}

impl Redactor {
    /// Adds something that is known to be secret.
    pub(super) fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() >= KNOWN_BYTES_MIN && !self.known.iter().any(|known| known == secret) {
            self.known.push(secret.to_owned());
            // The longest first: a secret may be part of another one.
            self.known.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// The text without them.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for known in &self.known {
            text = text.replace(known.as_str(), GONE);
            // As JSON and TOML write it.
            let escaped = serde_json::to_string(known).unwrap_or_default();
            let escaped = escaped.trim_matches('"');
            if escaped != known {
                text = text.replace(escaped, GONE);
            }
        }
        shorten(&without_user_info(&without_prefixed(&without_named(&text))))
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '-'
}

/// Values behind the names of [`NAMES`], in TOML, JSON, `name=value` and `name: value`.
fn without_named(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (before, word_on) = rest.split_at(start);
        clean.push_str(before);
        let (word, after) = word_on.split_at(word_on.find(|character| !is_word(character)).unwrap_or(word_on.len()));
        clean.push_str(word);
        rest = after;
        if !is_secret(word) {
            continue;
        }
        let value = after.trim_start_matches(['"', '\'', ' ', '\\']);
        let Some(value) = value.strip_prefix(['=', ':']) else { continue };
        let value = value.trim_start_matches(' ');
        // Lists and tables have names of their own inside; a path's `::` is no value.
        if value.starts_with(['[', '{', ':', '\n']) || value.is_empty() {
            continue;
        }
        clean.push_str(&after[..after.len() - value.len()]);
        clean.push_str(&gone_like(value));
        rest = &value[value_length(value)..];
    }
    clean.push_str(rest);
    clean
}

fn is_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase().replace('-', "_");
    NAMES.iter().any(|name| word == *name || word.strip_suffix(name).is_some_and(|before| before.ends_with('_')))
}

/// What stands there instead, in the same quotes.
fn gone_like(value: &str) -> String {
    if value.starts_with(QUOTED_QUOTE) {
        return [QUOTED_QUOTE, GONE, QUOTED_QUOTE].concat();
    }
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => format!("{quote}{GONE}{quote}"),
        Some(_) | None => GONE.to_owned(),
    }
}

/// The bytes of a value: a string with its quotes, or up to what ends a bare word.
fn value_length(value: &str) -> usize {
    for quotes in [QUOTED_QUOTE, "\"\"\"", "'''"] {
        if let Some(inside) = value.strip_prefix(quotes) {
            return inside.find(quotes).map_or(value.len(), |end| end + 2 * quotes.len());
        }
    }
    let mut characters = value.char_indices();
    match characters.next() {
        Some((_, quote @ ('"' | '\''))) => {
            let mut is_escaped = false;
            for (index, character) in characters {
                match character {
                    _ if is_escaped => is_escaped = false,
                    '\\' if quote == '"' => is_escaped = true,
                    found if found == quote => return index + 1,
                    _ => {}
                }
            }
            value.len()
        }
        // A header's value goes to the end of its line: `Authorization: Bearer x`.
        Some(_) => value.find(['\n', ',', ';', '}', ']', '&', '"']).unwrap_or(value.len()),
        None => 0,
    }
}

/// Words that begin as our secrets do.
fn without_prefixed(text: &str) -> String {
    let mut text = text.to_owned();
    for prefix in PREFIXES {
        let mut clean = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find(prefix) {
            let (before, found) = rest.split_at(start);
            let after = &found[prefix.len()..];
            let length =
                after.find(|character: char| !is_word(character) && !"+/=.".contains(character)).unwrap_or(after.len());
            clean.push_str(before);
            clean.push_str(prefix);
            // `bridge_disconnected` is a word of ours; a key has digits or capitals, or is long.
            let is_key =
                after[..length].contains(|character: char| !character.is_ascii_lowercase() && character != '_');
            if length >= 8 && (is_key || length >= 24) && !before.ends_with(is_word) {
                clean.push_str(GONE);
                rest = &after[length..];
            } else {
                rest = after;
            }
        }
        clean.push_str(rest);
        text = clean;
    }
    text
}

/// User and password in addresses: `postgres://user:password@host`.
fn without_user_info(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let end = after
            .find(|character: char| character.is_whitespace() || "/?#\"'<>".contains(character))
            .unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                clean.push_str(GONE);
                clean.push('@');
                clean.push_str(host);
            }
            None => clean.push_str(authority),
        }
        // What stands behind `?` may be a token.
        match behind.split_once('?').filter(|(path, _)| !path.contains(char::is_whitespace) && !path.contains('"')) {
            Some((path, query)) => {
                clean.push_str(path);
                clean.push('?');
                clean.push_str(GONE);
                let end = query.find(|character: char| character.is_whitespace() || "\"'<>".contains(character));
                rest = &query[end.unwrap_or(query.len())..];
            }
            None => rest = behind,
        }
    }
    clean.push_str(rest);
    clean
}

/// Card numbers, 4, 7 or 10 bytes in hex: the first two digits and the last two stay. Of 16 bytes and more, which keys
/// have, nothing stays. A UUID is none of them.
fn shorten(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (before, word_on) = rest.split_at(start);
        clean.push_str(before);
        let (word, after) = word_on.split_at(word_on.find(|character| !is_word(character)).unwrap_or(word_on.len()));
        let with_colons = with_colons(word_on);
        if with_colons > 0 {
            clean.push_str(&[&word_on[..2], ":…:", &word_on[with_colons - 2..with_colons]].concat());
            rest = &word_on[with_colons..];
            continue;
        }
        let parts = word.split(|character| !char::is_ascii_alphanumeric(&character));
        if word.len() == 36 && word.matches('-').count() == 4 {
            clean.push_str(word);
        } else {
            let mut done = 0;
            for part in parts {
                let is_hex = part.bytes().all(|digit| digit.is_ascii_hexdigit());
                if is_hex && part.len() >= 32 {
                    clean.push_str(GONE);
                } else if is_hex && matches!(part.len(), 8 | 14 | 20) {
                    clean.push_str(&[&part[..2], "…", &part[part.len() - 2..]].concat());
                } else {
                    clean.push_str(part);
                }
                done += part.len();
                if let Some(separator) = word.get(done..=done) {
                    clean.push_str(separator);
                    done += 1;
                }
            }
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

/// The bytes of a card number that is written with colons at the start of this text, or none.
fn with_colons(text: &str) -> usize {
    let mut pairs = 0;
    let mut at = 0;
    loop {
        let is_pair = text.get(at..at + 2).is_some_and(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if !is_pair {
            return 0;
        }
        pairs += 1;
        at += 2;
        match text.get(at..=at) {
            Some(":") => at += 1,
            Some(next) if next.chars().all(is_word) => return 0,
            Some(_) | None => break,
        }
    }
    if matches!(pairs, 4 | 7 | 10) { at } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(text: &str) -> String {
        Redactor::default().clean(text)
    }

    #[test]
    fn values_go_by_their_names() {
        for (text, expected) in [
            ("pin = \"1234\"", "pin = \"[secret]\""),
            ("[desk]\npin=\"12\\\"34\" # x", "[desk]\npin=\"[secret]\" # x"),
            ("{\"full_name\": \"Jane Doe\", \"x\": 1}", "{\"full_name\": \"[secret]\", \"x\": 1}"),
            ("full_name=Jane Doe, x=1", "full_name=[secret], x=1"),
            ("passphrase = '''a\nb'''", "passphrase = '[secret]'"),
            ("Authorization: Bearer abc def\nHost: x", "Authorization: [secret]\nHost: x"),
            ("\"7 | pin = \\\"12 34\\\"\\n\"", "\"7 | pin = \\\"[secret]\\\"\\n\""),
            ("token_file = \"/etc/x\"", "token_file = \"/etc/x\""),
            ("key_id = 1", "key_id = 1"),
            ("crate::token::Type", "crate::token::Type"),
        ] {
            assert_eq!(clean(text), expected);
        }
    }

    #[test]
    fn secrets_go_by_their_form() {
        assert_eq!(clean("with seam_0123456789abcdef, now"), "with seam_[secret], now");
        assert_eq!(clean("whsec_AAAA+BBBB/CCCC="), "whsec_[secret]");
        assert_eq!(clean("postgres://hub:pa55@db/x?sslmode=off"), "postgres://[secret]@db/x?[secret]");
        assert_eq!(clean("http://127.0.0.1:8765/healthz"), "http://127.0.0.1:8765/healthz");
        assert_eq!(clean("seam_workspace"), "seam_workspace");
    }

    #[test]
    fn card_numbers_are_shortened_and_uuids_are_not() {
        assert_eq!(clean("card deadbeef, 04a1b2c3d4e5f6"), "card de…ef, 04…f6");
        assert_eq!(clean("04:A1:B2:C3:D4:E5:F6 lies"), "04:…:F6 lies");
        let uuid = "0b7c16fe-d55e-4a63-8ea6-22c76d33414d";
        assert_eq!(clean(uuid), uuid);
        assert_eq!(clean("uid-deadbeef"), "uid-de…ef");
        assert_eq!(clean("12:30:59"), "12:30:59");
        assert_eq!(clean("00112233445566778899aabbccddeeff"), GONE);
    }

    #[test]
    fn what_is_known_goes_wherever_it_is() {
        let mut redactor = Redactor::default();
        redactor.add("Jane \"J\" Doe\n");
        redactor.add("Jane");
        assert_eq!(redactor.clean("a Jane \"J\" Doe, \"Jane \\\"J\\\" Doe\" b"), "a [secret], \"[secret]\" b");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_and_what_is_known_is_gone(text in ".{0,200}", secret in "[a-zA-Z0-9]{12,40}", at in 0usize..200) {
            let mut redactor = Redactor::default();
            redactor.add(&secret);
            let at = text.char_indices().map(|(index, _)| index).nth(at).unwrap_or(text.len());
            let (before, after) = text.split_at(at);
            let planted = [before, &secret, after].concat();
            let clean = redactor.clean(&planted);
            prop_assert!(!clean.contains(&secret), "{}", clean);
        }
    }
}
