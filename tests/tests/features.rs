//! What a user can do to a picture beside enlarging it: masks, regions, textures, colours.

use std::ops::ControlFlow;
use std::rc::Rc;

use clarifier_raster::{Channels, Depth, Planes, Raster, StoreKind, open};
use clarifier_tests::fixture;
use clarifier_tile::{Rect, Size};
use clarifier_upscale::device::Backend;
use clarifier_upscale::{
    ControlMode, Event, Job, MaskMode, Models, Phase, Seamless, Settings, SolverKind, UpscalerChoice,
    output_part, upscale,
};

use crate::recipe::{load, tiny_models};

fn picture() -> Raster {
    open(&fixture("recipe/input.png"), &StoreKind::Memory).unwrap().raster
}

/// A few steps over many small tiles of both kinds.
fn settings() -> Settings {
    Settings {
        solver: SolverKind::Ddim,
        num_inference_steps: 5,
        denoise_strength: 0.4,
        tile_width: 10,
        tile_height: 8,
        tile_overlap: 4,
        vae_tile: 128,
        ..Settings::default()
    }
}

/// The result in 8 bits, and how many tiles diffusion took.
fn run(models: &mut Models, input: &Raster, settings: &Settings, job: &Job) -> (Planes, usize) {
    let size = output_part(input.size(), settings, job.region).unwrap().size;
    let mut output = Raster::new(&StoreKind::Memory, size, input.channels(), Depth::Eight).unwrap();
    let mut tiles = 0;
    let mut observe = |event| {
        tiles += usize::from(matches!(event, Event::Tile { phase: Phase::Diffuse, .. }));
        ControlFlow::Continue(())
    };
    pollster::block_on(upscale(models, input, &mut output, settings, job, &mut observe)).unwrap();
    (output.read(output.area()).unwrap(), tiles)
}

fn largest_difference(a: &Planes, b: &Planes) -> f32 {
    assert_eq!(a.size, b.size);
    a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Wide enough that a region of it leaves most tiles alone.
fn wide() -> Raster {
    let size = Size::new(360, 40);
    let source = picture();
    let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Sixteen).unwrap();
    let planes = source.read_reflected(0, 0, size).unwrap();
    raster.write(0, 0, &planes).unwrap();
    raster
}

#[test]
fn a_region_is_what_the_whole_run_would_give() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let input = wide();
    let region = Rect::new(176, 8, Size::new(8, 24));
    // To hold colours takes a wide neighbourhood, here all.
    let free = Settings { colour_lock: 0.0, ..settings() };
    let variants = [
        ("one stage", free.clone()),
        // Tiles of both kinds begin where the region does: what sharpening sees beyond must be there.
        ("sharpened, on a border", Settings { sharpen: 3.0, tile_overlap: 0, tile_width: 8, ..free.clone() }),
        ("two stages", Settings { upscale_factor: 3.0, ..free.clone() }),
        ("moving tiles, sharpened", Settings { tile_jitter: true, sharpen: 1.0, ..free.clone() }),
        ("each pixel's colour held", Settings { chroma_lock: 1.0, ..free.clone() }),
        ("colours held", Settings { chroma_lock: 0.5, ..settings() }),
        ("a texture", Settings { seamless: Seamless::X, ..free }),
    ];
    for (name, settings) in variants {
        let (whole, all) = run(&mut models, &input, &settings, &Job::new(7));
        let part = output_part(input.size(), &settings, Some(region)).unwrap();
        let (result, some) =
            run(&mut models, &input, &settings, &Job { region: Some(region), ..Job::new(7) });
        println!("{name}: {some} of {all} tiles");
        // The issue allows 1/255 and a border; there is neither.
        assert_eq!(largest_difference(&result, &whole.crop(part.x, part.y, part.size)), 0.0, "{name}");
        assert!(some < all || settings.colour_lock > 0.0 || settings.seamless != Seamless::None, "{name}");
    }
}

#[test]
fn what_a_mask_keeps_is_the_enlarged_source_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let input = picture();
    let size = input.size();
    // Half the size of the result, as a user may well give it.
    let mut mask = Raster::new(&StoreKind::Memory, size, Channels::Grey, Depth::Eight).unwrap();
    let white = |i: u64| (i % u64::from(size.width)) as u32 >= size.width / 2;
    let data = (0..size.area()).map(|i| f32::from(white(i))).collect();
    mask.write(0, 0, &Planes::new(size, 1, data)).unwrap();
    let mask = Rc::new(mask);
    let settings = Settings { sharpen: 0.5, mask_feather: 8, ..settings() };
    let (masked, _) = run(&mut models, &input, &settings, &Job { mask: Some(mask.clone()), ..Job::new(7) });
    let (redrawn, all) = run(&mut models, &input, &settings, &Job::new(7));
    let keep = Settings { mask_mode: MaskMode::Keep, ..settings.clone() };
    let (inverse, _) = run(&mut models, &input, &keep, &Job { mask: Some(mask.clone()), ..Job::new(7) });
    let mut enlarger = load(&Backend::flex(), &UpscalerChoice::Lanczos, None);
    let plain_settings = Settings { sharpen: 0.0, ..settings.clone() };
    let (plain, _) = run(&mut enlarger, &input, &plain_settings, &Job::new(7));
    // The mask's own border is enlarged over two pixels.
    let (half, height) = (size.width, 2 * size.height);
    let left = |planes: &Planes| planes.crop(0, 0, Size::new(half - 2, height));
    let right = |planes: &Planes| planes.crop(half + 12, 0, Size::new(half - 12, height));
    assert_eq!(left(&masked), left(&plain));
    assert_eq!(right(&masked), right(&redrawn));
    assert_eq!(right(&inverse), right(&plain));
    assert!(largest_difference(&left(&redrawn), &left(&plain)) > 0.05, "it must be seen");
    // A texture of an odd size is brought to whole latents for the work, what is kept is not.
    let texture = Settings { seamless: Seamless::Both, upscale_factor: 1.7, ..settings.clone() };
    let half = Size::new(size.width / 2, size.height);
    let (odd, _) = run(&mut models, &input, &texture, &Job { mask: Some(mask.clone()), ..Job::new(7) });
    let (plain_odd, _) = run(&mut enlarger, &input, &Settings { sharpen: 0.0, ..texture }, &Job::new(7));
    assert_eq!(odd.crop(0, 0, half), plain_odd.crop(0, 0, half));
    // A mask that keeps all.
    let black = Raster::new(&StoreKind::Memory, Size::new(3, 3), Channels::Grey, Depth::Eight).unwrap();
    let job = Job { mask: Some(Rc::new(black)), ..Job::new(7) };
    let (all_kept, none) = run(&mut models, &input, &settings, &job);
    assert_eq!(all_kept, plain);
    assert!(none == 0 && all > 0, "{none} of {all} tiles");
}

/// A texture: both axes periodic.
fn texture(size: Size) -> Raster {
    let mut raster = Raster::new(&StoreKind::Memory, size, Channels::Rgb, Depth::Sixteen).unwrap();
    let turn = std::f32::consts::TAU;
    let (w, h) = (size.width as usize, size.height as usize);
    let value = |c: usize, x: f32, y: f32| {
        0.5 + 0.25 * (turn * x + c as f32).sin() * (turn * y).cos() + 0.1 * (turn * (2.0 * x + y)).cos()
    };
    let data =
        (0..3 * w * h).map(|i| value(i / (w * h), (i % w) as f32 / w as f32, (i / w % h) as f32 / h as f32));
    raster.write(0, 0, &Planes::new(size, 3, data.collect())).unwrap();
    raster
}

/// Mean step from the last column (or row) to the first, in units of that between neighbours elsewhere.
fn join(result: &Planes, columns: bool) -> f64 {
    let (w, h) = (result.size.width as usize, result.size.height as usize);
    let (along, count) = if columns { (w, h) } else { (h, w) };
    let at = |channel: usize, i: usize, j: usize| {
        result.plane(channel)[if columns { j * w + i } else { i * w + j }]
    };
    let step = |i: usize| -> f64 {
        (0..3)
            .flat_map(|c| (0..count).map(move |j| (c, j)))
            .map(|(c, j)| f64::from((at(c, (i + 1) % along, j) - at(c, i, j)).abs()))
            .sum()
    };
    step(along - 1) / ((0..along - 1).map(step).sum::<f64>() / (along - 1) as f64)
}

#[test]
fn a_seamless_texture_has_no_line_where_it_is_joined() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    // One side is a tile, one several; one is no multiple of 8.
    let input = texture(Size::new(160, 90));
    let smooth = Settings { tile_width: 16, tile_height: 12, colour_lock: 1.0, ..settings() };
    for (seamless, x, y) in
        [(Seamless::Both, true, true), (Seamless::X, true, false), (Seamless::Y, false, true)]
    {
        let settings = Settings { seamless, ..smooth.clone() };
        let (result, _) = run(&mut models, &input, &settings, &Job::new(7));
        let (across, down) = (join(&result, true), join(&result, false));
        println!("{seamless:?}: {across:.2} across, {down:.2} down");
        assert!(!x || across < 1.5, "{seamless:?}: {across}");
        assert!(!y || down < 1.5, "{seamless:?}: {down}");
    }
    let (result, _) = run(&mut models, &input, &smooth, &Job::new(7));
    let (across, down) = (join(&result, true), join(&result, false));
    println!("not seamless: {across:.2} across, {down:.2} down");
    assert!(across > 2.0 && down > 2.0, "the test must see a line: {across} {down}");
}

#[test]
fn the_enlarger_alone_makes_seamless_textures_too() {
    let input = texture(Size::new(100, 64));
    let mut models = load(&Backend::flex(), &UpscalerChoice::Lite, None);
    let both = Settings { seamless: Seamless::Both, ..Settings::default() };
    let (result, _) = run(&mut models, &input, &both, &Job::new(7));
    // Rolled by half, enlarged, rolled back: the same picture.
    let rolled =
        input.read_continued(50, 32, input.size(), clarifier_raster::Wrap { x: true, y: true }).unwrap();
    let mut other = texture(Size::new(100, 64));
    other.write(0, 0, &rolled).unwrap();
    let (rolled, _) = run(&mut models, &other, &both, &Job::new(7));
    let mut back = Raster::new(&StoreKind::Memory, rolled.size, Channels::Rgb, Depth::Eight).unwrap();
    back.write(0, 0, &rolled).unwrap();
    let back =
        back.read_continued(100, 64, rolled.size, clarifier_raster::Wrap { x: true, y: true }).unwrap();
    assert!(largest_difference(&back, &result) < 1.01 / 255.0, "{}", largest_difference(&back, &result));
}

/// Mean difference of the averages over squares of 64 pixels.
fn low_difference(a: &Planes, b: &Planes) -> f64 {
    use clarifier_raster::{Filter, resize_planes};
    let size = Size::new(a.size.width / 64, a.size.height / 64);
    let low = |p: &Planes| resize_planes(p, size, Filter::Box).data;
    let (a, b) = (low(a), low(b));
    a.iter().zip(&b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / a.len() as f64
}

#[test]
fn the_lock_takes_colours_back_to_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let input = wide();
    let mut enlarger = load(&Backend::flex(), &UpscalerChoice::Lanczos, None);
    let (plain, _) = run(&mut enlarger, &input, &settings(), &Job::new(7));
    let shift = |models: &mut Models, colour_lock| {
        let (result, _) = run(models, &input, &Settings { colour_lock, ..settings() }, &Job::new(7));
        low_difference(&result, &plain)
    };
    let (free, half, locked) = (shift(&mut models, 0.0), shift(&mut models, 0.5), shift(&mut models, 1.0));
    println!("free {free:.4}, half {half:.4}, locked {locked:.4}");
    // Random networks have colours of their own; where they are beyond black and white, none is left to hold.
    assert!(free > 0.02 && locked < 0.3 * free && half < free && locked < half, "{free} {half} {locked}");
}

#[test]
fn each_pixel_has_the_enlargers_colour_and_a_brightness_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let input = wide();
    // So little is changed that hardly a value is cut off at black or white.
    let gentle = Settings { colour_lock: 0.0, denoise_strength: 0.2, ..settings() };
    let mut enlarger = load(&Backend::flex(), &UpscalerChoice::Lanczos, None);
    let (plain, _) = run(&mut enlarger, &input, &gentle, &Job::new(7));
    // Mean differences to what the enlarger gave, in colour and in brightness.
    let mut apart = |chroma_lock| {
        let (result, _) = run(&mut models, &input, &Settings { chroma_lock, ..gentle.clone() }, &Job::new(7));
        let count = result.data.len() / 3;
        let (mut colour, mut brightness) = (0.0, 0.0);
        for at in 0..count {
            let off: [f32; 3] =
                std::array::from_fn(|c| result.data[c * count + at] - plain.data[c * count + at]);
            let brighter = 0.299 * off[0] + 0.587 * off[1] + 0.114 * off[2];
            colour += off.iter().map(|off| (off - brighter).abs()).sum::<f32>() / count as f32;
            brightness += brighter.abs() / count as f32;
        }
        (colour, brightness)
    };
    let (free, half, held, asked) = (apart(0.0), apart(0.5), apart(1.0), apart(-1.0));
    println!("{free:?}, half {half:?}, held {held:?}");
    assert!(half.0 < 0.7 * free.0 && held.0 < 0.2 * free.0, "{free:?} {half:?} {held:?}");
    assert!((held.1 / free.1 - 1.0).abs() < 0.2, "{free:?} {held:?}");
    // These networks ask for nothing.
    assert_eq!(asked, free);
}

#[test]
fn blue_green_red_is_what_the_enlarger_gets_if_asked() {
    let mut models = load(&Backend::flex(), &UpscalerChoice::Lite, None);
    let input = picture();
    let planes = input.read(input.area()).unwrap();
    let swap =
        |p: &Planes| Planes::new(p.size, 3, [2, 1, 0].iter().flat_map(|c| p.plane(*c).to_vec()).collect());
    let mut swapped = picture();
    swapped.write(0, 0, &swap(&planes)).unwrap();
    let bgr = Settings { upscaler_bgr: true, ..settings() };
    let (a, _) = run(&mut models, &input, &bgr, &Job::new(7));
    let (b, _) = run(&mut models, &swapped, &settings(), &Job::new(7));
    let (usual, _) = run(&mut models, &input, &settings(), &Job::new(7));
    assert_eq!(a, swap(&b));
    assert_ne!(a, usual);
}

#[test]
fn the_control_modes_prompts_of_places_and_moving_tiles_have_an_effect() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = tiny_models(folder.path(), &Backend::flex());
    let input = picture();
    let (usual, _) = run(&mut models, &input, &settings(), &Job::new(7));
    let mode = Settings { control_mode: ControlMode::Controlnet, ..settings() };
    assert!(largest_difference(&run(&mut models, &input, &mode, &Job::new(7)).0, &usual) > 2.0 / 255.0);
    let moving = Settings { tile_jitter: true, ..settings() };
    assert!(largest_difference(&run(&mut models, &input, &moving, &Job::new(7)).0, &usual) > 2.0 / 255.0);
    let prompts = clarifier_upscale::TilePrompts::parse("0,0,10,10: a red dog").unwrap();
    let job = Job { tile_prompts: prompts, ..Job::new(7) };
    // No tile has its centre there.
    assert_eq!(run(&mut models, &input, &settings(), &job).0, usual);
    let prompts = clarifier_upscale::TilePrompts::parse("R2C2: a red dog").unwrap();
    let job = Job { tile_prompts: prompts, ..Job::new(7) };
    assert_ne!(run(&mut models, &input, &settings(), &job).0, usual);
}
