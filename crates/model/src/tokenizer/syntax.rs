//! A1111's prompt syntax: `(word)` × 1.1, `[word]` ÷ 1.1, `(word:1.3)`, `BREAK`, `<lora:name:0.5>`.

/// A stretch of text with one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The text, without brackets and escapes.
    pub text: String,
    /// How strongly it counts; 1 is normal.
    pub weight: f32,
}

/// A LoRA named in a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraTag {
    /// Its file's name.
    pub name: String,
    /// Its scale.
    pub scale: f32,
}

/// A prompt taken apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prompt {
    /// The pieces of each section; `BREAK` stands between sections.
    pub sections: Vec<Vec<Piece>>,
    /// The LoRAs named, which are no text.
    pub loras: Vec<LoraTag>,
}

/// What a bracket without a number does.
const EMPHASIS: f32 = 1.1;

impl Prompt {
    /// Take `text` apart. A bracket that is never closed counts to the end; one that was never opened
    /// is text.
    pub fn parse(text: &str) -> Self {
        let (text, loras) = take_loras(text);
        let sections = split_at_breaks(&text).into_iter().map(parse_section).collect();
        Self { sections, loras }
    }
}

/// `BREAK` as a word of its own, in capitals, starts a new section.
fn split_at_breaks(text: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let mut start = 0;
    for (at, word) in text.match_indices("BREAK") {
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        if apart(text[..at].chars().next_back()) && apart(text[at + word.len()..].chars().next()) {
            sections.push(text[start..at].trim());
            start = at + word.len();
        }
    }
    sections.push(if start == 0 { text } else { text[start..].trim() });
    sections
}

/// The text without its `<lora:name:scale>` tags, and the tags.
fn take_loras(text: &str) -> (String, Vec<LoraTag>) {
    let (mut rest, mut plain, mut loras) = (text, String::new(), Vec::new());
    while let Some(start) = rest.find("<lora:") {
        let inside = &rest[start + "<lora:".len()..];
        let Some(end) = inside.find('>') else { break };
        let mut fields = inside[..end].split(':');
        let name = fields.next().unwrap_or_default().to_owned();
        let scale = fields.next().map_or(Some(1.0), |scale| scale.trim().parse().ok());
        plain.push_str(&rest[..start]);
        match scale {
            Some(scale) if !name.is_empty() => loras.push(LoraTag { name, scale }),
            // Not such a tag after all.
            _ => plain.push_str(&rest[start..start + "<lora:".len() + end + 1]),
        }
        rest = &inside[end + 1..];
    }
    plain.push_str(rest);
    (plain, loras)
}

fn parse_section(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // Index of the first piece inside each open bracket.
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let mut plain = String::new();
    let mut chars = text.char_indices();
    let multiply = |pieces: &mut Vec<Piece>, from: usize, by: f32| {
        pieces[from..].iter_mut().for_each(|piece| piece.weight *= by);
    };
    let flush = |pieces: &mut Vec<Piece>, plain: &mut String| {
        if !plain.is_empty() {
            pieces.push(Piece { text: std::mem::take(plain), weight: 1.0 });
        }
    };
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.clone().next() {
                Some((_, escaped @ ('(' | ')' | '[' | ']' | '\\'))) => {
                    plain.push(escaped);
                    chars.next();
                }
                _ => plain.push(c),
            },
            '(' | '[' => {
                flush(&mut pieces, &mut plain);
                if c == '(' { &mut round } else { &mut square }.push(pieces.len());
            }
            ':' if !round.is_empty() => match weight_before_bracket(&text[at + 1..]) {
                Some((weight, length)) => {
                    flush(&mut pieces, &mut plain);
                    multiply(&mut pieces, round.pop().unwrap_or_default(), weight);
                    // The number and its bracket.
                    chars.by_ref().take(length + 1).for_each(drop);
                }
                None => plain.push(c),
            },
            ')' if !round.is_empty() => {
                flush(&mut pieces, &mut plain);
                multiply(&mut pieces, round.pop().unwrap_or_default(), EMPHASIS);
            }
            ']' if !square.is_empty() => {
                flush(&mut pieces, &mut plain);
                multiply(&mut pieces, square.pop().unwrap_or_default(), 1.0 / EMPHASIS);
            }
            c => plain.push(c),
        }
    }
    flush(&mut pieces, &mut plain);
    round.into_iter().for_each(|from| multiply(&mut pieces, from, EMPHASIS));
    square.into_iter().for_each(|from| multiply(&mut pieces, from, 1.0 / EMPHASIS));
    merged(pieces)
}

/// `1.3)…` → 1.3 and the number of characters before the bracket.
fn weight_before_bracket(text: &str) -> Option<(f32, usize)> {
    let end = text.find(')')?;
    let number = &text[..end];
    let plain = number.trim().chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '+' | '-'));
    let weight = number.trim().parse().ok().filter(|w: &f32| plain && w.is_finite())?;
    Some((weight, number.chars().count()))
}

/// Neighbours of the same weight as one, so that words are not torn where a bracket did nothing.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::new();
    for piece in pieces {
        match merged.last_mut() {
            Some(last) if last.weight == piece.weight => last.text.push_str(&piece.text),
            _ => merged.push(piece),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(String, f32)> {
        let sections = Prompt::parse(text).sections;
        sections.concat().into_iter().map(|p| (p.text, (p.weight * 1000.0).round() / 1000.0)).collect()
    }

    fn expect(text: &str, expected: &[(&str, f32)]) {
        let expected: Vec<_> = expected.iter().map(|(t, w)| (t.to_string(), *w)).collect();
        assert_eq!(pieces(text), expected, "{text}");
    }

    #[test]
    fn weights_follow_the_published_rules() {
        expect("a photo", &[("a photo", 1.0)]);
        expect("a (red) car", &[("a ", 1.0), ("red", 1.1), (" car", 1.0)]);
        expect("((red))", &[("red", 1.21)]);
        expect("[red]", &[("red", 0.909)]);
        expect("(red:1.3)", &[("red", 1.3)]);
        expect("a (b (c:2) d:0.5)", &[("a ", 1.0), ("b ", 0.5), ("c", 1.0), (" d", 0.5)]);
        expect("(worst quality, low quality:2)", &[("worst quality, low quality", 2.0)]);
        expect(r"\(literal\) [x\]]", &[("(literal) ", 1.0), ("x]", 0.909)]);
        expect("(open", &[("open", 1.1)]);
        expect("closed)", &[("closed)", 1.0)]);
        expect("ratio 4:3 (a:b)", &[("ratio 4:3 ", 1.0), ("a:b", 1.1)]);
        expect("", &[]);
    }

    #[test]
    fn sections_and_loras_are_taken_out() {
        let prompt = Prompt::parse("a cat <lora:more_details:0.5> BREAK a dog <lora:x> BREAKFAST");
        assert_eq!(prompt.sections.len(), 2);
        assert_eq!(prompt.sections[1][0].text, "a dog  BREAKFAST");
        let lora = |name: &str, scale| LoraTag { name: name.into(), scale };
        assert_eq!(prompt.loras, [lora("more_details", 0.5), lora("x", 1.0)]);
    }
}
