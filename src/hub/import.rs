//! A property's doors as people write them down: CSV as spreadsheets save it, or TOML as in the configuration.
//!
//! All that is wrong is found at once, each with its line. What is right alone is nothing: an import is whole or not.

use super::EntranceSettings;
use super::error::ApiError;
use crate::api::admin::{PropertyFormat, WrongLine};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// So many wrong lines are told; more help nobody.
const WRONG_MAX: usize = 100;

/// The longest name of a door, in characters.
const NAME_CHARACTERS_MAX: usize = 200;

/// Reads doors.
pub(super) fn read(text: &str, format: PropertyFormat) -> Result<Vec<EntranceSettings>, ApiError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut doors = Doors::default();
    match format {
        PropertyFormat::Csv => read_csv(text, &mut doors),
        PropertyFormat::Toml => read_toml(text, &mut doors),
    }
    doors.done()
}

/// What was read, and what is wrong with it.
#[derive(Default)]
struct Doors {
    entrances: Vec<EntranceSettings>,
    wrong: Vec<WrongLine>,
    lines: BTreeMap<u16, u64>,
}

impl Doors {
    fn wrong(&mut self, line: u64, message: impl Into<String>) {
        self.wrong.push(WrongLine { line, message: message.into() });
    }

    /// Takes a door; each of its faults is told.
    fn take(&mut self, line: u64, name: &str, door: Result<u16, String>) {
        let name = name.trim();
        if name.is_empty() {
            self.wrong(line, "the name is empty");
        } else if name.chars().any(char::is_control) {
            self.wrong(line, "the name has a line break or another control character in it");
        } else if name.chars().count() > NAME_CHARACTERS_MAX {
            self.wrong(line, format!("the name is longer than {NAME_CHARACTERS_MAX} characters"));
        }
        match door {
            Err(problem) => self.wrong(line, problem),
            Ok(door) => {
                if let Some(earlier) = self.lines.get(&door) {
                    let problem = format!("door {door} is in line {earlier} already");
                    self.wrong(line, problem);
                } else {
                    self.lines.insert(door, line);
                    self.entrances.push(EntranceSettings { name: name.to_owned(), door });
                }
            }
        }
    }

    fn done(mut self) -> Result<Vec<EntranceSettings>, ApiError> {
        if self.wrong.is_empty() && self.entrances.is_empty() {
            self.wrong(1, "there is no door in it");
        }
        if self.wrong.is_empty() {
            return Ok(self.entrances);
        }
        let more = self.wrong.len().saturating_sub(WRONG_MAX);
        self.wrong.truncate(WRONG_MAX);
        if let Some(last) = self.wrong.last_mut()
            && more > 0
        {
            last.message = format!("{}; and {more} more lines are wrong", last.message);
        }
        Err(ApiError::Lines { parameter: "text", wrong: self.wrong })
    }
}

fn no_door(given: &str) -> String {
    format!("\"{given}\" is no door number; it must be a whole number from 0 to {}", u16::MAX)
}

/// The separator is the one that the first line has: spreadsheets save what their country writes.
fn read_csv(text: &str, doors: &mut Doors) {
    let first = text.lines().next().unwrap_or_default();
    let separator = [b';', b'\t'].into_iter().find(|mark| first.as_bytes().contains(mark)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).flexible(true).has_headers(false).from_reader(text.as_bytes());
    let mut columns = None;
    for record in reader.records() {
        // Text in memory cannot fail to be read, and it is UTF-8.
        let Ok(record) = record else { continue };
        let line = record.position().map_or(1, csv::Position::line);
        let fields: Vec<&str> = record.iter().map(str::trim).collect();
        let Some((name, door)) = columns else {
            let place = |column: &str| fields.iter().position(|field| field.eq_ignore_ascii_case(column));
            let (Some(name), Some(door)) = (place("name"), place("door")) else {
                return doors.wrong(line, "the first line must name the columns: name,door");
            };
            columns = Some((name, door));
            continue;
        };
        if fields.iter().all(|field| field.is_empty()) {
            continue;
        }
        let (Some(name), Some(door)) = (fields.get(name), fields.get(door)) else {
            doors.wrong(line, "it must have a name and a door number");
            continue;
        };
        doors.take(line, name, door.parse().map_err(|_| no_door(door)));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    entrances: Vec<Spanned<toml::Table>>,
}

fn read_toml(text: &str, doors: &mut Doors) {
    let line_of = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        u64::try_from(before.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX).saturating_add(1)
    };
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => return doors.wrong(line_of(error.span().map_or(0, |span| span.start)), error.message()),
    };
    for entrance in file.entrances {
        let line = line_of(entrance.span().start);
        let mut entrance = entrance.into_inner();
        let (name, door) = (entrance.remove("name"), entrance.remove("door"));
        if let Some(other) = entrance.keys().next() {
            doors.wrong(line, format!("`{other}` is unknown; an entrance has name and door"));
        }
        let door = match door {
            Some(toml::Value::Integer(door)) => u16::try_from(door).map_err(|_| no_door(&door.to_string())),
            Some(other) => Err(no_door(other.to_string().trim_matches('"'))),
            None => Err("the door number is missing".to_owned()),
        };
        match name {
            Some(toml::Value::String(name)) => doors.take(line, &name, door),
            Some(_) => doors.wrong(line, "the name must be a text in quotes"),
            None => doors.wrong(line, "the name is missing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doors(text: &str, format: PropertyFormat) -> Vec<(String, u16)> {
        let entrances = read(text, format).unwrap_or_else(|error| panic!("{error:?}"));
        entrances.into_iter().map(|entrance| (entrance.name, entrance.door)).collect()
    }

    fn wrong(text: &str, format: PropertyFormat) -> Vec<(u64, String)> {
        match read(text, format) {
            Err(ApiError::Lines { parameter: "text", wrong }) => {
                wrong.into_iter().map(|wrong| (wrong.line, wrong.message)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_csv_is_read_as_spreadsheets_save_it() {
        let expected = [("Room 101".to_owned(), 101), ("Suite \"Sea\", north".to_owned(), 65535)];
        for text in [
            "name,door\nRoom 101,101\n\"Suite \"\"Sea\"\", north\",65535\n",
            "\u{feff}name,door\r\nRoom 101,101\r\n\r\n\"Suite \"\"Sea\"\", north\",65535",
            "Door;Floor;Name\n101;1; Room 101 \n65535;2;\"Suite \"\"Sea\"\", north\"\n;;\n",
            "name\tdoor\nRoom 101\t101\nSuite \"Sea\", north\t65535\n",
        ] {
            assert_eq!(doors(text, PropertyFormat::Csv), expected, "{text:?}");
        }
    }

    #[test]
    fn a_toml_is_read_as_in_the_configuration() {
        let expected = [("Room 101".to_owned(), 101), ("Zimmer Ü".to_owned(), 0)];
        for text in [
            "entrances = [ { name = \"Room 101\", door = 101 }, { name = \"Zimmer Ü\", door = 0 } ]",
            "\u{feff}[[entrances]]\r\nname = \"Room 101\"\r\ndoor = 101\r\n[[entrances]]\nname = 'Zimmer Ü'\ndoor = 0\n",
        ] {
            assert_eq!(doors(text, PropertyFormat::Toml), expected, "{text:?}");
        }
    }

    #[test]
    fn all_wrong_lines_of_a_csv_are_told_at_once() {
        let text = "name,door\nRoom 101,101\n,102\nRoom 103\nRoom 104,65536\n\"Room\n105\",105\nRoom 106,-1\nRoom 107,101\n,x\n";
        let found = wrong(text, PropertyFormat::Csv);
        let expected = [
            (3, "name is empty"),
            (4, "a name and a door number"),
            (5, "\"65536\" is no door number"),
            (6, "control character"),
            (8, "\"-1\" is no door number"),
            (9, "door 101 is in line 2 already"),
            (10, "name is empty"),
            (10, "\"x\" is no door number"),
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ((line, message), (expected_line, part)) in found.iter().zip(expected) {
            assert!(*line == expected_line && message.contains(part), "{line}: {message}");
        }
        assert!(wrong("Room 101,101\n", PropertyFormat::Csv)[0].1.contains("name,door"));
        for nothing in ["", "name,door\n", "\n\n"] {
            assert_eq!(wrong(nothing, PropertyFormat::Csv).len(), 1, "{nothing:?}");
        }
    }

    #[test]
    fn all_wrong_lines_of_a_toml_are_told_at_once() {
        let text = "entrances = [\n{ name = \"a\", door = 1 },\n{ name = \"\", door = 70000 },\n{ door = 3 },\n\
             { name = \"b\", door = \"4\" },\n{ name = 5, door = 5 },\n{ name = \"c\", door = 1, floor = 2 },\n\
             { name = \"d\\u0000\" , door = 8 },\n]\n";
        let lines: Vec<u64> = wrong(text, PropertyFormat::Toml).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [3, 3, 4, 5, 6, 7, 7, 8]);
        let unreadable = wrong("entrances = [\n{ name = \"a\"\n", PropertyFormat::Toml);
        assert!(unreadable.len() == 1 && unreadable[0].0 >= 2, "{unreadable:?}");
        assert!(wrong("[property]\nname = \"x\"\n", PropertyFormat::Toml)[0].1.contains("unknown"));
    }

    #[test]
    fn a_thousand_wrong_lines_make_no_endless_answer() {
        let text = format!("name,door\n{}", "Room,x\n".repeat(1000));
        let found = wrong(&text, PropertyFormat::Csv);
        assert_eq!(found.len(), WRONG_MAX);
        assert!(found[WRONG_MAX - 1].1.contains("900 more"), "{}", found[WRONG_MAX - 1].1);
    }

    proptest! {
        #[test]
        fn what_is_written_as_csv_reads_back(names in prop::collection::vec("[ -~ä-ü]{0,20}[!-~]", 1..20)) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(["name", "door"]).unwrap();
            for (door, name) in names.iter().enumerate() {
                writer.write_record([name.as_str(), &door.to_string()]).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let expected: Vec<_> = names.iter().zip(0..).map(|(name, door)| (name.trim().to_owned(), door)).collect();
            prop_assert_eq!(doors(&text, PropertyFormat::Csv), expected);
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC*|[\\x00-\\x7f]*") {
            let _ = read(&text, PropertyFormat::Csv);
            let _ = read(&text, PropertyFormat::Toml);
        }
    }
}
