//! The page's strings: all there in each language, and its faults are the program's.

use super::files::FILES;
use crate::fault::FaultKind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn table() -> (usize, BTreeMap<String, Vec<String>>) {
    let (_, _, text) = FILES.iter().find(|(name, _, _)| *name == "words.json").unwrap();
    let table: Value = serde_json::from_str(text).unwrap();
    let words = serde_json::from_value(table["words"].clone()).unwrap();
    (table["languages"].as_array().unwrap().len(), words)
}

/// The names in braces.
fn gaps(words: &str) -> BTreeSet<&str> {
    words.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect()
}

#[test]
fn every_language_has_every_key_with_the_same_gaps() {
    let (languages, words) = table();
    assert_eq!(languages, 5);
    for (key, in_languages) in &words {
        assert_eq!(in_languages.len(), languages, "{key}");
        for words in in_languages {
            assert!(!words.trim().is_empty(), "{key}");
            assert_eq!(gaps(words), gaps(&in_languages[0]), "{key}: {words}");
        }
    }
}

#[test]
fn every_fault_is_there_in_the_programs_own_words() {
    let (_, words) = table();
    for kind in FaultKind::ALL {
        let key = format!("fault.{}", serde_json::to_value(kind).unwrap().as_str().unwrap());
        assert_eq!(words.get(&key).map(|words| words[0].as_str()), Some(kind.sentence()), "{key}");
    }
    let faults = words.keys().filter(|key| key.starts_with("fault.")).count();
    assert_eq!(faults, FaultKind::ALL.len(), "a fault is gone and its words are not");
}

#[test]
fn every_key_that_a_script_names_is_there_and_none_is_left_over() {
    let (_, words) = table();
    let scripts: Vec<&str> = FILES.iter().filter(|(name, _, _)| name.ends_with(".js")).map(|file| file.2).collect();
    let mut named = BTreeSet::new();
    let mut beginnings = BTreeSet::new();
    for script in &scripts {
        for start in ["t('", "t(old ? '", " : '"] {
            named.extend(script.split(start).skip(1).filter_map(|rest| rest.split('\'').next()));
        }
        // Keys that are put together: `t(`state.${…}`)`.
        beginnings.extend(script.split('`').filter_map(|part| part.split_once("${")).map(|(start, _)| start));
    }
    let is_key = |name: &&&str| {
        name.contains('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
    };
    for name in named.iter().filter(is_key) {
        let is_file = name.ends_with(".js") || name.starts_with("encoderd.");
        assert!(words.contains_key(*name) || is_file, "{name} is not in words.json");
    }
    for key in words.keys() {
        let put_together = beginnings.iter().any(|start| start.contains('.') && key.starts_with(start));
        let suffix = key.split_once('.').is_some_and(|(_, rest)| ["title", "lead", "go"].contains(&rest));
        let used = named.contains(key.as_str()) || put_together || suffix || key.starts_with("fault.");
        assert!(used, "{key} is in words.json and no script uses it");
    }
}

#[test]
fn the_page_names_no_address_elsewhere() {
    let files = FILES.iter().map(|(name, _, content)| (*name, *content));
    for (name, content) in files.chain([("index.html", include_str!("page/index.html"))]) {
        for (at, _) in content.match_indices("//") {
            let before = content[..at].chars().last();
            let rest = &content[at..content.len().min(at + 40)];
            let harmless = rest.starts_with("//www.w3.org/2000/svg") || rest.starts_with("//localhost");
            assert!(before != Some(':') || harmless, "{name}: {rest}");
        }
    }
}
