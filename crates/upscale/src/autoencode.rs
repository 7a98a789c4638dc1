//! Picture to latents and back, tile by tile, as if in one piece.
//!
//! All tiles share one set of group-normalisation statistics: see [`crate::statistics`].

use burn::tensor::DType;
use clarifier_raster::{Planes, Raster, StoreKind, Wrap};
use clarifier_tile::{Rect, Size, TileGrid, Window};

use crate::band::BandBlender;
use crate::device::Backend;
use crate::enlarging::whole_parts;
use crate::event::{say, tell};
use crate::frame::Frame;
use crate::journal::{Ledger, Unit, Values};
use crate::preview::StepPreview;
use crate::statistics::{Shared, Statistics, norms};
use crate::transfer::read;
use crate::{Canvas, Diffusion, Error, Event, Observer, Phase, Team};

/// Least overlap of the tiles, in latents: beyond it, what a tile lacks at its border no longer shows.
const OVERLAP: u32 = 8;

/// The autoencoder laid on a picture.
pub struct Autoencoder {
    grid: TileGrid,
    frame: Frame,
    wrap: Wrap,
    /// What its tiles are normalised by, if there are several.
    pub statistics: Statistics,
    /// Who computes.
    pub team: Team,
    /// Whether to tell of each decoded tile ([`crate::Event::Part`]).
    pub looks: bool,
}

pub(crate) fn dims(size: Size, channels: usize, batch: usize) -> [usize; 4] {
    [batch, channels, size.height as usize, size.width as usize]
}

/// Latents of a side of a tile.
pub(crate) fn tile_side(pixels: u32, factor: u32) -> u32 {
    (pixels / factor).max(2 * OVERLAP)
}

impl Autoencoder {
    /// For a picture of `size` pixels, in tiles of `tile` pixels a side, circular on the axes of `wrap`;
    /// `factor` is the VAE's.
    pub fn new(size: Size, tile: u32, wrap: Wrap, factor: u32) -> Self {
        let frame = Frame::new(latent_size(size, factor), wrap, OVERLAP);
        let side = tile_side(tile, factor);
        let grid = TileGrid::new(frame.area(), Size::new(side, side), OVERLAP);
        let grid = grid.expect("an overlap smaller than the tile");
        Self { grid, frame, wrap, statistics: Statistics::default(), team: Team::alone(), looks: false }
    }

    /// Whether there are several tiles, which must share their statistics.
    pub fn is_divided(&self) -> bool {
        self.grid.len() > 1
    }

    /// The statistics of a tile, which are its own if it is the only one.
    fn shared<'a>(&self, shared: &'a Shared) -> &'a Shared {
        if self.is_divided() { shared } else { &None }
    }

    /// The part of the picture's latents whose tiles reach into `needed`.
    pub fn cover(&self, needed: Rect) -> Rect {
        self.frame.under(self.grid.cover(self.frame.seen(needed)))
    }

    /// The tiles that reach into `needed`, a part of the latents, with their numbers.
    fn tiles(&self, needed: Rect) -> Vec<(usize, Rect)> {
        let seen = self.frame.seen(needed);
        self.grid.iter().enumerate().filter(|(_, tile)| tile.meets(seen)).collect()
    }

    /// The latents of `picture`, which is continued by reflection to multiples of the VAE's factor (8).
    /// Only those in `needed` are sure to be right.
    ///
    /// # Errors
    /// If the store or the device fails; [`Error::Cancelled`].
    pub async fn encode(
        &self,
        backend: &Backend,
        diffusion: &Diffusion,
        picture: &Raster,
        needed: Rect,
        observe: Observer<'_>,
    ) -> Result<Canvas, Error> {
        let ledger = &mut Ledger::none(&StoreKind::Memory);
        self.encode_kept(backend, diffusion, picture, needed, (ledger, "canvas"), observe).await
    }

    /// [`Self::encode`], of which `ledger` keeps what is done under `name`.
    pub(crate) async fn encode_kept(
        &self,
        backend: &Backend,
        diffusion: &Diffusion,
        picture: &Raster,
        needed: Rect,
        (ledger, name): (&mut Ledger, &str),
        observe: Observer<'_>,
    ) -> Result<Canvas, Error> {
        let mut given = Canvas::zeros(self.frame.area(), diffusion.family.latent_channels);
        let tiles = self.tiles(needed);
        let key = |done: usize| format!("given@{done}");
        let mut begun = 0;
        let done = ledger.done(name)?;
        if let Some(data) = ledger.partial_f32(name, &key(done), given.data.len())? {
            (given.data, begun) = (data, done);
        }
        for round in self.team.rounds(begun..tiles.len()) {
            let own = match self.team.mine(&round) {
                Some(tile) => self.latent(backend, diffusion, picture, tiles[tile]).await,
                None => Ok(Vec::new()),
            };
            let latents = self.team.share_f32(own)?;
            let mut take = |done: usize, latent: Vec<f32>| {
                let (index, rect) = tiles[done];
                given.add(rect, &latent, &self.grid.weights(index, Window::Feather));
                ledger.unit(Unit {
                    of: name,
                    phase: Phase::Encode,
                    done: done + 1,
                    total: tiles.len(),
                    sums: &[],
                    picture: None,
                    values: &[(key(done + 1), Values::F32(&given.data))],
                })?;
                tell(observe, Phase::Encode, done + 1, tiles.len())
            };
            let taken = round.zip(latents).try_for_each(|(done, latent)| take(done, latent));
            self.team.agree(taken)?;
        }
        Ok(self.frame.fold(given))
    }

    /// The latents of a tile, `[4, h, w]`.
    async fn latent(
        &self,
        backend: &Backend,
        diffusion: &Diffusion,
        picture: &Raster,
        (index, rect): (usize, Rect),
    ) -> Result<Vec<f32>, Error> {
        let vae = &diffusion.vae;
        let factor = vae.factor() as u32;
        let (x, y) = self.frame.times(factor).corner(rect.times(factor));
        let size = rect.size.times(factor);
        let pixels = picture.read_continued(x, y, size, self.wrap)?.to_rgb().data;
        let pixels = pixels.into_iter().map(|v| 2.0 * v - 1.0).collect();
        let x = backend.tensor(pixels, dims(size, 3, 1), DType::F32);
        let latent = read(vae.encode(x, &mut norms(self.shared(&self.statistics.encoder)))).await?;
        check(&latent, Phase::Encode, index)?;
        Ok(latent)
    }

    /// The picture of `canvas`, written into `picture` band by band. Only what is in `needed` (latents) is
    /// sure to be right. `scratch` says where a circular picture is put together.
    ///
    /// # Errors
    /// If the store or the device fails; [`Error::Cancelled`].
    #[allow(clippy::too_many_arguments)]
    pub async fn decode(
        &self,
        backend: &Backend,
        diffusion: &Diffusion,
        canvas: &Canvas,
        picture: &mut Raster,
        needed: Rect,
        scratch: &StoreKind,
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let decoding = Decoding { autoencoder: self, backend, diffusion, canvas, needed };
        let ledger = &mut Ledger::none(scratch);
        let frame = self.frame.times(diffusion.vae.factor() as u32);
        if frame.area() == frame.core() {
            return decoding.tiles(picture, (ledger, "picture"), Vec::new(), observe).await;
        }
        let mut area = ledger.begin("area", frame.area())?;
        decoding.tiles(&mut area, (ledger, "area"), Vec::new(), observe).await?;
        fold_picture(&area, frame, picture)
    }

    /// [`Self::decode`] into a new picture, of which `ledger` keeps what is done under `name`.
    #[allow(clippy::too_many_arguments)]
    pub(crate) async fn decode_kept(
        &self,
        backend: &Backend,
        diffusion: &Diffusion,
        canvas: &Canvas,
        size: Size,
        needed: Rect,
        (ledger, name): (&mut Ledger, &str),
        observe: Observer<'_>,
    ) -> Result<Raster, Error> {
        let decoding = Decoding { autoencoder: self, backend, diffusion, canvas, needed };
        let frame = self.frame.times(diffusion.vae.factor() as u32);
        let flat = frame.area() == frame.core();
        let (tiles_name, tiles_size) =
            if flat { (name.to_owned(), size) } else { (format!("{name}.area"), frame.area()) };
        let mut area = match ledger.picture(&tiles_name, tiles_size)? {
            Some(area) => area,
            None => {
                let (mut area, sums) = ledger.partial_picture(&tiles_name, tiles_size)?;
                decoding.tiles(&mut area, (ledger, &tiles_name), sums, observe).await?;
                area
            }
        };
        if flat {
            ledger.complete(name, &mut area, Phase::Decode, &[])?;
            return Ok(area);
        }
        ledger.complete(&tiles_name, &mut area, Phase::Decode, &[])?;
        let mut picture = ledger.begin(name, size)?;
        fold_picture(&area, frame, &mut picture)?;
        drop(area);
        ledger.complete(name, &mut picture, Phase::Decode, &[&tiles_name])?;
        Ok(picture)
    }
}

/// Latents on their way to a picture.
struct Decoding<'a> {
    autoencoder: &'a Autoencoder,
    backend: &'a Backend,
    diffusion: &'a Diffusion,
    canvas: &'a Canvas,
    /// In latents.
    needed: Rect,
}

impl Decoding<'_> {
    /// Tile by tile into `area`; `sums` are the checksums of the bands that are there already.
    async fn tiles(
        &self,
        area: &mut Raster,
        (ledger, name): (&mut Ledger, &str),
        mut sums: Vec<u32>,
        observe: Observer<'_>,
    ) -> Result<(), Error> {
        let Self { autoencoder, diffusion, needed, .. } = self;
        let Autoencoder { grid: latent_grid, team, .. } = autoencoder;
        let factor = diffusion.vae.factor() as u32;
        let tiles = autoencoder.tiles(*needed);
        let rows = latent_grid.tile().height * factor;
        // The ramps of the pixels' own grid: those of the latents would be staircases.
        let grid = latent_grid.times(factor);
        let visible = area.size();
        let band_rows = |top: u32, end: u32| {
            let (top, end) = (top.min(visible.height), end.min(visible.height));
            Rect::new(0, top, Size::new(visible.width, end - top))
        };
        let key = |done: usize| format!("band@{done}");
        let done = ledger.done(name)?.min(tiles.len());
        let mut begun = 0;
        let mut tops: Vec<u32> = tiles[..done].iter().map(|(index, _)| grid.get(*index).y).collect();
        tops.insert(0, 0);
        tops.dedup();
        let written = tops.windows(2).map(|pair| band_rows(pair[0], pair[1]));
        let sound = sums.len() + 1 == tops.len() && whole_parts(area, written, &sums)? == sums.len();
        let mut band = BandBlender::new(area, grid.area(), rows);
        match ledger.partial_f32(name, &key(done), band.sums().len())? {
            Some(data) if sound => {
                band.resume(tops[sums.len()], data);
                begun = done;
            }
            // From its first tile, over what is there: the same bytes.
            _ => sums.clear(),
        }
        for round in team.rounds(begun..tiles.len()) {
            let own = match team.mine(&round) {
                Some(tile) => self.pixels(tiles[tile]).await,
                None => Ok(Vec::new()),
            };
            let decoded = team.share_f32(own)?;
            let mut take = |done: usize, pixels: Vec<f32>| {
                let (index, _) = tiles[done];
                let rect = grid.get(index);
                let weights = grid.weights(index, Window::Feather);
                let top = band.top();
                let pixels = Planes::new(rect.size, 3, pixels);
                if autoencoder.looks {
                    let part = StepPreview::of_pixels(&pixels, rect, grid.area(), grid.area());
                    say(observe, Event::Part(part))?;
                }
                band.add(rect, &pixels, &weights)?;
                if ledger.is_kept() {
                    if band.top() > top {
                        let rows = band_rows(top, band.top());
                        sums.push(band.target().checksum(rows)?);
                    }
                    let (target, so_far) = band.parts();
                    ledger.unit(Unit {
                        of: name,
                        phase: Phase::Decode,
                        done: done + 1,
                        total: tiles.len(),
                        sums: &sums,
                        picture: Some(target),
                        values: &[(key(done + 1), Values::F32(so_far))],
                    })?;
                }
                tell(observe, Phase::Decode, done + 1, tiles.len())
            };
            let taken = round.zip(decoded).try_for_each(|(done, pixels)| take(done, pixels));
            team.agree(taken)?;
        }
        band.finish()
    }

    /// A tile's pixels, `[3, h, w]`.
    async fn pixels(&self, (index, rect): (usize, Rect)) -> Result<Vec<f32>, Error> {
        let Self { autoencoder, backend, diffusion, canvas, .. } = self;
        let latents = autoencoder.frame.crop(canvas, rect);
        let z = backend.tensor(latents, dims(rect.size, canvas.channels, 1), DType::F32);
        let shared = autoencoder.shared(&autoencoder.statistics.decoder);
        let mut pixels = read(diffusion.vae.decode(z, &mut norms(shared))).await?;
        check(&pixels, Phase::Decode, index)?;
        pixels.iter_mut().for_each(|v| *v = 0.5 + 0.5 * *v);
        Ok(pixels)
    }
}

/// A continued picture with its margins faded into the other ends.
fn fold_picture(area: &Raster, frame: Frame, picture: &mut Raster) -> Result<(), Error> {
    let (columns, rows) = frame.folds();
    let visible = picture.size();
    let width = area.size().width;
    for (y, from) in rows.iter().take(visible.height as usize).enumerate() {
        let mut row = Planes::zeros(Size::new(visible.width, 1), 3);
        for (source, wy) in from {
            let planes = area.read(Rect::new(0, *source as u32, Size::new(width, 1)))?;
            for channel in 0..3 {
                let plane = planes.plane(channel);
                for (into, from) in row.plane_mut(channel).iter_mut().zip(&columns) {
                    *into += from.iter().map(|(x, wx)| wy * wx * plane[*x]).sum::<f32>();
                }
            }
        }
        picture.write(0, y as u32, &row)?;
    }
    Ok(())
}

/// Latents that cover a picture.
pub(crate) fn latent_size(picture: Size, factor: u32) -> Size {
    Size::new(picture.width.div_ceil(factor), picture.height.div_ceil(factor))
}

fn check(values: &[f32], phase: Phase, index: usize) -> Result<(), Error> {
    if values.iter().all(|v| v.is_finite()) {
        Ok(())
    } else {
        Err(Error::NotFinite { phase, tile: index + 1 })
    }
}
