//! Rust files as text: strings, doc comments and imports, as far as counting needs them.

/// A Rust file.
pub struct Source {
    /// Path from `crates/`: `upscale/src/plan.rs`.
    pub path: String,
    pub text: String,
}

impl Source {
    /// The file without its unit tests, which stand at its end.
    pub fn code(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub fn crate_name(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// True for files that are compiled into a program or library, not tests of their own.
    pub fn is_of_library(&self) -> bool {
        self.path.split('/').nth(1) == Some("src") && !self.path.ends_with("/tests.rs")
    }

    /// The module of the crate's root that the file is, or is in; none for the root itself.
    pub fn module(&self) -> Option<String> {
        let name = self.path.split('/').nth(2)?.trim_end_matches(".rs");
        (!["lib", "main"].contains(&name)).then(|| name.to_owned())
    }
}

/// True if a word of the text is a long option: `--tile-width`.
pub fn has_option(text: &str) -> bool {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("--") {
        let starts = before.is_empty() || before.ends_with(|c: char| !c.is_alphanumeric() && c != '-');
        if starts && after.starts_with(|c: char| c.is_ascii_lowercase()) {
            return true;
        }
        rest = after;
    }
    false
}

/// Strings of Rust code with their lines, from 1; escapes stay as they are written.
pub fn literals(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (code, 1);
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(end) = raw_string(rest) {
            found.push((line, rest[..end].to_owned()));
            end
        } else if next == '"' {
            let end = string_end(rest);
            found.push((line, rest[1..end - 1].to_owned()));
            end
        } else if next == '\'' {
            character_end(rest)
        } else {
            next.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of the raw string at the start, if there is one.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(1 + hashes + 1 + body.find(&close)? + close.len())
}

/// The length of the string at the start, with both quotes.
fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of the character at the start, or 1 where the quote begins a lifetime.
fn character_end(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(1, |end| end + 4),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Doc comments with the lines that they begin in, from 1; each in one line.
pub fn doc_comments(code: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in code.lines().enumerate() {
        let line = line.trim_start();
        let Some(text) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            goes_on = false;
            continue;
        };
        match found.last_mut() {
            Some((_, comment)) if goes_on => {
                comment.push(' ');
                comment.push_str(text.trim());
            }
            _ => found.push((index + 1, text.trim().to_owned())),
        }
        goes_on = true;
    }
    found
}

/// The first names after `crate::` in the file's imports: modules of the crate's root, or what stands in the root itself.
pub fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use crate::") {
        let rest = &code[at + "use crate::".len()..];
        let Some(list) = rest.split(';').next() else { continue };
        let Some(inside) = list.trim().strip_prefix('{') else {
            found.extend(first_name(list));
            continue;
        };
        let mut depth = 0;
        let parts = inside.trim_end().trim_end_matches('}').split(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0
        });
        found.extend(parts.filter_map(first_name));
    }
    found
}

fn first_name(path: &str) -> Option<String> {
    let name = path.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_told_from_comments_characters_and_lifetimes() {
        let code = "// \"no\"\nfn f<'a>(x: &'a str) -> char {\n    g(\"a \\\" b\", '\"', '\\'', r#\"c\"d\"#); /* \"no\" */\n    '\\n'\n}\n";
        let found = literals(code);
        assert_eq!(found, [(3, "a \\\" b".into()), (3, "r#\"c\"d\"#".into())]);
    }

    #[test]
    fn options_are_words_of_their_own() {
        for text in ["--seed", "try --device cpu", "(--vae-tile)", "`--mask`"] {
            assert!(has_option(text), "{text}");
        }
        for text in ["a--b", "-- ", "---", "--1", "x -- y", ""] {
            assert!(!has_option(text), "{text}");
        }
    }

    #[test]
    fn imports_are_the_first_names_after_the_crate() {
        let code = "use crate::a::{B, c::D};\nuse crate::{E, f::{G, H},\n    i};\nuse other::J;\n";
        assert_eq!(imports(code), ["a", "E", "f", "i"]);
    }

    #[test]
    fn a_doc_comment_is_all_its_lines() {
        let code = "//! Module.\n\n    /// One\n    /// two.\n    fn f() {}\n// no\n";
        assert_eq!(doc_comments(code), [(1, "Module.".into()), (3, "One two.".into())]);
    }
}
