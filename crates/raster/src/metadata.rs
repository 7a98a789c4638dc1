//! What a file says about its picture, carried from input to output.

/// Colour profile, camera data, descriptions and Clarifier's own recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The ICC profile.
    pub icc: Option<Vec<u8>>,
    /// The EXIF block, a TIFF structure without the `Exif` marker. Its orientation is always 1: the
    /// pixels were turned when they were read.
    pub exif: Option<Vec<u8>>,
    /// The XMP packet, without the recipe. Its orientation is 1, too.
    pub xmp: Option<Vec<u8>>,
    /// IPTC's descriptions (IIM records).
    pub iptc: Option<Vec<u8>>,
    /// How Clarifier made the picture: a JSON text, at best below 60 kB, which is what a JPEG can hold.
    pub recipe: Option<String>,
}

/// The colour space that an ICC profile is for: `RGB `, `GRAY`, `CMYK` …
pub(crate) fn icc_space(profile: &[u8]) -> Option<&[u8]> {
    profile.get(16..20)
}
