//! Rust sources as `tidy` reads them: code without comments and strings, strings with their places, imports.
//!
//! Not a parser: it knows enough of the language (nested comments, raw strings, lifetimes, use trees) for rules about
//! code that rustfmt has formatted.

/// A file of Rust.
pub struct Source {
    /// Its path from the root of the repository.
    pub path: String,
    /// All of it.
    pub text: String,
    /// The text with comments and the contents of strings blanked out, byte for byte as long.
    pub code: String,
    /// Its string literals.
    pub strings: Vec<Literal>,
}

/// A string literal.
pub struct Literal {
    /// Where it starts, in bytes.
    pub at: usize,
    /// What is between the quotes, escapes as written.
    pub text: String,
}

impl Source {
    /// Reads a file.
    pub fn new(path: &str, text: String) -> Self {
        let (code, strings) = blank(&text);
        Self { path: path.to_owned(), text, code, strings }
    }

    /// The number of the line that holds this byte.
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    /// A sentence for each place where the code (not its comments or strings) has one of these words.
    pub fn occurrences(&self, words: &[&str], why: &str) -> Vec<String> {
        let mut found: Vec<(usize, &str)> = words.iter().flat_map(|word| self.code.match_indices(word)).collect();
        found.sort_unstable();
        found.iter().map(|(at, word)| format!("{}:{}: `{word}` {why}", self.path, self.line(*at))).collect()
    }

    /// Lines and texts of the string literals that are not in test code.
    pub fn strings_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.tests();
        self.strings
            .iter()
            .filter(move |string| !tests.iter().any(|range| range.contains(&string.at)))
            .map(|string| (self.line(string.at), string.text.as_str()))
    }

    /// Where items under `#[cfg(test)]` are; a file of tests is one whole.
    fn tests(&self) -> Vec<std::ops::Range<usize>> {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return std::iter::once(0..self.code.len()).collect();
        }
        let marks = self.code.match_indices("#[cfg(test").chain(self.code.match_indices("#[cfg(all(test"));
        marks
            .map(|(start, _)| {
                let mut open = 0_usize;
                let end = self.code.bytes().enumerate().skip(start).find(|(_, byte)| {
                    match byte {
                        b'{' => open += 1,
                        b'}' => open = open.saturating_sub(1),
                        _ => {}
                    }
                    open == 0 && matches!(byte, b'}' | b';')
                });
                start..end.map_or(self.code.len(), |(at, _)| at)
            })
            .collect()
    }

    /// Lines and paths of what the file names of the crate's modules: `crate::a::b` gives `["a", "b"]`, and so does
    /// `super::a::b` where it reaches the crate's root. Paths that start with one of `roots` count as well; a root
    /// written `=name` keeps its name in front.
    pub fn imports(&self, roots: &[&str]) -> Vec<(usize, Vec<String>)> {
        let words = words(&self.code);
        let mut found = Vec::new();
        // The inline modules that are open, each with the depth of its braces.
        let (mut braces, mut modules) = (0_usize, Vec::new());
        let mut at = 0;
        while let Some((offset, word)) = words.get(at).copied() {
            let next = |step: usize| words.get(at + step).map_or("", |(_, word)| *word);
            let starts_path =
                next(1) == "::" && (at == 0 || words.get(at - 1).is_none_or(|(_, before)| *before != "::"));
            let mut rest = None;
            match word {
                "{" => braces += 1,
                "}" => {
                    braces = braces.saturating_sub(1);
                    modules.retain(|opened| *opened < braces);
                }
                "mod" if next(2) == "{" => modules.push(braces),
                "crate" if starts_path => rest = Some((at + 2, None)),
                "super" if starts_path => {
                    let up = (0..words.len())
                        .take_while(|step| next(2 * step) == "super" && next(2 * step + 1) == "::")
                        .count();
                    if up >= self.depth() + modules.len() {
                        rest = Some((at + 2 * up, None));
                    }
                }
                _ if starts_path && roots.contains(&word) => rest = Some((at + 2, None)),
                _ if starts_path && roots.iter().any(|root| root.strip_prefix('=') == Some(word)) => {
                    rest = Some((at + 2, Some(word)));
                }
                _ => {}
            }
            if let Some((mut start, first)) = rest {
                for mut path in tree(&words, &mut start) {
                    path.splice(0..0, first.map(str::to_owned));
                    found.push((self.line(offset), path));
                }
            }
            at += 1;
        }
        found
    }

    /// How far below the crate's root the file's module is.
    fn depth(&self) -> usize {
        let below = self.path.trim_start_matches("protocols/").strip_prefix("src/").unwrap_or(&self.path);
        let name = below.rsplit('/').next().unwrap_or_default();
        let folders = below.matches('/').count();
        if matches!(name, "mod.rs" | "lib.rs" | "main.rs") { folders } else { folders + 1 }
    }

    /// The entries of the list that a constant holds: `const NAME: &[T] = &[a, b];`.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let after = self.code.get(self.code.find(&format!("{name}:"))?..)?;
        let (_, list) = after.split_once('=')?;
        let list = list.get(list.find('[')? + 1..list.find(']')?)?;
        Some(list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
    }

    /// The strings that stand behind this field's name.
    pub fn field(&self, name: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices(name) {
            let after = at + name.len();
            let blanks = self.code.bytes().skip(after).take_while(u8::is_ascii_whitespace).count();
            found.extend(
                self.strings.iter().find(|string| string.at == after + blanks).map(|string| string.text.as_str()),
            );
        }
        found
    }
}

/// The paths of a use tree, such as `a::{b, c::d as e}`, from `words[*at]` on.
fn tree(words: &[(usize, &str)], at: &mut usize) -> Vec<Vec<String>> {
    let word = |at: usize| words.get(at).map_or("", |(_, word)| *word);
    if word(*at) == "{" {
        *at += 1;
        let mut paths = Vec::new();
        while !matches!(word(*at), "}" | "") {
            paths.extend(tree(words, at));
            while !matches!(word(*at), "," | "}" | "") {
                *at += 1;
            }
            if word(*at) == "," {
                *at += 1;
            }
        }
        *at += 1;
        return paths;
    }
    let name = word(*at);
    if name != "*" && !name.starts_with(is_name) {
        return vec![Vec::new()];
    }
    *at += 1;
    let mut below = vec![Vec::new()];
    if word(*at) == "::" {
        *at += 1;
        below = tree(words, at);
    }
    for path in &mut below {
        path.insert(0, name.to_owned());
    }
    below
}

fn is_name(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// The code's words, each with its place: names and numbers, `::`, and every other sign by itself.
fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("::") {
            2
        } else if is_name(first) {
            rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(length);
        if !first.is_whitespace() {
            words.push((code.len() - rest.len(), word));
        }
        rest = after;
    }
    words
}

/// Blanks comments and the contents of strings and characters, and collects the strings.
fn blank(text: &str) -> (String, Vec<Literal>) {
    let mut code = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut rest = text;
    let mut name_before = false;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        // How much is a comment or a literal, and how much of its ends stays.
        let (length, ends) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), 0)
        } else if rest.starts_with("/*") {
            (comment(rest), 0)
        } else if let Some((hashes, length)) = raw_string(rest).filter(|_| !name_before) {
            let start = hashes + 2;
            strings.push(Literal { at, text: slice(rest, start, length.saturating_sub(hashes + 1)) });
            (length, 1)
        } else if first == '"' {
            let length = quoted(rest, '"');
            strings.push(Literal { at, text: slice(rest, 1, length.saturating_sub(1)) });
            (length, 1)
        } else if first == '\'' {
            (character(rest).unwrap_or(0), 1)
        } else {
            (0, 0)
        };
        let length = if length == 0 { first.len_utf8() } else { length };
        let (piece, after) = rest.split_at(length);
        if length == first.len_utf8() {
            code.push_str(piece);
        } else {
            for (index, byte) in piece.bytes().enumerate() {
                let stays = byte == b'\n' || (byte.is_ascii() && (index < ends || index + ends >= length));
                code.push(if stays { char::from(byte) } else { ' ' });
            }
        }
        name_before = length == first.len_utf8() && is_name(first) && first != 'b' && first != 'c';
        rest = after;
    }
    (code, strings)
}

fn slice(text: &str, start: usize, end: usize) -> String {
    text.get(start..end).unwrap_or_default().to_owned()
}

/// The length of a comment with the comments in it.
fn comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The number of hashes of a raw string, and its length.
fn raw_string(text: &str) -> Option<(usize, usize)> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = hashes + 2;
    let length = text.get(start..)?.find(&end).map_or(text.len(), |found| start + found + end.len());
    Some((hashes, length))
}

/// The length of a literal with escapes, quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        if !escaped && letter == quote {
            return at + 1;
        }
        escaped = !escaped && letter == '\\';
    }
    text.len()
}

/// The length of a character literal; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let mut letters = text.chars().skip(1);
    let first = letters.next()?;
    if first == '\\' {
        return Some(quoted(text, '\''));
    }
    (letters.next() == Some('\'')).then(|| first.len_utf8() + 2)
}

#[test]
fn comments_and_strings_are_not_code() {
    let text = r##"a('"', '\'', 'x', &'s b); /* /* " */ */ c("// \" d", r#"e " f"#, br"\"); // g
ü("é")"##;
    let source = Source::new("src/a.rs", text.to_owned());
    assert_eq!(source.code.len(), text.len());
    let strings: Vec<&str> = source.strings.iter().map(|string| string.text.as_str()).collect();
    assert_eq!(strings, ["// \\\" d", "e \" f", "\\", "é"]);
    let names: Vec<&str> =
        words(&source.code).into_iter().map(|(_, word)| word).filter(|word| word.starts_with(is_name)).collect();
    assert_eq!(names, ["a", "s", "b", "c", "r", "br", "ü"]);
}
