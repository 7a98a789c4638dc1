//! Against what Pillow reads.

use std::io::Cursor;

use super::*;
use crate::Depth;
use crate::fixtures::{self, expected, levels};

fn read(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    decode(Cursor::new(bytes), "it", &StoreKind::Memory)
}

fn message(bytes: &[u8]) -> String {
    read(bytes).err().expect("an error").to_string()
}

#[test]
fn every_kind_is_read_as_pillow_reads_it() {
    for (name, expected) in expected() {
        let decoded = open(&fixtures::path(&name), &StoreKind::Memory).unwrap();
        let raster = &decoded.raster;
        let header = probe(&fixtures::path(&name)).unwrap();
        assert_eq!((header.format, header.size), (decoded.format, raster.size()), "{name}");
        assert_eq!((raster.size().width, raster.size().height), expected.size, "{name}");
        assert_eq!(raster.channels().count(), expected.channels, "{name}");
        assert_eq!(raster.depth() == Depth::Sixteen, expected.depth == 16, "{name}");
        let error = levels(raster).iter().zip(&expected.data).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let allowed = match name.as_str() {
            // Another inverse transform and conversion of colours than libjpeg's.
            "subsampled.jpg" => 6,
            "lossy.webp" => 3,
            "cmyk.jpg" | "cmyk.tif" => 2,
            _ if decoded.format == Format::Jpeg => 2,
            _ => 0,
        };
        assert!(error <= allowed, "{name}: {error}");
    }
}

#[test]
fn large_strips_read_by_rows_are_as_tiff_reads_them() {
    let mut by_rows = 0;
    for (name, _) in expected().into_iter().filter(|(name, _)| name.ends_with("tif")) {
        let bytes = fixtures::bytes(&name);
        let read = |bytes: &[u8], large: u64| {
            let mut reader = Cursor::new(bytes);
            let input = Input::recognise(&mut reader, "it").unwrap();
            let place = Place { kind: &StoreKind::Memory, orientation: Orientation::NoTransforms };
            let premultiplied = exif::is_premultiplied(&mut reader);
            let raster = tiff::read_in(&mut reader, &input, place, premultiplied, &mut Vec::new(), large);
            raster.map(|raster| levels(&raster)).map_err(|error| error.to_string())
        };
        assert_eq!(read(&bytes, 0), read(&bytes, u64::MAX), "{name}");
        let mut decoder = ::tiff::decoder::Decoder::new(Cursor::new(&bytes)).unwrap();
        let planes = decoder.image_buffer_layout().unwrap().planes;
        let raster = open(&fixtures::path(&name), &StoreKind::Memory).unwrap().raster;
        let (size, channels, depth) = (raster.size(), raster.channels(), raster.depth());
        let strips = strip::Strips::of(&mut decoder, upright::Layout { size, channels, depth }, planes);
        by_rows += usize::from(strips.is_some());
        if name.starts_with("one_strip") {
            assert!(strips.is_some(), "{name}");
            // Plain ones have their pixels at the end or near it.
            let cut = &bytes[..bytes.len() / 2];
            assert!(read(cut, 0).unwrap_err().starts_with("it: "), "{name}");
        }
    }
    assert!(by_rows > 10, "{by_rows}");
}

#[test]
fn what_needs_more_memory_than_there_is_is_refused_before_it_is_taken() {
    let input = Input { name: "it", format: Format::Jpeg, bytes: 1 << 30 };
    let error = input.check_memory("a JPEG", u64::MAX).unwrap_err().to_string();
    assert!(error.contains("a JPEG is decoded in one piece, which takes 18446744073709 MB"), "{error}");
    input.check_memory("a JPEG", 1 << 20).unwrap();
}

#[test]
fn both_stores_hold_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["rgba16.png", "turned_6.jpg", "turned_6.png", "camera.tif", "tiles_planes.tif", "planes.tif"]
    {
        let memory = open(&fixtures::path(name), &StoreKind::Memory).unwrap().raster;
        let file = open(&fixtures::path(name), &StoreKind::File(folder.path().into())).unwrap().raster;
        assert_eq!(memory.read(memory.area()).unwrap(), file.read(file.area()).unwrap());
    }
}

#[test]
fn profiles_and_exif_come_along_upright() {
    let profile = open(&fixtures::path("rgb.png"), &StoreKind::Memory).unwrap().raster.metadata.icc.unwrap();
    for name in ["turned_1.jpg", "turned_6.jpg", "turned_8.webp", "camera.tif"] {
        let decoded = open(&fixtures::path(name), &StoreKind::Memory).unwrap();
        let metadata = decoded.raster.metadata;
        assert_eq!(metadata.icc.as_ref().unwrap()[..128], profile[..128], "{name}");
        let block = metadata.exif.unwrap();
        assert!(
            !matches!(Orientation::from_exif_chunk(&block), Some(o) if o != Orientation::NoTransforms),
            "{name}"
        );
        let exif = Exif::read(Cursor::new(&block)).unwrap();
        let text =
            |fields: &[exif::Field], tag| fields.iter().find(|f| f.tag == tag).map(|f| f.bytes.clone());
        assert_eq!(text(&exif.about, 0x010F).unwrap(), b"Camera Works\0", "{name}");
        assert_eq!(text(&exif.camera, 0x9003).unwrap(), b"2026:11:21 06:00:00\0", "{name}");
        assert_eq!(text(&exif.place, 1).unwrap(), b"N\0", "{name}");
        assert!(decoded.warnings.is_empty());
    }
}

#[test]
fn a_profile_for_other_colours_is_left_out_and_said_so() {
    for name in ["cmyk.jpg", "cmyk.tif"] {
        let decoded = open(&fixtures::path(name), &StoreKind::Memory).unwrap();
        assert_eq!(decoded.raster.metadata.icc, None);
        assert!(decoded.warnings[0].contains("CMYK"));
    }
    let grey = open(&fixtures::path("l.jpg"), &StoreKind::Memory).unwrap();
    assert!(grey.raster.metadata.icc.is_some() && grey.warnings.is_empty());
}

#[test]
fn a_file_that_is_cut_off_is_an_error_wherever_it_is_cut() {
    for (name, _) in expected() {
        let bytes = fixtures::bytes(&name);
        // What follows the pixels may be missing: a PNG's end, a TIFF's tags of no importance.
        for length in [1, 3, 9, 20, bytes.len() / 4, bytes.len() / 2, bytes.len() * 3 / 4] {
            assert!(
                message(&bytes[..length.min(bytes.len() - 1)]).starts_with("it: "),
                "{name} cut to {length}"
            );
        }
        if name.ends_with("jpg") {
            assert!(message(&bytes[..bytes.len() - 1]).contains("end is missing"), "{name}");
        }
    }
}

#[test]
fn what_is_no_picture_is_told_what_is() {
    assert!(message(b"").contains("empty"));
    let formats = message(b"hello, this is no picture at all");
    assert!(formats.contains("PNG, JPEG, WebP and TIFF"), "{formats}");
    assert!(message(&fixtures::bytes("picture.bmp")).contains("PNG, JPEG, WebP and TIFF"));
    assert!(message(&fixtures::bytes("ycbcr.tif")).contains("a kind of TIFF"));
    assert!(message(&fixtures::bytes("palette.tif")).contains("a kind of TIFF"));
    let missing = open(Path::new("no/such.png"), &StoreKind::Memory).err().unwrap().to_string();
    assert!(missing.starts_with("no/such.png: "), "{missing}");
    let folder = open(Path::new("."), &StoreKind::Memory).err().unwrap().to_string();
    assert!(folder.contains("a folder"), "{folder}");
}

#[test]
fn a_header_that_lies_does_not_take_memory() {
    // Width and height of a PNG, with the right checksum.
    let mut png = fixtures::bytes("rgb.png");
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let crc = png_crc(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    assert!(message(&png).contains("65536 × 65536"), "{}", message(&png));
    // Width and height of a TIFF.
    let mut tiff = fixtures::bytes("rgb16.tif");
    let at = 8 + 24 * 16 * 6 + 2;
    tiff[at + 8..at + 10].copy_from_slice(&[0xFF, 0xFF]);
    tiff[at + 20..at + 22].copy_from_slice(&[0xFF, 0xFF]);
    assert!(message(&tiff).contains("inconsistent sizes"), "{}", message(&tiff));
}

#[test]
fn damaged_bytes_are_an_error_or_a_picture_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it");
    for (name, _) in expected() {
        let bytes = fixtures::bytes(&name);
        for at in (0..bytes.len()).step_by(7) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x55;
            let _ = read(&bad);
            std::fs::write(&file, &bad).unwrap();
            let _ = probe(&file);
        }
    }
}

/// PNG's checksum (ISO 3309).
fn png_crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
