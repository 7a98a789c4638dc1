//! XMP packets (ISO 16684-1), as far as they are changed here: the recipe goes in and out, and what
//! turning and enlarging make untrue is set right. All else stays as it is, byte by byte.
//!
//! The recipe is a property of a namespace of ours in this packet because XMP alone has a place in each
//! of the four formats, is text, and is kept by what people edit pictures with (checked with exiftool,
//! and it is what GIMP, Photoshop, Lightroom and ImageMagick carry from format to format). EXIF's
//! `UserComment` is the user's, and has as many encodings as programs; comments and text chunks are
//! lost by every conversion.

use std::borrow::Cow;
use std::ops::Range;

use clarifier_tile::Size;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Ours; a name, not an address.
const NAMESPACE: &str = "https://github.com/clarifier/clarifier/ns/1.0/";
const PROPERTY: &str = "clarifier:recipe";
const END: &str = "</rdf:RDF>";

/// `packet`, or a new one, with the recipe in it. `None` if the packet is built in a way that nothing
/// can be added to.
pub(crate) fn with_recipe(packet: Option<&[u8]>, recipe: &str) -> Option<Vec<u8>> {
    let Some(packet) = packet else {
        let description = description(r#""""#, recipe);
        return Some(
            format!(
                "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
                 <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n\
                 <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n\
                 {description}{END}\n</x:xmpmeta>\n<?xpacket end=\"w\"?>"
            )
            .into_bytes(),
        );
    };
    let text = std::str::from_utf8(packet).ok()?;
    let at = text.rfind(END)?;
    // All descriptions of a packet must be about the same thing, which a few programs name.
    let about = text.find("rdf:about=").and_then(|at| quoted(&text[at + "rdf:about=".len()..]));
    let description = description(about.unwrap_or(r#""""#), recipe);
    Some([&text[..at], &description, &text[at..]].concat().into_bytes())
}

fn description(about: &str, recipe: &str) -> String {
    format!(
        "<rdf:Description rdf:about={about} xmlns:clarifier=\"{NAMESPACE}\">\
         <{PROPERTY}>{}</{PROPERTY}></rdf:Description>\n",
        escape(recipe)
    )
}

/// A value with its quotes, from the beginning of `text`.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let length = text[1..].find(quote)?;
    Some(&text[..length + 2])
}

/// The packet without the recipe, if anything else is in it, and the recipe.
pub(crate) fn take_recipe(packet: Vec<u8>) -> (Option<Vec<u8>>, Option<String>) {
    let Some((rest, recipe)) = std::str::from_utf8(&packet).ok().and_then(split) else {
        return (Some(packet).filter(|packet| !packet.is_empty()), None);
    };
    (says_anything(&rest).then(|| rest.into_bytes()), Some(recipe))
}

fn split(text: &str) -> Option<(String, String)> {
    // Another program's `clarifier:` would be another namespace.
    text.contains(NAMESPACE).then_some(())?;
    let (whole, value) = find(text, PROPERTY)?;
    let recipe = unescape(&text[value]).into_owned();
    let mut rest = [&text[..whole.start], &text[whole.end..]].concat();
    // The description that held nothing else.
    if let Some(begin) = rest[..whole.start].rfind("<rdf:Description")
        && let Some(close) = rest[begin..].find('>').map(|at| begin + at + 1)
        && rest[begin..close].matches('=').count() == 2
        && rest[begin..close].contains(NAMESPACE)
    {
        let tail = rest[close..].trim_start();
        let end = match rest[begin..close].ends_with("/>") {
            true => Some(close),
            false => {
                tail.strip_prefix("</rdf:Description>").map(|after| rest.len() - after.trim_start().len())
            }
        };
        if let Some(end) = end {
            rest.replace_range(begin..end, "");
        }
    }
    Some((rest, recipe))
}

/// Whether there is anything between the tags of the RDF.
fn says_anything(text: &str) -> bool {
    let inside = text.find("<rdf:RDF").and_then(|at| Some(at + text[at..].find('>')? + 1));
    let end = text.rfind(END);
    !matches!((inside, end), (Some(inside), Some(end)) if inside <= end && text[inside..end].trim().is_empty())
}

/// The packet for a picture that stands upright now.
pub(crate) fn set_upright(packet: Vec<u8>) -> Vec<u8> {
    set(packet, &[("tiff:Orientation", 1)])
}

/// The packet for a picture of this size, where it speaks of one.
pub(crate) fn set_size(packet: Vec<u8>, size: Size) -> Vec<u8> {
    let (w, h) = (size.width, size.height);
    let values = [
        ("tiff:ImageWidth", w),
        ("tiff:ImageLength", h),
        ("exif:PixelXDimension", w),
        ("exif:PixelYDimension", h),
    ];
    set(packet, &values)
}

fn set(packet: Vec<u8>, values: &[(&str, u32)]) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(packet.clone()) else {
        return packet;
    };
    for (name, value) in values {
        if let Some((_, range)) = find(&text, name) {
            text.replace_range(range, &value.to_string());
        }
    }
    text.into_bytes()
}

/// Ranges of the first simple property `name`, an attribute or an element: the whole of it, and its value. Reads the text once,
/// up to where it stops being XML.
fn find(text: &str, name: &str) -> Option<(Range<usize>, Range<usize>)> {
    let mut reader = Reader::from_str(text);
    // Other programs' packets are what they are.
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let mut opened: Option<Range<usize>> = None;
    loop {
        let begin = reader.buffer_position() as usize;
        let event = reader.read_event().ok()?;
        let end = reader.buffer_position() as usize;
        match (event, &opened) {
            (Event::Start(tag), None) if tag.name().as_ref() == name => opened = Some(begin..end),
            (Event::Start(tag) | Event::Empty(tag), None) => {
                if let Some(found) = attribute(text, &tag, name) {
                    return Some(found);
                }
            }
            (Event::End(tag), Some(opened)) if tag.name().as_ref() == name => {
                return Some((opened.start..end, opened.end..begin));
            }
            (Event::Eof, _) => return None,
            _ => {}
        }
    }
}

/// Ranges of the attribute `name` of a tag of `text`, as [`find`] has them.
fn attribute(text: &str, tag: &BytesStart, name: &str) -> Option<(Range<usize>, Range<usize>)> {
    // Comparing each with all before would take the square of their number.
    let mut attributes = tag.attributes();
    let found = attributes.with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == name)?;
    let Cow::Borrowed(value) = found.value else { return None };
    // Both are parts of the text, so that addresses tell where.
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let value = offset(value)..offset(value) + value.len();
    Some((offset(found.key.as_ref())..value.end + 1, value))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(';').and_then(|(name, rest)| Some((entity(name)?, rest))) {
            Some((c, rest)) => {
                plain.push(c);
                plain.push_str(rest);
            }
            None => {
                plain.push('&');
                plain.push_str(part);
            }
        }
    }
    plain.into()
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"{"prompt":"a <b> & 'c' \"d\" ]]> ü","seed":7}"#;
    const USERS: &str = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="uuid:7" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"
 xmlns:exif="http://ns.adobe.com/exif/1.0/"><exif:PixelXDimension>24</exif:PixelXDimension></rdf:Description>
</rdf:RDF></x:xmpmeta>"#;

    #[test]
    fn a_recipe_comes_back_and_leaves_nothing() {
        let packet = with_recipe(None, RECIPE).unwrap();
        assert_eq!(take_recipe(packet), (None, Some(RECIPE.into())));
        let packet = with_recipe(Some(USERS.as_bytes()), RECIPE).unwrap();
        assert_eq!(String::from_utf8(packet.clone()).unwrap().matches("uuid:7").count(), 2);
        assert_eq!(take_recipe(packet), (Some(USERS.into()), Some(RECIPE.into())));
        assert_eq!(take_recipe(USERS.into()), (Some(USERS.into()), None));
        assert_eq!(take_recipe(Vec::new()), (None, None));
    }

    #[test]
    fn other_programs_spellings_are_read() {
        let head = r#"<rdf:RDF xmlns:rdf="r">"#;
        let attribute = format!(
            "{head}<rdf:Description rdf:about='' xmlns:clarifier='{NAMESPACE}' clarifier:recipe='{{&quot;a&#39;&#x26;&quot;}}'/></rdf:RDF>"
        );
        assert_eq!(take_recipe(attribute.into()), (None, Some(r#"{"a'&"}"#.into())));
        let shared = format!(
            "{head}<rdf:Description rdf:about='' xmlns:clarifier='{NAMESPACE}'>\n<clarifier:recipe>{{}}</clarifier:recipe>\n<dc:title>t</dc:title></rdf:Description></rdf:RDF>"
        );
        let (rest, recipe) = take_recipe(shared.into());
        assert_eq!(recipe.as_deref(), Some("{}"));
        assert!(
            String::from_utf8(rest.unwrap()).unwrap().contains("<dc:title>t</dc:title></rdf:Description>")
        );
        let foreign = "<rdf:RDF><rdf:Description xmlns:clarifier='theirs' clarifier:recipe='x'/></rdf:RDF>";
        assert_eq!(take_recipe(foreign.into()), (Some(foreign.into()), None));
    }

    #[test]
    fn what_is_untrue_is_set_and_nothing_else() {
        let packet = set_size(set_upright(USERS.into()), Size::new(48, 32));
        let expected = USERS.replace(r#"="6""#, r#"="1""#).replace(">24<", ">48<");
        assert_eq!(String::from_utf8(packet).unwrap(), expected);
        assert_eq!(set_upright(vec![0xFF, 0xFE, 0]), [0xFF, 0xFE, 0]);
    }

    #[test]
    fn comments_and_texts_of_others_are_no_properties() {
        let packet = r#"<rdf:RDF><!-- tiff:Orientation="6" <tiff:Orientation>6</tiff:Orientation> -->
<rdf:Description dc:title='say tiff:Orientation="6"' tiff:Orientation = '6' a="1" a="2"/></rdf:RDF>"#;
        let upright = packet.replace("= '6'", "= '1'");
        assert_eq!(String::from_utf8(set_upright(packet.into())).unwrap(), upright);
    }

    /// Nanoseconds that reading a packet of `count` times `part` takes, the least of three.
    fn reading(part: &str, count: usize) -> u128 {
        let packet = format!("<rdf:RDF xmlns:clarifier=\"{NAMESPACE}\">{}", part.repeat(count)).into_bytes();
        let once = || {
            let begun = std::time::Instant::now();
            let (packet, _) = take_recipe(set_size(set_upright(packet.clone()), Size::new(1, 2)));
            let _ = with_recipe(packet.as_deref(), RECIPE);
            begun.elapsed().as_nanos()
        };
        (0..3).map(|_| once()).min().unwrap()
    }

    #[test]
    fn the_time_grows_as_the_packet_does() {
        for part in [
            "<tiff:Orientation>",
            "<tiff:Orientation",
            "</tiff:Orientation>",
            " tiff:Orientation=",
            "<a tiff:Orientation='",
            "<clarifier:recipe>&amp",
            "<a b='' c='' d='' e='' f=''/>",
            "rdf:about=",
            "&#",
            "<!-- ",
        ] {
            let (short, long) = (reading(part, 2000), reading(part, 32_000));
            // Sixteen times as long; the square would be 256 times.
            assert!(long < 80 * short.max(20_000), "{part}: {short} ns, and {long} ns for 16 times as much");
        }
        // Attributes of one element.
        let attributes = |count| {
            let list: String = (0..count).map(|i| format!(" a{i}=''")).collect();
            reading(&format!("<a{list}/>"), 1)
        };
        let (short, long) = (attributes(2000), attributes(32_000));
        assert!(long < 80 * short.max(20_000), "{short} ns and {long} ns");
    }

    #[test]
    fn any_damage_is_survived() {
        let whole = String::from_utf8(with_recipe(Some(USERS.as_bytes()), RECIPE).unwrap()).unwrap();
        for (at, c) in whole.char_indices() {
            let without = [&whole[..at], &whole[at + c.len_utf8()..]].concat();
            for cut in [whole[..at].to_owned(), whole[at..].to_owned(), without] {
                let _ = with_recipe(Some(cut.as_bytes()), RECIPE);
                take_recipe(set_size(cut.into_bytes(), Size::new(1, 2)));
            }
        }
    }
}
