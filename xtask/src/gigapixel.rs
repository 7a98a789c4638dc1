//! `cargo xtask gigapixel`: enlarges a rendered picture to 64, 256 and 1024 megapixels, and measures it: time, and the
//! most memory that the kernel says the program had. Linux only. The results are read by libtiff and libvips and compared with the
//! scene that the picture was rendered from.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::target;

const HELP: &str = "\
cargo xtask gigapixel [--sides 8192,16384,32768] [--factor 4] [--folder DIR] [--program FILE] [--keep]
                      [--tolerance 4] [-- OPTION...]

Renders a picture, enlarges it by the factor to squares of these sides, and prints a table. OPTIONs are the program's, such
as `--upscaler lite --no-diffusion` (the default) or `--checkpoint … --controlnet …`. Parts are compared with the scene, whose means they
should have within the tolerance, in levels; random networks' noise is cut off at black and white, and wants 16. Needs about 14 bytes of disk for each
pixel of the largest result, tiffinfo (Debian: libtiff-tools) and vips (libvips-tools).";
/// How often the kernel is asked.
const EVERY: Duration = Duration::from_millis(20);
/// Linux's, on every processor that it runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;
/// Side of a part that is compared, in pixels of the result.
const PART: u32 = 512;
/// How far the mean of a part may be from the scene's unless the user says, in levels of 256: enlarging changes no brightness, and
/// diffusion's is held by the colour lock.
const TOLERANCE: f64 = 4.0;

/// What is asked for.
struct Request {
    sides: Vec<u32>,
    factor: u32,
    folder: PathBuf,
    /// A program that is there already, in place of one that is built.
    program: Option<PathBuf>,
    keep: bool,
    tolerance: f64,
    options: Vec<String>,
}

impl Request {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut request = Self {
            sides: vec![8192, 16384, 32768],
            factor: 4,
            folder: std::env::temp_dir().join("clarifier-gigapixel"),
            program: None,
            keep: false,
            tolerance: TOLERANCE,
            options: ["--upscaler", "lite", "--no-diffusion"].map(String::from).to_vec(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--sides" => {
                    let sides = arguments.next()?.split(',').map(|side| side.trim().parse());
                    request.sides = sides.collect::<Result<_, _>>().ok()?;
                }
                "--factor" => request.factor = arguments.next()?.parse().ok().filter(|factor| *factor > 0)?,
                "--folder" => request.folder = arguments.next()?.into(),
                "--program" => request.program = Some(arguments.next()?.into()),
                "--keep" => request.keep = true,
                "--tolerance" => request.tolerance = arguments.next()?.parse().ok()?,
                "--" => {
                    request.options = arguments.by_ref().cloned().collect();
                }
                _ => return None,
            }
        }
        Some(request)
    }
}

/// Run it; whether all went well.
pub fn run(arguments: &[String]) -> bool {
    let Some(request) = Request::parse(arguments) else {
        eprintln!("{HELP}");
        return false;
    };
    let build = || Command::new("cargo").args(["build", "--release", "--locked"]).status();
    if request.program.is_none() && !build().is_ok_and(|status| status.success()) {
        return false;
    }
    println!(
        "| result | seconds | CPU s/MP | peak RSS | file | worst part |\n| --- | --- | --- | --- | --- | --- |"
    );
    for side in &request.sides {
        match measure(&request, *side) {
            Ok(row) => println!("{row}"),
            Err(error) => {
                eprintln!("{side}: {error}");
                return false;
            }
        }
    }
    true
}

fn measure(request: &Request, side: u32) -> io::Result<String> {
    fs::create_dir_all(&request.folder)?;
    let (source, result) = (request.folder.join("source.tif"), request.folder.join("result.tif"));
    let small = side / request.factor;
    render(&source, small)?;
    let built = || target().join("release").join(format!("clarifier{}", std::env::consts::EXE_SUFFIX));
    let program = request.program.clone().unwrap_or_else(built);
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.args(["upscale", "--overwrite", "--quiet", "--device", "cpu", "--seed", "1"]);
    // Its working copies go there; a work folder would get a picture of each tile, too.
    command.env("TMPDIR", &request.folder).arg("--upscale-factor").arg(request.factor.to_string());
    let child = command.args(&request.options).arg(&source).arg("-o").arg(&result).spawn()?;
    let Cost { memory, ticks } = watch(child)?;
    let seconds = begun.elapsed().as_secs_f64();
    let file = fs::metadata(&result)?.len();
    let worst = compare(request, &result, side)?;
    if !request.keep {
        fs::remove_file(&source)?;
        fs::remove_file(&result)?;
    }
    let pixels = f64::from(side).powi(2) / 1e6;
    Ok(format!(
        "| {side} × {side} | {seconds:.0} | {:.2} | {:.0} MB | {:.2} GB | {worst:.2} levels |",
        ticks as f64 / TICKS_PER_SECOND / pixels,
        memory as f64 / 1e6,
        file as f64 / 1e9
    ))
}

/// What a program took, as the kernel counts it.
#[derive(Default)]
struct Cost {
    /// The most bytes resident at once (`VmHWM`).
    memory: u64,
    /// Of all processors, in its own code and in the kernel: what other programs did meanwhile does not count.
    ticks: u64,
}

/// Waits for the program's end.
fn watch(mut child: Child) -> io::Result<Cost> {
    let folder = format!("/proc/{}", child.id());
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
    let mut cost = Cost::default();
    loop {
        let status = read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        cost.memory = kilobytes.map_or(cost.memory, |kilobytes| cost.memory.max(kilobytes * 1024));
        // After the program's name: state, and from the 12th on user's and system's time.
        let stat = read("stat");
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        cost.ticks = cost.ticks.max(ticks);
        match child.try_wait()? {
            Some(ended) if ended.success() => return Ok(cost),
            Some(ended) => return Err(io::Error::other(format!("the program ended with {ended}"))),
            None => sleep(EVERY),
        }
    }
}

/// The scene at (x, y), both 0 to 1: slopes, rings that become finer outwards, and blocks with edges. 0 to 1.
fn scene(x: f64, y: f64) -> [f64; 3] {
    let rings = (400.0 * (x * x + y * y)).sin();
    let block = f64::from((x * 64.0) as u32 * 7 % 5) / 5.0 + f64::from((y * 64.0) as u32 * 11 % 3) / 3.0;
    [0.5 + 0.2 * rings + 0.2 * (x - 0.5), 0.2 + 0.3 * block, 0.3 + 0.2 * y + 0.1 * rings]
}

/// The scene as a TIFF of one plain strip.
fn render(path: &Path, side: u32) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let bytes = 3 * side * side;
    // Tag, kind (3: 16 bits, 4: 32 bits), count, value. The bits of the three channels come after the directory.
    let tags: [(u16, u16, u32, u32); 10] = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 3, 8 + 2 + 10 * 12 + 4),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 10 * 12 + 4 + 6),
        (277, 3, 1, 3),
        (278, 4, 1, side),
        (279, 4, 1, bytes),
        (284, 3, 1, 1),
    ];
    file.write_all(b"II\x2A\0\x08\0\0\0\x0A\0")?;
    for (tag, kind, count, value) in tags {
        file.write_all(&[tag.to_le_bytes(), kind.to_le_bytes()].concat())?;
        file.write_all(&[count.to_le_bytes(), value.to_le_bytes()].concat())?;
    }
    file.write_all(&[0, 0, 0, 0, 8, 0, 8, 0, 8, 0])?;
    let at = |i: u32| (f64::from(i) + 0.5) / f64::from(side);
    for y in 0..side {
        for x in 0..side {
            file.write_all(&scene(at(x), at(y)).map(|value| (255.0 * value).round() as u8))?;
        }
    }
    file.flush()
}

/// Reads the result with other programs, and gives the largest difference of a part's mean to the scene's, in levels of 256.
fn compare(request: &Request, result: &Path, side: u32) -> io::Result<f64> {
    let info = Command::new("tiffinfo").arg(result).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&info.stdout);
    let expected = format!("Image Width: {side} Image Length: {side}");
    if !info.status.success() || !text.contains(&expected) {
        return Err(io::Error::other(format!("tiffinfo does not say {expected:?}: {text}")));
    }
    let (part, mut worst) = (request.folder.join("part.ppm"), 0.0_f64);
    let last = side - PART;
    for (x, y) in [(0, 0), (last, 0), (0, last), (last, last), (last / 2, last / 2), (last / 3, last / 5 * 4)]
    {
        let numbers = [x, y, PART, PART].map(|number| number.to_string());
        let status = Command::new("vips").arg("crop").args([result, &part]).args(numbers).status()?;
        if !status.success() {
            return Err(io::Error::other("vips cannot read the result"));
        }
        let bytes = fs::read(&part)?;
        let pixels = &bytes[bytes.len() - 3 * (PART * PART) as usize..];
        let at = |i: u32| (f64::from(i) + 0.5) / f64::from(side);
        let mut sums = [0.0; 3];
        for (index, pixel) in (0..).zip(pixels.chunks_exact(3)) {
            let expected = scene(at(x + index % PART), at(y + index / PART));
            for ((sum, value), expected) in sums.iter_mut().zip(pixel).zip(expected) {
                *sum += f64::from(*value) - 255.0 * expected;
            }
        }
        worst = sums.iter().fold(worst, |worst, sum| worst.max((sum / f64::from(PART * PART)).abs()));
    }
    fs::remove_file(part)?;
    if worst > request.tolerance {
        return Err(io::Error::other(format!("a part of it is {worst:.1} levels from the scene")));
    }
    Ok(worst)
}
