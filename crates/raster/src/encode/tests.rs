//! Round trips through this crate's decoder, which is tested against Pillow.

use std::io::Cursor;

use clarifier_tile::Size;

use super::*;
use crate::fixtures::{self, levels, noise};
use crate::{Channels, Planes, StoreKind, decode, open};

const ALL: [Format; 4] = [Format::Png, Format::Tiff, Format::Jpeg, Format::WebP];

fn raster(size: Size, channels: Channels, depth: Depth) -> Raster {
    let mut raster = Raster::new(&StoreKind::Memory, size, channels, depth).unwrap();
    raster.write(0, 0, &noise(size, channels.count())).unwrap();
    raster
}

fn through(raster: &Raster, format: Format, depth: Depth) -> Raster {
    let mut file = Cursor::new(Vec::new());
    encode(raster, &mut file, format, &EncodeOptions { depth, ..EncodeOptions::default() }).unwrap();
    let decoded = decode(Cursor::new(file.into_inner()), "it", &StoreKind::Memory).unwrap();
    assert_eq!((decoded.format, decoded.raster.size()), (format, raster.size()));
    decoded.raster
}

#[test]
fn formats_without_loss_give_back_what_they_were_given() {
    for format in [Format::Png, Format::Tiff, Format::WebP] {
        for channels in [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba] {
            for depth in [Depth::Eight, Depth::Sixteen] {
                if depth == Depth::Sixteen && !format.keeps_sixteen_bits() {
                    continue;
                }
                // Over one band, no multiple of it; and the thinnest.
                for size in [Size::new(37, 131), Size::new(1, 1), Size::new(1, 5000), Size::new(5000, 1)] {
                    let picture = raster(size, channels, depth);
                    let back = through(&picture, format, depth);
                    assert_eq!(back.depth(), depth);
                    // A WebP is always in colour.
                    if format == Format::WebP && channels.is_grey() {
                        let (a, b) = (picture.read(picture.area()).unwrap(), back.read(back.area()).unwrap());
                        assert_eq!(a.to_rgb(), b.to_rgb());
                        continue;
                    }
                    assert_eq!(back.channels(), channels, "{format:?} {size}");
                    assert_eq!(levels(&back), levels(&picture), "{format:?} {channels:?} {depth:?} {size}");
                }
            }
        }
    }
}

#[test]
fn a_big_tiff_is_read_back() {
    // Written only above 4 GiB otherwise.
    let mut picture = raster(Size::new(37, 131), Channels::Rgba, Depth::Sixteen);
    picture.metadata = open(&fixtures::path("camera.tif"), &StoreKind::Memory).unwrap().raster.metadata;
    let (blocks, _) = Blocks::new(&picture, Format::Tiff);
    let mut file = Cursor::new(Vec::new());
    tiff::write_big(&picture, &mut file, &blocks, Depth::Sixteen).unwrap();
    assert_eq!(file.get_ref()[2], 43);
    file.set_position(0);
    let back = decode(file, "it", &StoreKind::Memory).unwrap().raster;
    assert_eq!(levels(&back), levels(&picture));
    assert_eq!(back.metadata, picture.metadata);
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    let picture = raster(Size::new(37, 70), Channels::Rgb, Depth::Sixteen);
    let rounded: Vec<u16> = levels(&picture).iter().map(|v| (f64::from(*v) / 257.0).round() as u16).collect();
    for format in [Format::Png, Format::Tiff, Format::WebP] {
        assert_eq!(levels(&through(&picture, format, Depth::Eight)), rounded);
    }
}

/// Red and blue stripes one pixel wide.
fn stripes() -> Raster {
    let size = Size::new(33, 71);
    let mut picture = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Eight).unwrap();
    let red = (0..size.area()).map(|i| (i % 33 % 2) as f32);
    let blue = red.clone().map(|v| 1.0 - v);
    picture
        .write(0, 0, &Planes::new(size, 3, red.chain((0..size.area()).map(|_| 0.0)).chain(blue).collect()))
        .unwrap();
    picture
}

fn mean_error(a: &Raster, b: &Raster) -> f64 {
    let (a, b) = (levels(a), levels(b));
    a.iter().zip(&b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn a_jpegs_colour_is_as_fine_as_asked_for() {
    let picture = stripes();
    let with = |jpeg_chroma| {
        let mut file = Cursor::new(Vec::new());
        let options = EncodeOptions { jpeg_chroma, ..EncodeOptions::default() };
        encode(&picture, &mut file, Format::Jpeg, &options).unwrap();
        // Sampling of the first component, in the frame header (ITU-T T.81, B.2.2).
        let bytes = file.get_ref();
        let frame = bytes.windows(4).position(|w| w == [0xFF, 0xC0, 0, 17]).unwrap();
        let sampling = bytes[frame + 11];
        file.set_position(0);
        (sampling, mean_error(&decode(file, "it", &StoreKind::Memory).unwrap().raster, &picture))
    };
    let (full, half, quarter) = (with(Chroma::Full), with(Chroma::Half), with(Chroma::Quarter));
    assert_eq!((full.0, half.0, quarter.0), (0x11, 0x21, 0x22));
    // Subsampled across, the stripes become violet: red and blue are half of what they were.
    assert!(full.1 < 6.0 && half.1 > 60.0 && quarter.1 > 60.0, "{full:?} {half:?} {quarter:?}");
}

#[test]
fn a_jpeg_is_close() {
    for (channels, size) in [
        (Channels::Grey, Size::new(9, 200)),
        (Channels::Rgb, Size::new(1, 1)),
        (Channels::Rgb, Size::new(1, 5000)),
    ] {
        let mut flat = Raster::new(&StoreKind::Memory, size, channels, Depth::Sixteen).unwrap();
        let ramp = (0..size.area()).map(|i| i as f32 / size.area() as f32);
        flat.write(
            0,
            0,
            &Planes::new(
                size,
                channels.count(),
                ramp.cycle().take(size.area() as usize * channels.count()).collect(),
            ),
        )
        .unwrap();
        let back = through(&flat, Format::Jpeg, Depth::Eight);
        assert_eq!(back.channels(), channels);
        let error = levels(&flat)
            .iter()
            .zip(levels(&back))
            .map(|(a, b)| (f32::from(*a) / 257.0 - f32::from(b)).abs())
            .fold(0.0, f32::max);
        assert!(error < 4.0, "{size}: {error}");
    }
}

#[test]
fn opacity_is_laid_on_white_in_a_jpeg() {
    for (channels, values) in
        [(Channels::Rgba, vec![1.0, 0.0, 0.0, 0.5]), (Channels::GreyAlpha, vec![0.0, 0.5])]
    {
        let size = Size::new(8, 8);
        let data = values.iter().flat_map(|v| [*v; 64]).collect();
        let mut picture = Raster::new(&StoreKind::Memory, size, channels, Depth::Eight).unwrap();
        picture.write(0, 0, &Planes::new(size, channels.count(), data)).unwrap();
        let back = levels(&through(&picture, Format::Jpeg, Depth::Eight));
        let expected: &[u16] = if channels == Channels::Rgba { &[255, 127, 127] } else { &[127] };
        assert!(back.iter().zip(expected.iter().cycle()).all(|(a, b)| a.abs_diff(*b) <= 2), "{back:?}");
        assert!(Format::Jpeg.losses(&picture)[0].contains("white"));
    }
}

#[test]
fn profile_and_exif_go_into_every_format() {
    for name in ["turned_6.jpg", "camera.tif"] {
        let picture = open(&fixtures::path(name), &StoreKind::Memory).unwrap().raster;
        let before = crate::exif::Exif::read(Cursor::new(picture.metadata.exif.as_ref().unwrap())).unwrap();
        for format in ALL {
            let back = through(&picture, format, Depth::Eight);
            assert_eq!(back.metadata.icc, picture.metadata.icc, "{format:?}");
            let after = crate::exif::Exif::read(Cursor::new(back.metadata.exif.as_ref().unwrap())).unwrap();
            assert_eq!(after, before, "{name} as {format:?}");
            assert!(format.losses(&picture).is_empty());
        }
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_said_so() {
    let mut picture = raster(Size::new(4, 4), Channels::Grey, Depth::Sixteen);
    picture.metadata.exif = Some([b"II\x2A\0".as_slice(), &[0; 70_000]].concat());
    picture.metadata.icc = Some(vec![7; 200]);
    assert_eq!(Format::Jpeg.losses(&picture).len(), 2);
    assert_eq!(through(&picture, Format::Jpeg, Depth::Eight).metadata.exif, None);
    assert_eq!(Format::WebP.losses(&picture).len(), 2);
    assert_eq!(through(&picture, Format::WebP, Depth::Eight).metadata.icc, None);
    assert!(Format::Png.losses(&picture).is_empty());
}

#[test]
fn a_tiff_is_deflated() {
    let mut smooth =
        Raster::new(&StoreKind::Memory, Size::new(300, 200), Channels::Rgb, Depth::Sixteen).unwrap();
    let values = (0..300 * 200 * 3).map(|i| (i % 300 + i / 300 % 200) as f32 / 500.0).collect();
    smooth.write(0, 0, &Planes::new(smooth.size(), 3, values)).unwrap();
    let mut file = Cursor::new(Vec::new());
    let options = EncodeOptions { depth: Depth::Sixteen, ..EncodeOptions::default() };
    encode(&smooth, &mut file, Format::Tiff, &options).unwrap();
    assert!(file.get_ref().len() < 300 * 200 * 6 / 10, "{}", file.get_ref().len());
}

#[test]
fn a_picture_too_long_for_its_format_is_refused_before_any_work() {
    let size = Size::new(70_000, 1);
    let picture = Raster::new(&StoreKind::Memory, size, Channels::Grey, Depth::Eight).unwrap();
    for format in [Format::Jpeg, Format::WebP] {
        let mut file = Cursor::new(Vec::new());
        let error = encode(&picture, &mut file, format, &EncodeOptions::default()).unwrap_err();
        assert!(error.to_string().contains("at most"), "{error}");
        assert!(error.to_string().contains("write .png or .tif"), "{error}");
        assert!(file.into_inner().is_empty());
    }
    assert_eq!(through(&picture, Format::Tiff, Depth::Eight).size(), size);
}

/// A store whose disk has gone.
struct Gone;

impl crate::ByteStore for Gone {
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("gone"))
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::other("gone"))
    }
}

#[test]
fn a_store_that_fails_fails_the_file() {
    let picture = Raster::on(Box::new(Gone), Size::new(20, 20), Channels::Rgba, Depth::Eight);
    for format in ALL {
        let error = encode(&picture, Cursor::new(Vec::new()), format, &EncodeOptions::default()).unwrap_err();
        assert!(matches!(error, EncodeError::Raster(_)), "{format:?}: {error}");
    }
}
