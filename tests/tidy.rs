//! House rules that neither the compiler nor clippy can see. The tables are at the top; each rule is a function from
//! sources to sentences, with a test that holds it against the tree and a test that plants what it must find.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot read the tree has failed")]

#[path = "support/rust_source.rs"]
mod rust_source;

use rust_source::Source;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The modules of `src/`, from the ground. A module imports from lower floors, and from itself.
/// The crate `encoder-protocols` lies below the ground floor.
const FLOORS: &[&[&str]] = &[
    &["fault", "api", "config", "clock", "presence"],
    &["transport", "telemetry"],
    &["discovery", "emulator", "udev"],
    &["device", "link", "store", "upstream", "keys"],
    &["backup", "bridge", "hub"],
    &["control"],
    &["desk", "probe"],
    &["daemon"],
    &["cli", "main"],
];

/// Imports within a floor: who, from whom, why.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("api", "fault", "an action attempt's error is a fault"),
    ("presence", "api", "presence is reported in the bridge protocol's own words"),
    ("device", "keys", "cards are read and written with the property's key"),
    ("link", "store", "links are kept in the state database"),
    ("main", "cli", "the program is its command line"),
];

/// What a module never imports, although its floor would allow it.
const ABSENCES: &[Absence] = &[
    Absence {
        module: "hub",
        never: &["device", "transport", "discovery", "emulator", "upstream", "encoder_protocols"],
        except: &[],
        why: "the hub works on a machine without a reader",
    },
    Absence {
        module: "device",
        never: &["upstream", "hub", "api"],
        except: &["api::bridge"],
        why: "a device never sees the cloud",
    },
];

struct Absence {
    module: &'static str,
    never: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
}

/// Calls that read a clock.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", "now_v7", ".elapsed()"];

/// What marks unfinished work in Rust code.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "#[ignore"];

/// Words that are in no file.
const UNFINISHED_WORDS: &[&str] = &["TODO", "FIXME"];

/// Paths of one person's machine, in no file but tests.
const PRIVATE_PATHS: &[&str] = &["/home/", "/Users/"];

/// A file that is longer usually holds two things.
const LINES_MAX: usize = 700;

// The tree.

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository, as a path from its root.
fn files() -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && name != ".ci" && name != ".github";
            if entry.file_type().unwrap().is_dir() {
                if !hidden && name != "target" && name != "node_modules" {
                    walk(&entry.path(), found);
                }
            } else if entry.file_type().unwrap().is_file() {
                found.push(entry.path().strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort();
    found
}

fn read(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))).into_owned()
}

/// The Rust sources below these folders.
fn sources(folders: &[&str]) -> Vec<Source> {
    let found: Vec<Source> = files()
        .into_iter()
        .filter(|path| has_extension(path, "rs") && folders.iter().any(|folder| path.starts_with(folder)))
        .map(|path| Source::new(&path, read(&path)))
        .collect();
    assert!(!found.is_empty(), "no Rust source below {folders:?}");
    found
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

fn planted(path: &str, text: &str) -> Vec<Source> {
    vec![Source::new(path, text.to_owned())]
}

#[track_caller]
fn keeps(violations: &[String]) {
    assert!(violations.is_empty(), "\n  {}\n", violations.join("\n  "));
}

#[track_caller]
fn finds(violations: &[String], words: &[&str]) {
    assert_eq!(violations.len(), words.len(), "{violations:#?}");
    for (violation, word) in violations.iter().zip(words) {
        assert!(violation.contains(word), "{violation:?} does not speak of {word:?}");
    }
}

// Floors and absences.

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The module of `src/` that a file belongs to; `lib.rs` only lists them.
fn module(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/")?.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (name != "lib").then_some(name)
}

fn floors_are_kept(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let Some(from) = module(&source.path) else { continue };
        let Some(height) = floor(from) else {
            violations.push(format!("{}: add module `{from}` to FLOORS in tests/tidy.rs", source.path));
            continue;
        };
        for (line, path) in source.imports(&["encoderd"]) {
            let to = path.first().map_or("*", String::as_str);
            let neighbour = || NEIGHBOURS.iter().any(|(a, b, _)| (*a, *b) == (from, to));
            match floor(to) {
                _ if to == from => {}
                None => violations.push(format!("{}:{line}: `crate::{to}` is no module in FLOORS", source.path)),
                Some(below) if below < height || (below == height && neighbour()) => {}
                Some(below) => violations.push(format!(
                    "{}:{line}: `{from}` (floor {height}) imports `{to}` (floor {below}); only lower floors, \
                     or a line with its reason in NEIGHBOURS of tests/tidy.rs",
                    source.path
                )),
            }
        }
    }
    violations.dedup();
    violations
}

#[test]
fn modules_import_only_from_lower_floors() {
    keeps(&floors_are_kept(&sources(&["src/"])));
}

#[test]
fn an_import_from_above_is_found() {
    let plant = |path, text| floors_are_kept(&planted(path, text));
    finds(&plant("src/transport/serial.rs", "use crate::device::Handle;"), &["`transport` (floor 1) imports `device`"]);
    finds(&plant("src/api/mod.rs", "use crate::{fault::Fault, clock::{self, now}};"), &["imports `clock`"]);
    finds(&plant("src/clock.rs", "fn f() { super::hub::serve(); }"), &["imports `hub`"]);
    finds(&plant("src/store/rows.rs", "mod tests { use super::super::super::cli; }"), &["imports `cli`"]);
    finds(&plant("src/misc.rs", ""), &["add module `misc` to FLOORS"]);
    finds(&plant("src/hub/mod.rs", "use crate::*; use crate::Thing;"), &["`crate::*`", "`crate::Thing`"]);
    finds(&plant("src/main.rs", "fn main() { encoderd::hub::run(); encoderd::cli::main() }"), &[]);
    finds(&plant("src/hub/a.rs", "// crate::cli\nuse super::b; use crate::store::Pool; pub(crate) mod c {}"), &[]);
}

fn absences_are_kept(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let Some(from) = module(&source.path) else { continue };
        for (line, path) in source.imports(&["=encoder_protocols"]) {
            let path = path.join("::");
            let is_in = |set: &[&str]| {
                set.iter()
                    .any(|name| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
            };
            for absence in ABSENCES.iter().filter(|absence| absence.module == from) {
                if is_in(absence.never) && !is_in(absence.except) {
                    violations.push(format!("{}:{line}: `{from}` imports `{path}`, but {}", source.path, absence.why));
                }
            }
        }
    }
    violations
}

#[test]
fn what_a_module_must_not_know_it_does_not_import() {
    keeps(&absences_are_kept(&sources(&["src/"])));
}

#[test]
fn an_import_that_breaks_an_absence_is_found() {
    let plant = |path, text| absences_are_kept(&planted(path, text));
    finds(&plant("src/hub/routes/acs.rs", "use crate::device;"), &["without a reader"]);
    finds(&plant("src/hub/mod.rs", "use encoder_protocols::id::Uid;"), &["`encoder_protocols::id::Uid`"]);
    finds(
        &plant("src/device.rs", "use crate::api::{bridge::Presence, seam::AcsEncoder};"),
        &["`api::seam::AcsEncoder`"],
    );
    finds(&plant("src/bridge/mod.rs", "use crate::device;"), &[]);
}

// One place each.

fn sql_is_in_store(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| module(&source.path) != Some("store")) {
        for (line, path) in source.imports(&["=sqlx"]) {
            if path.first().is_some_and(|root| root == "sqlx")
                && path.get(1).is_some_and(|name| name.starts_with("query"))
            {
                violations.push(format!("{}:{line}: `{}` outside of store/", source.path, path.join("::")));
            }
        }
        for (line, text) in source.strings_outside_tests() {
            if is_sql(text) {
                violations.push(format!("{}:{line}: SQL outside of store/: {text:?}", source.path));
            }
        }
    }
    violations
}

/// SQL as people write it: keywords in capitals anywhere, or a statement all in small letters.
fn is_sql(text: &str) -> bool {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
    if text.starts_with(|first: char| first.is_lowercase()) {
        text = text.to_uppercase();
    }
    let has = |words: &[&str]| words.iter().all(|word| text.contains(word));
    [
        "INSERT INTO ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE INDEX ",
        "CREATE UNIQUE INDEX ",
        "ALTER TABLE ",
        "PRAGMA ",
    ]
    .iter()
    .any(|start| text.starts_with(start) || text.contains(&format!("; {start}")))
        || (text.starts_with("SELECT ") && has(&[" FROM "]))
        || (text.starts_with("UPDATE ") && has(&[" SET "]))
}

#[test]
fn only_the_store_contains_sql() {
    keeps(&sql_is_in_store(&sources(&["src/", "protocols/src/"])));
}

#[test]
fn sql_outside_of_the_store_is_found() {
    let plant = |path, text| sql_is_in_store(&planted(path, text));
    finds(&plant("src/hub/mod.rs", "fn f() { sqlx::query_as(\"\"); }"), &["sqlx::query_as"]);
    finds(&plant("src/hub/mod.rs", "use sqlx::{Row, query};"), &["sqlx::query"]);
    finds(&plant("src/link.rs", "const Q: &str = r#\"SELECT a\n  FROM b\"#;"), &["SELECT a"]);
    finds(&plant("src/link.rs", "const Q: &str = \"update link set name = $1\";"), &["update link"]);
    finds(&plant("src/link.rs", "const Q: &str = \"Select a card from the drawer.\"; // DELETE FROM a"), &[]);
    finds(&plant("src/store/journal.rs", "fn f() { sqlx::query(\"DELETE FROM journal\"); }"), &[]);
}

fn time_is_read_in_clock(sources: &[Source]) -> Vec<String> {
    let others = sources.iter().filter(|source| source.path != "src/clock.rs");
    others.flat_map(|source| source.occurrences(CLOCKS, "reads a clock; ask clock.rs")).collect()
}

#[test]
fn only_the_clock_reads_time() {
    keeps(&time_is_read_in_clock(&sources(&["src/", "protocols/src/"])));
}

#[test]
fn a_clock_read_elsewhere_is_found() {
    let text = "/// Instant::now\nfn f() { let t = tokio::time::Instant::now(); t.elapsed(); }";
    finds(
        &time_is_read_in_clock(&planted("src/device.rs", text)),
        &["src/device.rs:2: `Instant::now`", "`.elapsed()`"],
    );
    finds(&time_is_read_in_clock(&planted("src/clock.rs", text)), &[]);
}

/// The error types as the API spells them, out of `fault.rs`.
fn error_types(fault: &Source) -> Vec<String> {
    let start = fault.code.find("impl ErrorType {").expect("fault.rs spells the error types in `impl ErrorType`");
    let end = fault.code.get(start..).unwrap().find("\n}").map_or(fault.code.len(), |length| start + length);
    fault.strings.iter().filter(|string| (start..end).contains(&string.at)).map(|string| string.text.clone()).collect()
}

fn error_types_are_in_fault(sources: &[Source], types: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| source.path != "src/fault.rs") {
        for (line, text) in source.strings_outside_tests() {
            let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            if let Some(word) = words.find(|word| types.iter().any(|found| found == word)) {
                violations.push(format!("{}:{line}: `{word}` is spelled in fault.rs only", source.path));
            }
        }
    }
    violations
}

#[test]
fn only_the_faults_spell_error_types() {
    let types = error_types(&Source::new("src/fault.rs", read("src/fault.rs")));
    assert!(types.len() >= 10 && types.iter().any(|found| found == "encoder_not_online"), "{types:?}");
    keeps(&error_types_are_in_fault(&sources(&["src/", "protocols/src/"]), &types));
}

#[test]
fn an_error_type_elsewhere_is_found() {
    let types = ["encoder_not_online".to_owned()];
    let plant = |path, text| error_types_are_in_fault(&planted(path, text), &types);
    finds(&plant("src/hub/a.rs", "fn f() { g(\"type: encoder_not_online\") }"), &["`encoder_not_online`"]);
    finds(&plant("src/hub/a.rs", "#[serde(rename = \"encoder_not_online\")] struct A;"), &["`encoder_not_online`"]);
    finds(
        &plant(
            "src/hub/a.rs",
            "//! `encoder_not_online`\n#[cfg(test)]\nmod tests { const A: &str = \"encoder_not_online\"; }",
        ),
        &[],
    );
    finds(&plant("src/hub/a.rs", "const A: &str = \"encoder_not_online_since\";"), &[]);
}

// Every file.

fn nothing_is_unfinished(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(|source| source.occurrences(UNFINISHED, "marks unfinished work")).collect()
}

#[test]
fn nothing_is_left_unfinished() {
    keeps(&nothing_is_unfinished(&sources(&["src/", "protocols/", "tests/"])));
}

#[test]
fn unfinished_work_is_found() {
    let text = "fn f() { todo!() }\n#[ignore = \"slow\"]\nfn g() { let s = \"todo!\"; }";
    finds(&nothing_is_unfinished(&planted("src/a.rs", text)), &["src/a.rs:1: `todo!`", "src/a.rs:2: `#[ignore`"]);
}

fn documented(sources: &[Source]) -> Vec<String> {
    let bare = sources.iter().filter(|source| !source.text.starts_with("//! "));
    bare.map(|source| format!("{}: starts without a line of `//!` that says what it is", source.path)).collect()
}

#[test]
fn every_file_says_what_it_is() {
    keeps(&documented(&sources(&["src/", "protocols/", "tests/"])));
}

#[test]
fn a_file_without_documentation_is_found() {
    finds(&documented(&planted("src/a.rs", "use std::fmt;\n")), &["src/a.rs"]);
}

fn short_enough(sources: &[Source]) -> Vec<String> {
    let lines = |source: &Source| source.text.lines().count();
    let long = sources.iter().filter(|source| lines(source) > LINES_MAX);
    long.map(|source| format!("{}: {} lines; split it by thing", source.path, lines(source))).collect()
}

#[test]
fn no_file_is_too_long() {
    keeps(&short_enough(&sources(&["src/", "protocols/src/"])));
}

#[test]
fn a_file_that_is_too_long_is_found() {
    finds(&short_enough(&planted("src/a.rs", &"\n".repeat(LINES_MAX + 1))), &["701 lines"]);
    finds(&short_enough(&planted("src/a.rs", &"\n".repeat(LINES_MAX))), &[]);
}

fn words_are_clean(path: &str, text: &str) -> Vec<String> {
    let is_test = path.starts_with("tests/") || path.starts_with("protocols/tests/");
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(|letter: char| !letter.is_ascii_alphanumeric());
        let unfinished = words.find(|word| UNFINISHED_WORDS.contains(word));
        let private = PRIVATE_PATHS.iter().copied().find(|private| !is_test && line.contains(*private));
        if let Some(found) = unfinished.or(private) {
            violations.push(format!("{path}:{}: {found}", number + 1));
        }
    }
    violations
}

#[test]
fn no_file_has_forbidden_words() {
    let others = files().into_iter().filter(|path| path != "tests/tidy.rs");
    keeps(&others.flat_map(|path| words_are_clean(&path, &read(&path))).collect::<Vec<_>>());
}

#[test]
fn a_forbidden_word_is_found() {
    finds(&words_are_clean("README.md", "# A\n(TODO: more)\nsee /home/me/notes\n"), &["README.md:2", "README.md:3"]);
    finds(&words_are_clean("tests/cli.rs", "/home/ada/.cargo\n"), &[]);
}

// Dependencies.

/// Lines of dependency tables without a comment behind them.
fn dependencies_have_reasons(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let mut table = String::new();
    // How many brackets a dependency of several lines has open, and whether a reason was seen in them.
    let (mut open, mut reason) = (0_usize, false);
    for (number, line) in text.lines().enumerate() {
        let (code, comment) = split_comment(line);
        if open == 0 && code.starts_with('[') {
            code.trim_matches(['[', ']']).clone_into(&mut table);
        }
        let is_dependency = table.ends_with("dependencies") && open == 0 && code.contains('=');
        let is_own_table = open == 0 && code.starts_with('[') && table.contains("dependencies.");
        reason = comment.len() > 2 || (open > 0 && reason);
        open = (open + code.matches(['[', '{']).count()).saturating_sub(code.matches([']', '}']).count());
        if (is_dependency || is_own_table) && !reason {
            violations.push(format!("{path}:{}: say behind it why it is needed: {code}", number + 1));
        }
    }
    violations
}

/// A line of TOML and its comment.
fn split_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, letter) in line.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '#' if !quoted => return (line.get(..at).unwrap().trim(), line.get(at + 1..).unwrap().trim()),
            _ => {}
        }
    }
    (line.trim(), "")
}

#[test]
fn every_dependency_has_a_reason() {
    for path in files().into_iter().filter(|path| path.ends_with("Cargo.toml")) {
        keeps(&dependencies_have_reasons(&path, &read(&path)));
    }
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let plant = |text| dependencies_have_reasons("Cargo.toml", text);
    finds(&plant("[dependencies]\na = \"1\" # bytes\nb = { path = \"#b\" }\n"), &["Cargo.toml:3"]);
    finds(&plant("[target.'cfg(unix)'.dev-dependencies]\na = \"1\" #\n"), &["Cargo.toml:2"]);
    finds(&plant("[dependencies.a]\nversion = \"1\"\n"), &["Cargo.toml:1"]);
    finds(
        &plant("[dependencies]\na = { version = \"1\", features = [ # why\n  \"b\",\n] }\n[lints]\nworkspace = true\n"),
        &[],
    );
}

/// What `deny.toml` allows.
struct Licences {
    allow: Vec<String>,
    exceptions: Vec<(String, Vec<String>)>,
}

impl Licences {
    fn parse(deny: &str) -> Self {
        let names = |value: &toml::Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let deny: toml::Table = deny.parse().unwrap();
        let licences = deny.get("licenses").expect("[licenses] in deny.toml");
        let exceptions = licences.get("exceptions").map(|list| list.as_array().unwrap().clone()).unwrap_or_default();
        let exception = |entry: &toml::Value| {
            let package = entry.get("crate").expect("an exception names its crate").as_str().unwrap().to_owned();
            (package, names(entry.get("allow").expect("an exception allows something")))
        };
        Self { allow: names(licences.get("allow").unwrap()), exceptions: exceptions.iter().map(exception).collect() }
    }

    fn allows(&self, package: &str, expression: &str) -> bool {
        let allowed = |licence: &str| {
            let mut exceptions = self.exceptions.iter().filter(|(name, _)| name == package);
            self.allow.iter().any(|name| name == licence)
                || exceptions.any(|(_, allow)| allow.iter().any(|name| name == licence))
        };
        // "/" is what packages wrote for OR before SPDX.
        let expression = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut words = expression.split_whitespace().peekable();
        either(&mut words, &allowed) && words.next().is_none()
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut any = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        any |= both(words, allowed);
    }
    any
}

fn both(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut all = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        all &= one(words, allowed);
    }
    all
}

fn one(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    match words.next() {
        Some("(") => {
            let inner = either(words, allowed);
            words.next() == Some(")") && inner
        }
        Some(licence) if words.next_if_eq(&"WITH").is_some() => {
            words.next().is_some_and(|exception| allowed(&format!("{licence} WITH {exception}")))
        }
        Some(licence) => allowed(licence),
        None => false,
    }
}

fn packages_are_allowed(metadata: &serde_json::Value, licences: &Licences) -> Vec<String> {
    let mut violations = Vec::new();
    for package in metadata.get("packages").unwrap().as_array().unwrap() {
        let text = |key: &str| package.get(key).and_then(serde_json::Value::as_str);
        let name = text("name").unwrap();
        match text("license") {
            Some(licence) if licences.allows(name, licence) => {}
            licence => violations.push(format!("{name}: licence {licence:?} is not allowed in deny.toml")),
        }
        if let Some(source) =
            text("source").filter(|source| !source.starts_with("registry+") || !source.ends_with("/crates.io-index"))
        {
            violations.push(format!("{name}: comes from {source}, neither the registry nor this repository"));
        }
    }
    violations
}

#[test]
fn every_package_has_an_allowed_licence_and_source() {
    let output = std::process::Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata = serde_json::from_slice(&output.stdout).unwrap();
    keeps(&packages_are_allowed(&metadata, &Licences::parse(&read("deny.toml"))));
}

#[test]
fn a_package_with_another_licence_or_source_is_found() {
    let licences = Licences::parse(
        "[licenses]\nallow = [\"MIT\", \"ISC\", \"A WITH B\"]\nexceptions = [{ crate = \"x\", allow = [\"MPL-2.0\"] }]",
    );
    for allowed in ["MIT", "GPL-3.0-only OR MIT", "GPL-3.0-only/MIT", "ISC AND (MIT OR GPL-3.0-only)", "A WITH B"] {
        assert!(licences.allows("y", allowed), "{allowed}");
    }
    for refused in
        ["GPL-3.0-only", "MIT AND GPL-3.0-only", "(MIT OR ISC) AND GPL-3.0-only", "A", "MPL-2.0", "", "(MIT", "MIT ISC"]
    {
        assert!(!licences.allows("y", refused), "{refused}");
    }
    assert!(licences.allows("x", "MPL-2.0"));
    let metadata = serde_json::json!({ "packages": [
        { "name": "a", "license": "GPL-3.0-only", "source": null },
        { "name": "b", "license": null, "source": "registry+https://example.org/crates.io-index" },
        { "name": "c", "license": "MIT", "source": "git+https://example.org/c" },
    ] });
    finds(&packages_are_allowed(&metadata, &licences), &["a: licence", "b: licence None", "c: comes from git"]);
}

// Readers.

/// Every entry of `READERS` has golden vectors and a row in the README.
fn readers_are_complete(dialects: &[Source], vectors: &[String], readme: &str) -> Vec<String> {
    let Some(table) = dialects.iter().find_map(|source| source.list("const READERS")) else {
        return vec!["protocols/src/dialect/: no `const READERS: &[Reader] = &[…]` found".to_owned()];
    };
    let mut violations = Vec::new();
    for entry in &table {
        let module = entry.split("::").next().unwrap();
        let of_module = |source: &&Source| {
            let path = source.path.strip_prefix("protocols/src/dialect/").unwrap_or_default();
            path == format!("{module}.rs") || path.starts_with(&format!("{module}/"))
        };
        let names: Vec<&str> = dialects.iter().filter(of_module).flat_map(|source| source.field("dialect:")).collect();
        if names.is_empty() {
            violations.push(format!("READERS has `{entry}`, but dialect/{module} has no `dialect: \"…\"`"));
        }
        for name in names {
            if !vectors.iter().any(|path| *path == format!("protocols/tests/vectors/{name}.json")) {
                violations.push(format!("{name}: protocols/tests/vectors/{name}.json is missing"));
            }
            if !readme.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{name}`"))) {
                violations.push(format!("{name}: README.md has no table row with `{name}` in backticks"));
            }
        }
    }
    if table.is_empty() {
        violations.push("READERS is empty".to_owned());
    }
    violations
}

#[test]
fn every_reader_has_vectors_and_a_row_in_the_readme() {
    let readme = if root().join("README.md").exists() { read("README.md") } else { String::new() };
    keeps(&readers_are_complete(&sources(&["protocols/src/dialect/"]), &files(), &readme));
}

#[test]
fn a_reader_without_vectors_or_row_is_found() {
    let table = "pub const READERS: &[Reader] = &[\n    chip::READER, // the chip\n    other::READER,\n];";
    let dialects = [
        Source::new("protocols/src/dialect/mod.rs", table.to_owned()),
        Source::new(
            "protocols/src/dialect/chip/mod.rs",
            "const READER: Reader = Reader { dialect: \"chip9\" };".to_owned(),
        ),
    ];
    let vectors = ["protocols/tests/vectors/chip9.json".to_owned()];
    finds(&readers_are_complete(&dialects, &vectors, "| Chip | `chip9` |\n"), &["dialect/other has no"]);
    finds(
        &readers_are_complete(&dialects, &[], "the `chip9`\n"),
        &["chip9.json is missing", "no table row", "dialect/other"],
    );
    finds(&readers_are_complete(&dialects[1..], &vectors, ""), &["no `const READERS"]);
}
