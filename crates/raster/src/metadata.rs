//! What a file says about its picture, carried from input to output.

/// Colour profile and camera data, as raw blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The ICC profile.
    pub icc: Option<Vec<u8>>,
    /// The EXIF block, a TIFF structure without the `Exif` marker. Its orientation is always 1: the
    /// pixels were turned when they were read.
    pub exif: Option<Vec<u8>>,
}

/// The colour space that an ICC profile is for: `RGB `, `GRAY`, `CMYK` …
pub(crate) fn icc_space(profile: &[u8]) -> Option<&[u8]> {
    profile.get(16..20)
}
