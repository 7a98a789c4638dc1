//! The file formats that pictures are read from and written to.

use std::path::Path;

use clarifier_tile::Size;
use image::ImageFormat;

use crate::carry::Blocks;
use crate::{Depth, Raster};

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics; 8 and 16 bits.
    Png,
    /// JPEG; 8 bits, no alpha, sides up to 65535.
    Jpeg,
    /// WebP, written without loss; 8 bits, sides up to 16383.
    WebP,
    /// TIFF, and BigTIFF where 4 GiB do not suffice; 8 and 16 bits.
    Tiff,
}

/// A picture that does not go into a file of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// An extension that is none of a known format's.
    #[error("{0}: this program writes .png, .jpg, .webp and .tif; give the output one of these extensions")]
    UnknownExtension(String),
    /// A side too long.
    #[error("a {format} holds at most {limit} pixels a side and the output is {size}; write {fitting}")]
    TooLarge {
        /// The format.
        format: &'static str,
        /// Extensions of formats that hold it.
        fitting: String,
        /// Its longest side.
        limit: u32,
        /// The picture's size.
        size: Size,
    },
}

/// What the rest of the program must know of a format.
struct Facts {
    name: &'static str,
    /// The extensions of its files, the usual one first.
    extensions: &'static [&'static str],
    codec: ImageFormat,
    /// The longest side, in pixels.
    longest_side: u32,
    keeps_sixteen_bits: bool,
    keeps_alpha: bool,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::WebP, Self::Tiff];

    fn facts(self) -> Facts {
        match self {
            Self::Png => Facts {
                name: "PNG",
                extensions: &["png"],
                codec: ImageFormat::Png,
                longest_side: i32::MAX as u32,
                keeps_sixteen_bits: true,
                keeps_alpha: true,
            },
            Self::Jpeg => Facts {
                name: "JPEG",
                extensions: &["jpg", "jpeg"],
                codec: ImageFormat::Jpeg,
                longest_side: 65_535,
                keeps_sixteen_bits: false,
                keeps_alpha: false,
            },
            Self::WebP => Facts {
                name: "WebP",
                extensions: &["webp"],
                codec: ImageFormat::WebP,
                longest_side: 16_383,
                keeps_sixteen_bits: false,
                keeps_alpha: true,
            },
            Self::Tiff => Facts {
                name: "TIFF",
                extensions: &["tif", "tiff"],
                codec: ImageFormat::Tiff,
                longest_side: u32::MAX,
                keeps_sixteen_bits: true,
                keeps_alpha: true,
            },
        }
    }

    /// The format of files with this extension, in any case of letters.
    pub fn from_extension(extension: &str) -> Option<Self> {
        let is = |name: &&str| extension.eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(|format| format.extensions().iter().any(is))
    }

    /// The format of a path's extension.
    ///
    /// # Errors
    /// [`FormatError::UnknownExtension`].
    pub fn from_path(path: &Path) -> Result<Self, FormatError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        Self::from_extension(extension)
            .ok_or_else(|| FormatError::UnknownExtension(path.display().to_string()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    pub(crate) fn codec(self) -> ImageFormat {
        self.facts().codec
    }

    /// The usual extension.
    pub fn extension(self) -> &'static str {
        self.extensions()[0]
    }

    /// Every extension of its files, the usual one first.
    pub fn extensions(self) -> &'static [&'static str] {
        self.facts().extensions
    }

    /// Whether a picture of this size fits.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`].
    pub fn check_size(self, size: Size) -> Result<(), FormatError> {
        let too_large = |format: Self| size.width.max(size.height) > format.longest_side();
        if too_large(self) {
            let (format, limit) = (self.name(), self.longest_side());
            let fitting: Vec<_> = [Self::Png, Self::Tiff, Self::Jpeg]
                .into_iter()
                .filter(|other| !too_large(*other))
                .map(|other| format!(".{}", other.extension()))
                .collect();
            return Err(FormatError::TooLarge { format, fitting: fitting.join(" or "), limit, size });
        }
        Ok(())
    }

    /// The most pixels that a side may have.
    pub fn longest_side(self) -> u32 {
        self.facts().longest_side
    }

    /// What `raster` loses as a file of this format, in sentences for the user.
    pub fn losses(self, raster: &Raster) -> Vec<String> {
        let (name, mut losses) = (self.name(), Vec::new());
        if raster.channels().has_alpha() && !self.keeps_alpha() {
            losses.push(format!("{name} has no opacity: the picture is laid on white"));
        }
        if raster.depth() == Depth::Sixteen && !self.keeps_sixteen_bits() {
            losses.push(format!("{name} has 8 bits: the picture's 16 are reduced"));
        }
        losses.extend(Blocks::new(raster, self).1);
        losses
    }

    /// Whether values keep 16 bits.
    pub fn keeps_sixteen_bits(self) -> bool {
        self.facts().keeps_sixteen_bits
    }

    /// Whether opacity is kept.
    pub fn keeps_alpha(self) -> bool {
        self.facts().keeps_alpha
    }
}
