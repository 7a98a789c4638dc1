//! What results are called: `{name}_{factor}x`.

use std::collections::HashSet;
use std::path::Path;

use clarifier_raster::Format;
use clarifier_tile::Size;

/// A name without its extension, with fields in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Name,
    Ext,
    Factor,
    Seed,
    Width,
    Height,
    Index,
}

const FIELDS: [(&str, Field); 7] = [
    ("name", Field::Name),
    ("ext", Field::Ext),
    ("factor", Field::Factor),
    ("seed", Field::Seed),
    ("width", Field::Width),
    ("height", Field::Height),
    ("index", Field::Index),
];

/// What goes into the fields.
pub struct Values<'a> {
    /// The input.
    pub input: &'a Path,
    pub factor: f64,
    pub seed: u64,
    /// Of the result.
    pub size: Size,
    /// From 1.
    pub index: usize,
}

impl Pattern {
    /// What a result is called if nothing is said.
    pub fn usual() -> Self {
        Self::parse("{name}_{factor}x").expect("a valid pattern")
    }

    /// What a part of a result is called: the whole one may come to lie beside it.
    pub fn of_region() -> Self {
        Self::parse("{name}_{factor}x_region").expect("a valid pattern")
    }

    /// What a part of a result is called there.
    pub fn of_region_in_work_dir() -> Self {
        Self::parse("{name}_enhanced_region").expect("a valid pattern")
    }

    /// What a result in the work folder is called.
    pub fn in_work_dir() -> Self {
        Self::parse("{name}_enhanced_full").expect("a valid pattern")
    }

    /// From `--name`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| Err(format!("--name {text:?}: {reason}"));
        let known = FIELDS.map(|(name, _)| format!("{{{name}}}")).join(", ");
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let Some((field, after)) = rest[at..].strip_prefix('{').and_then(|r| r.split_once('}')) else {
                return wrong("{ and } must come in pairs");
            };
            let Some((_, field)) = FIELDS.into_iter().find(|(name, _)| *name == field) else {
                return wrong(&format!("there is no field {{{field}}}; there are {known}"));
            };
            parts.extend([Part::Text(rest[..at].into()), Part::Field(field)]);
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        parts.retain(|part| *part != Part::Text(String::new()));
        match text {
            "" => return wrong("a name has at least a letter"),
            text if text.contains(['/', '\\']) => {
                return wrong("a name, not a path; folders go to --output-dir");
            }
            text if Format::from_path(Path::new(text)).is_ok() => {
                return wrong("without an extension: that is the format's, which --format chooses");
            }
            _ => {}
        }
        Ok(Self(parts))
    }

    /// The name of a result, with the extension of `format`.
    pub fn file_name(&self, values: &Values, format: Format) -> String {
        let mut name: String = self.0.iter().map(|part| part.text(values)).collect();
        name.push('.');
        name.push_str(format.extension());
        name
    }

    /// Whether a file called `stem` looks like the result of another, whose name is in `names`.
    pub fn fits(&self, stem: &str, names: &HashSet<String>) -> bool {
        fits(&self.0, stem, &|name| name != stem && names.contains(name))
    }
}

impl Part {
    fn text(&self, values: &Values) -> String {
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match self {
            Self::Text(text) => text.clone(),
            Self::Field(Field::Name) => stem(values.input),
            Self::Field(Field::Ext) => {
                values.input.extension().unwrap_or_default().to_string_lossy().into_owned()
            }
            Self::Field(Field::Factor) => values.factor.to_string(),
            Self::Field(Field::Seed) => values.seed.to_string(),
            Self::Field(Field::Width) => values.size.width.to_string(),
            Self::Field(Field::Height) => values.size.height.to_string(),
            Self::Field(Field::Index) => values.index.to_string(),
        }
    }
}

fn fits(parts: &[Part], text: &str, is_name: &dyn Fn(&str) -> bool) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return text.is_empty();
    };
    let allowed: &dyn Fn(&str) -> bool = match part {
        Part::Text(literal) => {
            return text.strip_prefix(literal.as_str()).is_some_and(|text| fits(rest, text, is_name));
        }
        Part::Field(Field::Name) => is_name,
        Part::Field(Field::Ext) => &|ext| ext.chars().all(char::is_alphanumeric),
        Part::Field(Field::Factor) => &|factor| factor.parse::<f64>().is_ok(),
        Part::Field(_) => &|number| number.bytes().all(|byte| byte.is_ascii_digit()),
    };
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    ends.into_iter().any(|end| allowed(&text[..end]) && fits(rest, &text[end..], is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_from_the_picture() {
        let values = Values {
            input: Path::new("a/my cat.v2.JPG"),
            factor: 1.5,
            seed: 7,
            size: Size::new(30, 20),
            index: 3,
        };
        let name = |pattern| Pattern::parse(pattern).unwrap().file_name(&values, Format::Tiff);
        assert_eq!(Pattern::usual().file_name(&values, Format::Png), "my cat.v2_1.5x.png");
        assert_eq!(name("{index}-{name}_{seed}"), "3-my cat.v2_7.tif");
        assert_eq!(name("{name}.{ext} {width}x{height}"), "my cat.v2.JPG 30x20.tif");
        assert_eq!(name("plain"), "plain.tif");
    }

    #[test]
    fn what_is_no_pattern_is_told_why() {
        for (bad, says) in [
            ("{nam}", "there is no field {nam}"),
            ("{name", "pairs"),
            ("name}", "pairs"),
            ("{a{name}", "there is no field"),
            ("", "at least"),
            ("x/{name}", "--output-dir"),
            ("{name}.png", "--format"),
        ] {
            let message = Pattern::parse(bad).unwrap_err();
            assert!(message.contains(says), "{bad}: {message}");
        }
    }

    #[test]
    fn results_are_recognised_by_their_names() {
        let names: HashSet<String> = ["cat", "cat_2x", "dog", "cat_2x_4x", "4x"].map(String::from).into();
        let fits = |pattern: Pattern| names.iter().filter(|stem| pattern.fits(stem, &names)).count();
        // cat_2x of cat, cat_2x_4x of cat_2x.
        assert_eq!(fits(Pattern::usual()), 2);
        assert_eq!(fits(Pattern::in_work_dir()), 0);
        assert_eq!(fits(Pattern::parse("{name}").unwrap()), 0);
        assert!(Pattern::parse("{index}_{name}").unwrap().fits("12_dog", &names));
        assert!(!Pattern::usual().fits("cow_2x", &names));
    }
}
