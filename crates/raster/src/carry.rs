//! What of a picture's metadata goes into a file of each format, and what cannot.

use std::borrow::Cow;

use crate::{Format, Raster, exif, iptc, xmp};

/// What goes into a file beside the pixels.
#[derive(Default)]
pub(crate) struct Blocks<'a> {
    pub icc: Option<&'a [u8]>,
    pub exif: Option<Vec<u8>>,
    /// With the recipe.
    pub xmp: Option<Vec<u8>>,
    pub iptc: Option<&'a [u8]>,
    /// Once more, for the text that PNG's readers show.
    pub recipe: Option<&'a str>,
}

/// A JPEG's blocks are in segments of at most this many bytes.
const SEGMENT: usize = 65_535 - 2;
const EXIF_IN_SEGMENT: usize = SEGMENT - b"Exif\0\0".len();
/// XMP specification part 3, 1.1.3.1.
const XMP_IN_SEGMENT: usize = 65_502;
/// Photoshop's header, and padding to an even length.
const IPTC_IN_SEGMENT: usize = SEGMENT - 27;
/// A profile is in at most 255 segments, and one encoder's limit is 254.
const ICC_IN_SEGMENTS: usize = 254 * (SEGMENT - 14);
/// Other formats' counts have 32 bits.
const ANY: usize = u32::MAX as usize;

impl<'a> Blocks<'a> {
    /// With what is left out, in sentences for the user.
    pub fn new(raster: &'a Raster, format: Format) -> (Self, Vec<String>) {
        let (metadata, name, mut losses) = (&raster.metadata, format.name(), Vec::new());
        let most = |in_segment: usize| if format == Format::Jpeg { in_segment } else { ANY };
        let some = |block: &'a Option<Vec<u8>>| block.as_deref().filter(|block| !block.is_empty());

        let exif = some(&metadata.exif).filter(|block| block.len() <= most(EXIF_IN_SEGMENT));
        if metadata.exif.is_some() && exif.is_none() {
            losses.push(format!("{name} holds less EXIF than there is: it is left out"));
        }
        // A WebP is always in colour, so that a grey one's profile is of the wrong kind.
        let kind = format != Format::WebP || !raster.channels().is_grey();
        let icc = some(&metadata.icc).filter(|icc| kind && icc.len() <= most(ICC_IN_SEGMENTS));
        if metadata.icc.is_some() && icc.is_none() {
            losses.push(format!("{name} cannot hold this colour profile: it is left out"));
        }
        let holds_iptc = matches!(format, Format::Jpeg | Format::Tiff);
        let iptc = some(&metadata.iptc).filter(|iptc| holds_iptc && iptc.len() <= most(IPTC_IN_SEGMENT));
        if metadata.iptc.is_some() && iptc.is_none() {
            losses.push(format!("{name} cannot hold this IPTC: it is left out"));
        }
        let users = some(&metadata.xmp).map(|packet| xmp::set_size(packet.to_vec(), raster.size()));
        let fits = |packet: &Vec<u8>| packet.len() <= most(XMP_IN_SEGMENT);
        let lost = users.as_ref().is_some_and(|packet| !fits(packet));
        if lost {
            losses.push(format!("{name} holds less XMP than there is: it is left out"));
        }
        let users = users.filter(fits);
        let recipe = metadata.recipe.as_deref();
        let with_recipe = recipe.and_then(|recipe| xmp::with_recipe(users.as_deref(), recipe)).filter(fits);
        if recipe.is_some() && with_recipe.is_none() && format != Format::Png {
            losses.push(format!("{name} cannot hold the recipe beside this XMP: it is left out"));
        }
        let exif = exif.map(|block| {
            let mut block = block.to_vec();
            exif::set_size(&mut block, raster.size());
            block
        });
        (Self { icc, exif, xmp: with_recipe.or(users), iptc, recipe }, losses)
    }

    /// IPTC as a JPEG has it.
    pub fn iptc_segment(&self) -> Option<Vec<u8>> {
        self.iptc.map(iptc::to_segment)
    }

    /// XMP as text, which it is.
    pub fn xmp_text(&self) -> Option<Cow<'_, str>> {
        self.xmp.as_deref().map(String::from_utf8_lossy)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use clarifier_tile::Size;

    use super::*;
    use crate::{Channels, Depth, EncodeOptions, StoreKind, decode, encode};

    const ALL: [Format; 4] = [Format::Png, Format::Tiff, Format::Jpeg, Format::WebP];

    fn picture() -> Raster {
        let mut raster =
            Raster::new(&StoreKind::Memory, Size::new(9, 7), Channels::Rgb, Depth::Eight).unwrap();
        let description =
            "<rdf:RDF xmlns:rdf='r'><rdf:Description rdf:about='' xmlns:dc='d' dc:title='mine'/>\n</rdf:RDF>";
        raster.metadata.xmp = Some(description.into());
        raster.metadata.iptc = Some(b"\x1C\x02\x69\0\x05title".to_vec());
        raster.metadata.recipe = Some(r#"{"prompt":"<ü & \"c\">"}"#.into());
        raster
    }

    fn through(raster: &Raster, format: Format) -> crate::Metadata {
        let mut file = Cursor::new(Vec::new());
        encode(raster, &mut file, format, &EncodeOptions::default()).unwrap();
        decode(Cursor::new(file.into_inner()), "it", &StoreKind::Memory).unwrap().raster.metadata
    }

    #[test]
    fn descriptions_and_recipe_go_into_every_format_that_has_a_place() {
        let mut picture = picture();
        for format in ALL {
            let back = through(&picture, format);
            assert_eq!(
                (&back.xmp, &back.recipe),
                (&picture.metadata.xmp, &picture.metadata.recipe),
                "{format:?}"
            );
            let holds = matches!(format, Format::Jpeg | Format::Tiff);
            assert_eq!(back.iptc, picture.metadata.iptc.clone().filter(|_| holds), "{format:?}");
            assert_eq!(format.losses(&picture).len(), usize::from(!holds));
        }
        picture.metadata.xmp = None;
        for format in ALL {
            let back = through(&picture, format);
            assert_eq!((back.xmp, back.recipe), (None, picture.metadata.recipe.clone()), "{format:?}");
        }
    }

    #[test]
    fn what_does_not_fit_a_segment_is_left_out_and_said_so() {
        let long = |length: usize| format!("<rdf:RDF>{}</rdf:RDF>", "x".repeat(length));
        // Both fit alone, not together: what is the user's comes first.
        let mut both = picture();
        both.metadata.xmp = Some(long(40_000).into());
        both.metadata.recipe = Some("y".repeat(30_000));
        assert!(Format::Jpeg.losses(&both)[0].contains("the recipe"));
        let back = through(&both, Format::Jpeg);
        assert_eq!((back.xmp, back.recipe), (both.metadata.xmp.clone(), None));
        assert_eq!(through(&both, Format::WebP), crate::Metadata { iptc: None, ..both.metadata.clone() });
        // The user's fits into no JPEG; the recipe still does.
        both.metadata.xmp = Some(long(70_000).into());
        assert!(Format::Jpeg.losses(&both)[0].contains("XMP"));
        assert_eq!(through(&both, Format::Jpeg).recipe, both.metadata.recipe);
        // Nothing can be added to such a packet.
        both.metadata.xmp = Some("<rdf:RDF/>".into());
        assert!(Format::Tiff.losses(&both)[0].contains("the recipe"));
        assert_eq!(through(&both, Format::Png).recipe, both.metadata.recipe, "it is a text there, too");
    }
}
