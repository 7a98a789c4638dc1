//! The pyramid against the picture, and against libvips' rules of how levels and tiles are cut.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::fixtures::noise;
use crate::open;

fn picture(size: Size, channels: Channels, depth: Depth) -> Raster {
    let mut raster = Raster::new(&StoreKind::Memory, size, channels, depth).unwrap();
    raster.write(0, 0, &noise(size, channels.count())).unwrap();
    raster
}

fn options(depth: Depth) -> EncodeOptions {
    EncodeOptions { depth, ..EncodeOptions::default() }
}

/// A level put together from its files, each at the place that the format's overlap gives it.
fn level(path: &Path, number: usize, size: Size, like: &Raster) -> Raster {
    let folder = deep_zoom_folder(path).join(number.to_string());
    let (columns, rows) = (size.width.div_ceil(TILE), size.height.div_ceil(TILE));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), (columns * rows) as usize, "level {number}");
    let mut whole = Raster::new(&StoreKind::Memory, size, like.channels(), like.depth()).unwrap();
    for (column, row) in (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row))) {
        let tile = open(&folder.join(format!("{column}_{row}.png")), &StoreKind::Memory).unwrap().raster;
        let side = |index: u32, count: u32, length: u32| {
            let own = TILE.min(length - index * TILE);
            own + u32::from(index > 0) + u32::from(index + 1 < count)
        };
        let expected = Size::new(side(column, columns, size.width), side(row, rows, size.height));
        assert_eq!(tile.size(), expected, "level {number}, {column}_{row}");
        let (x, y) = ((column * TILE).saturating_sub(OVERLAP), (row * TILE).saturating_sub(OVERLAP));
        // What overlaps must be the same, so that the order does not matter.
        let pixels = tile.read(tile.area()).unwrap();
        if column > 0 {
            let strip = clarifier_tile::Rect::new(x, y, Size::new(1, tile.size().height));
            assert_eq!(whole.read(strip).unwrap(), pixels.crop(0, 0, strip.size));
        }
        whole.write(x, y, &pixels).unwrap();
    }
    whole
}

#[test]
fn the_largest_level_is_the_picture_and_each_other_half_of_the_one_above() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (width, height)) in
        [(1, 1), (254, 255), (255, 254), (509, 763), (700, 3), (1, 1021)].into_iter().enumerate()
    {
        for (channels, depth) in [
            (Channels::Rgb, Depth::Eight),
            (Channels::GreyAlpha, Depth::Sixteen),
            (Channels::Grey, Depth::Eight),
        ] {
            let size = Size::new(width, height);
            let picture = picture(size, channels, depth);
            let path = folder.path().join(format!("{index} {}.{channels:?}.dzi", depth.bytes()));
            save_deep_zoom(&picture, &path, Format::Png, &options(depth), SaveOptions::default()).unwrap();
            let sizes = sizes(size);
            // ⌈log₂⌉ of the longer side, and one.
            assert_eq!(sizes.len(), width.max(height).next_power_of_two().ilog2() as usize + 1);
            assert_eq!(fs::read_dir(deep_zoom_folder(&path)).unwrap().count(), sizes.len());
            let mut above: Option<Raster> = None;
            for (number, size) in (0..sizes.len()).rev().zip(&sizes) {
                let this = level(&path, number, *size, &picture);
                let read =
                    |raster: &Raster| raster.read_rows(0, raster.size().height, Depth::Sixteen).unwrap();
                match &above {
                    None => assert_eq!(read(&this), read(&picture)),
                    Some(above) if channels != Channels::GreyAlpha => {
                        let wanted = halves(above, *size);
                        let is = this.read(this.area()).unwrap();
                        let worst =
                            is.data.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                        // A level is rounded once for its file, as the one above was; half a level each.
                        let most = if depth == Depth::Eight { 1.01 / 255.0 } else { 1.01 / 65535.0 };
                        assert!(worst < most, "{size}: {worst}");
                    }
                    Some(_) => {}
                }
                above = Some(this);
            }
            let xml = fs::read_to_string(&path).unwrap();
            for word in ["Format=\"png\"", "Overlap=\"1\"", "TileSize=\"254\""] {
                assert!(xml.contains(word), "{xml}");
            }
            assert!(xml.contains(&format!("<Size Width=\"{width}\" Height=\"{height}\"/>")), "{xml}");
        }
    }
}

/// Means of 2 × 2 pixels, those past an odd end being the last ones again.
fn halves(above: &Raster, size: Size) -> Vec<f32> {
    let planes = above.read(above.area()).unwrap();
    let (w, h) = (planes.size.width as usize, planes.size.height as usize);
    let mut means = Vec::new();
    for channel in 0..planes.channels {
        let plane = planes.plane(channel);
        for (y, x) in (0..size.height as usize).flat_map(|y| (0..size.width as usize).map(move |x| (y, x))) {
            let at = |dy: usize, dx: usize| plane[(2 * y + dy).min(h - 1) * w + (2 * x + dx).min(w - 1)];
            means.push((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0);
        }
    }
    means
}

#[test]
fn levels_and_tiles_are_those_of_libvips() {
    let folder = tempfile::tempdir().unwrap();
    for (name, tiles) in crate::fixtures::pyramids() {
        let (width, height) = name.split_once('x').unwrap();
        let picture =
            picture(Size::new(width.parse().unwrap(), height.parse().unwrap()), Channels::Grey, Depth::Eight);
        let path = folder.path().join(format!("{name}.dzi"));
        save_deep_zoom(&picture, &path, Format::Png, &options(Depth::Eight), SaveOptions::default()).unwrap();
        let files = deep_zoom_folder(&path);
        let levels = fs::read_dir(&files).unwrap().map(|level| level.unwrap().path());
        let all = levels.flat_map(|level| fs::read_dir(level).unwrap().map(|tile| tile.unwrap().path()));
        let ours = all.map(|tile| {
            let size = open(&tile, &StoreKind::Memory).unwrap().raster.size();
            let name = tile.with_extension("");
            (name.strip_prefix(&files).unwrap().to_str().unwrap().to_owned(), (size.width, size.height))
        });
        assert_eq!(ours.collect::<std::collections::HashMap<_, _>>(), tiles, "{name}");
    }
}

#[test]
fn what_cannot_be_seen_does_not_colour_what_can() {
    // Red, and nothing that is blue.
    let clear_blue = [0, 0, 65535, 0];
    let row = [[65535, 0, 0, 65535], clear_blue].concat();
    assert_eq!(halved(&row, &row, Channels::Rgba), [65535, 0, 0, 32768]);
    assert_eq!(halved(&clear_blue, &clear_blue, Channels::Rgba), clear_blue);
    assert_eq!(halved(&[1, 2, 3], &[1, 2, 4], Channels::Grey), [2, 4]);
}

#[test]
fn nothing_is_replaced_unless_asked_and_nothing_but_a_pyramid_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (path, picture) =
        (folder.path().join("it.dzi"), picture(Size::new(300, 2), Channels::Rgb, Depth::Eight));
    let stop = AtomicBool::new(false);
    let save = |overwrite| {
        let how = SaveOptions { overwrite, stop: Some(&stop) };
        save_deep_zoom(&picture, &path, Format::Jpeg, &options(Depth::Eight), how)
    };
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let files = deep_zoom_folder(&path);
    fs::create_dir_all(files.join("holiday")).unwrap();
    for overwrite in [false, true] {
        let error = save(overwrite).unwrap_err().to_string();
        assert!(error.contains("it_files"), "{error}");
        assert_eq!(names(), ["it_files"]);
        assert!(files.join("holiday").exists());
    }
    fs::remove_dir(files.join("holiday")).unwrap();
    fs::create_dir_all(files.join("77")).unwrap();
    save(true).unwrap();
    assert_eq!(names(), ["it.dzi", "it_files"]);
    assert!(!files.join("77").exists() && files.join("9/1_0.jpg").exists());
    assert!(save(false).unwrap_err().to_string().contains("exists already"));
    save(true).unwrap();
    // No place for the description: what was there is there again.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::create_dir_all(files.join("78")).unwrap();
    save(true).unwrap_err();
    assert!(files.join("78").exists());
    assert_eq!(names(), ["it.dzi", "it_files"]);
    // Nor is it replaced by one that is not wanted any more.
    fs::remove_dir(&path).unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(save(true).unwrap_err().source, EncodeError::Stopped));
    assert!(files.join("78").exists());
    assert_eq!(names(), ["it_files"]);
}

#[test]
fn tiles_have_the_profile_and_the_smallest_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.dzi");
    let mut picture = picture(Size::new(300, 2), Channels::Rgb, Depth::Eight);
    picture.metadata = open(&crate::fixtures::path("rgb.png"), &StoreKind::Memory).unwrap().raster.metadata;
    picture.metadata.recipe = Some("{}".into());
    save_deep_zoom(&picture, &path, Format::Jpeg, &options(Depth::Eight), SaveOptions::default()).unwrap();
    let read =
        |tile: &str| open(&deep_zoom_folder(&path).join(tile), &StoreKind::Memory).unwrap().raster.metadata;
    assert!(picture.metadata.icc.is_some());
    assert_eq!((read("9/0_0.jpg").icc, read("9/0_0.jpg").recipe), (picture.metadata.icc.clone(), None));
    assert_eq!(read("0/0_0.jpg").recipe, picture.metadata.recipe);
}
