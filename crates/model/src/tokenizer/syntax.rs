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
    /// Its file's name, without folder and extension.
    pub name: String,
    /// Its scale in the UNet.
    pub scale: f32,
    /// Its scale in the text encoder.
    pub text_scale: f32,
}

/// A prompt taken apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prompt {
    /// The pieces of each section; `BREAK` stands between sections.
    pub sections: Vec<Vec<Piece>>,
    /// The LoRAs named, which are no text.
    pub loras: Vec<LoraTag>,
    /// Tags that cannot be read, as they stand in the prompt.
    pub malformed: Vec<String>,
}

/// What a bracket without a number does.
const EMPHASIS: f32 = 1.1;

impl Prompt {
    /// Take `text` apart. A bracket that is never closed counts to the end; one that was never opened
    /// is text. A backslash makes the bracket after it text, and is itself none.
    pub fn parse(text: &str) -> Self {
        let mut prompt = Self::default();
        let text = prompt.take_tags(text);
        let mut pieces = Pieces::default();
        pieces.read(&text);
        prompt.sections = pieces.sections();
        prompt
    }

    /// The text without its tags.
    fn take_tags(&mut self, text: &str) -> String {
        let (mut rest, mut plain) = (text, String::new());
        while let Some((start, inside)) = find_tag(rest) {
            let Some(end) = rest[inside..].find('>') else { break };
            let end = inside + end;
            plain.push_str(&rest[..start]);
            match LoraTag::parse(&rest[inside..end]).filter(|_| !rest[start..].starts_with("<hypernet:")) {
                Some(tag) => self.loras.push(tag),
                None => self.malformed.push(rest[start..=end].to_owned()),
            }
            rest = &rest[end + 1..];
        }
        plain + rest
    }
}

/// Where the first tag is, and its content.
fn find_tag(text: &str) -> Option<(usize, usize)> {
    // lyco: an old extension's word for the same. hypernet: known, to be refused.
    let starts = ["<lora:", "<lyco:", "<hypernet:"];
    starts.iter().filter_map(|start| text.find(start).map(|at| (at, at + start.len()))).min()
}

impl LoraTag {
    /// `name`, `name:scale`, `name:text:unet` or `name:te=0.5:unet=1`.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let name = fields.next()?.trim().to_owned();
        let (mut text_scale, mut unet) = (None, None);
        for field in fields {
            let number = |text: &str| text.trim().parse().ok().filter(|scale: &f32| scale.is_finite());
            match field.split_once('=') {
                Some(("te", value)) => text_scale = Some(number(value)?),
                Some(("unet", value)) => unet = Some(number(value)?),
                Some(_) => return None,
                None if text_scale.is_none() => text_scale = Some(number(field)?),
                None if unet.is_none() => unet = Some(number(field)?),
                None => return None,
            }
        }
        let text_scale = text_scale.unwrap_or(1.0);
        (!name.is_empty()).then(|| Self { name, scale: unet.unwrap_or(text_scale), text_scale })
    }
}

/// A prompt's pieces so far.
#[derive(Default)]
struct Pieces {
    list: Vec<Piece>,
    /// Indices of the first pieces of sections.
    breaks: Vec<usize>,
    plain: String,
}

impl Pieces {
    /// What is in brackets keeps its weight beyond a `BREAK`.
    fn read(&mut self, text: &str) {
        // Index of the first piece inside each open bracket.
        let (mut round, mut square) = (Vec::new(), Vec::new());
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    let next = chars.clone().next();
                    if let Some((_, escaped @ ('(' | ')' | '[' | ']' | '\\'))) = next {
                        self.plain.push(escaped);
                        chars.next();
                    }
                }
                '(' | '[' => {
                    self.flush();
                    if c == '(' { &mut round } else { &mut square }.push(self.list.len());
                }
                ':' if !round.is_empty() => match weight_before_bracket(&text[at + 1..]) {
                    Some((weight, length)) => {
                        self.close(&mut round, weight);
                        // The number and its bracket.
                        chars.by_ref().take(length + 1).for_each(drop);
                    }
                    None => self.plain.push(c),
                },
                ')' if !round.is_empty() => self.close(&mut round, EMPHASIS),
                ']' if !square.is_empty() => self.close(&mut square, 1.0 / EMPHASIS),
                'B' if is_break(text, at) => {
                    self.plain.truncate(self.plain.trim_end().len());
                    self.flush();
                    self.breaks.push(self.list.len());
                    let after = &text[at + BREAK.len()..];
                    let spaces = after.chars().take_while(|c| c.is_whitespace()).count();
                    chars.by_ref().take(BREAK.len() - 1 + spaces).for_each(drop);
                }
                c => self.plain.push(c),
            }
        }
        self.flush();
        while !round.is_empty() {
            self.close(&mut round, EMPHASIS);
        }
        while !square.is_empty() {
            self.close(&mut square, 1.0 / EMPHASIS);
        }
    }

    fn flush(&mut self) {
        if !self.plain.is_empty() {
            self.list.push(Piece { text: std::mem::take(&mut self.plain), weight: 1.0 });
        }
    }

    /// Close the innermost of `open`.
    fn close(&mut self, open: &mut Vec<usize>, by: f32) {
        self.flush();
        let from = open.pop().unwrap_or_default();
        self.list[from..].iter_mut().for_each(|piece| piece.weight *= by);
    }

    fn sections(mut self) -> Vec<Vec<Piece>> {
        let mut sections = Vec::new();
        for start in self.breaks.into_iter().rev() {
            sections.push(merged(self.list.split_off(start)));
        }
        sections.push(merged(self.list));
        sections.reverse();
        sections
    }
}

const BREAK: &str = "BREAK";

/// Whether the word at `at` is `BREAK`, in capitals and a word of its own.
fn is_break(text: &str, at: usize) -> bool {
    let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    text[at..]
        .strip_prefix(BREAK)
        .is_some_and(|after| apart(text[..at].chars().next_back()) && apart(after.chars().next()))
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
        expect(r"a\b \\", &[(r"ab \", 1.0)]);
        expect("(a: -0.5 )", &[("a", -0.5)]);
        expect("(a BREAK b:1.3)", &[("a", 1.3), ("b", 1.3)]);
        expect("(open", &[("open", 1.1)]);
        expect("closed)", &[("closed)", 1.0)]);
        expect("ratio 4:3 (a:b)", &[("ratio 4:3 ", 1.0), ("a:b", 1.1)]);
        expect("", &[]);
    }

    #[test]
    fn sections_and_tags_are_taken_out() {
        let prompt =
            Prompt::parse("a cat <lora:more_details:0.5> BREAK a dog <lora:x><lyco:y:0.5:2> BREAKFAST");
        assert_eq!(prompt.sections.len(), 2);
        assert_eq!(prompt.sections[0][0].text, "a cat");
        assert_eq!(prompt.sections[1][0].text, "a dog  BREAKFAST");
        let lora = |name: &str, text_scale, scale| LoraTag { name: name.into(), scale, text_scale };
        assert_eq!(prompt.loras, [lora("more_details", 0.5, 0.5), lora("x", 1.0, 1.0), lora("y", 0.5, 2.0)]);
        assert_eq!(prompt.malformed, [""; 0]);
        let tags = Prompt::parse("a<lora:x:much> <hypernet:h:1><lora:> <lora:y:te=0.5:unet=-1> <lora:z");
        assert_eq!(tags.loras, [lora("y", 0.5, -1.0)]);
        assert_eq!(tags.malformed, ["<lora:x:much>", "<hypernet:h:1>", "<lora:>"]);
        assert_eq!(tags.sections, [[Piece { text: "a   <lora:z".into(), weight: 1.0 }]]);
        assert_eq!(Prompt::parse("").sections, [[]]);
    }
}
