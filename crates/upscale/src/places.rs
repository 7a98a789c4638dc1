//! Prompts for parts of a picture.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use clarifier_tile::{Rect, Size, TileGrid};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;

/// What is said of parts of a picture, by their places: `R2C1` for the tile in the second row and first
/// column (of each stage's own tiles), or `X,Y,W,H` for a rectangle in pixels of the input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TilePrompts(BTreeMap<String, String>);

/// A file of prompts that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TilePromptsError {
    /// A key that names no place.
    #[error("{0:?} is no place: R2C1 (row 2, column 1) and X,Y,W,H (pixels of the input) are")]
    Place(String),
    /// A line without a colon.
    #[error("line {0} is no `place: prompt`")]
    Line(usize),
    /// Not JSON, though it begins as such.
    #[error("not JSON of the form {{\"R1C1\": \"a prompt\"}}: {0}")]
    Json(String),
}

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Row and column, from 0.
    Tile(usize, usize),
    /// Left, top, right and bottom as shares of the picture's sides.
    Part([f64; 4]),
}

impl Place {
    /// `picture` is the size that rectangles are of.
    fn parse(text: &str, picture: Size) -> Option<Self> {
        let number = |text: &str| text.trim().parse::<u32>().ok();
        if let Some((row, column)) =
            text.trim().strip_prefix(['R', 'r']).and_then(|t| t.split_once(['C', 'c']))
        {
            let index = |text: &str| number(text)?.checked_sub(1).map(|i| i as usize);
            return Some(Self::Tile(index(row)?, index(column)?));
        }
        let numbers: Option<Vec<u32>> = text.split(',').map(number).collect();
        let [x, y, width, height] = numbers?[..] else { return None };
        if width == 0 || height == 0 {
            return None;
        }
        let share = |at: u32, side: u32| f64::from(at) / f64::from(side);
        let (right, bottom) = (x.checked_add(width)?, y.checked_add(height)?);
        Some(Self::Part([
            share(x, picture.width),
            share(y, picture.height),
            share(right, picture.width),
            share(bottom, picture.height),
        ]))
    }

    /// How well a tile with this centre (as shares of the picture) and number lies here: the smaller the
    /// better; none if it does not.
    fn fit(self, (x, y): (f64, f64), tile: (usize, usize)) -> Option<f64> {
        match self {
            Self::Tile(row, column) => ((row, column) == tile).then_some(0.0),
            Self::Part([left, top, right, bottom]) => ((left..right).contains(&x)
                && (top..bottom).contains(&y))
            .then_some((right - left) * (bottom - top)),
        }
    }
}

impl TilePrompts {
    /// Read lines of `place: prompt`, or a JSON object of the same.
    ///
    /// # Errors
    /// [`TilePromptsError`].
    pub fn parse(text: &str) -> Result<Self, TilePromptsError> {
        let prompts: BTreeMap<String, String> = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|e| TilePromptsError::Json(e.to_string()))?
        } else {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let pair = |(number, line): (usize, &str)| {
                let (place, prompt) = line.split_once(':').ok_or(TilePromptsError::Line(number + 1))?;
                Ok((place.trim().to_owned(), prompt.trim().to_owned()))
            };
            lines.map(pair).collect::<Result<_, _>>()?
        };
        for place in prompts.keys() {
            Place::parse(place, Size::new(1, 1)).ok_or_else(|| TilePromptsError::Place(place.clone()))?;
        }
        Ok(Self(prompts))
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The prompts.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

/// What guides the tiles: the general prompts, and those of parts of the picture.
pub struct Conditioning {
    general: Tensor<3>,
    places: Vec<(Place, Tensor<3>)>,
    /// As the user wrote them.
    names: Vec<String>,
}

impl Conditioning {
    /// Of two embeddings of the same length, `[1, tokens, 768]` each.
    pub fn new(negative: Tensor<3>, positive: Tensor<3>) -> Self {
        Self { general: Tensor::cat(vec![negative, positive], 0), places: Vec::new(), names: Vec::new() }
    }

    /// With these embeddings, `[2, tokens, 768]` each, for the places of `prompts`, in their order;
    /// rectangles are of a picture of size `picture`.
    pub fn with_places(mut self, prompts: &TilePrompts, embeddings: Vec<Tensor<3>>, picture: Size) -> Self {
        let places = prompts.0.keys().filter_map(|place| Place::parse(place, picture));
        self.places = places.zip(embeddings).collect();
        self.names = prompts.0.keys().cloned().collect();
        self
    }

    /// What guides the tile at `rect` of the frame's area: [`Self::text`] of [`Self::place_of`].
    pub fn at(&self, frame: Frame, grid: &TileGrid, rect: Rect) -> Tensor<3> {
        self.text(self.place_of(frame, grid, rect))
    }

    /// What guides the tiles of a place, or of none: `[2, tokens, 768]`, the negative prompt's embedding, then
    /// the prompt's.
    pub(crate) fn text(&self, place: Option<usize>) -> Tensor<3> {
        match place {
            Some(index) => self.places[index].1.clone(),
            None => self.general.clone(),
        }
    }

    /// The places that no tile of `grid` takes, as the user wrote them.
    pub fn unused(&self, frame: Frame, grid: &TileGrid) -> Vec<&str> {
        let taken: Vec<_> = grid.iter().filter_map(|tile| self.place_of(frame, grid, tile)).collect();
        let names = self.names.iter().enumerate().filter(|(index, _)| !taken.contains(index));
        names.map(|(_, name)| name.as_str()).collect()
    }

    /// The number of the place that the tile at `rect` of the frame's area takes. Of several places that the
    /// tile's centre is in, the smallest counts; a tile's own number before all. `grid` is what tiles are
    /// numbered by.
    pub(crate) fn place_of(&self, frame: Frame, grid: &TileGrid, rect: Rect) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let (left, top) = frame.corner(rect);
        let share = |start: i64, length: u32, side: u32| {
            let centre = start as f64 + f64::from(length) / 2.0;
            (centre / f64::from(side)).rem_euclid(1.0)
        };
        let core = frame.core();
        let centre = (share(left, rect.size.width, core.width), share(top, rect.size.height, core.height));
        let number = nearest(grid, rect);
        let places = self.places.iter().enumerate();
        let fits = places.filter_map(|(index, (place, _))| Some((place.fit(centre, number)?, index)));
        fits.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, index)| index)
    }
}

/// Row and column of the tile of `grid` that is nearest to `rect`.
fn nearest(grid: &TileGrid, rect: Rect) -> (usize, usize) {
    let distance =
        |tile: &Rect| u64::from(tile.x.abs_diff(rect.x)).pow(2) + u64::from(tile.y.abs_diff(rect.y)).pow(2);
    let best = grid.iter().enumerate().min_by_key(|(_, tile)| distance(tile)).map_or(0, |(index, _)| index);
    (best / grid.columns(), best % grid.columns())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &Tensor<3>) -> f32 {
        text.clone().into_data().try_into_vec::<f32>().unwrap()[0]
    }

    #[test]
    fn a_tile_gets_the_prompt_of_its_place() {
        let device = burn::tensor::Device::flex();
        let text = |value: f32| Tensor::<3>::full([2, 1, 1], value, &device);
        let prompts =
            TilePrompts::parse("R1C2: a dog\n\n50,0,50,100: the right half\n60,60,40,40: a corner\n");
        let prompts = prompts.unwrap();
        let order: Vec<&str> = prompts.prompts().collect();
        let embeddings = order.iter().map(|p| text(p.len() as f32)).collect();
        let general = text(0.0).narrow(0, 0, 1);
        let conditioning = Conditioning::new(general.clone(), general).with_places(
            &prompts,
            embeddings,
            Size::new(100, 100),
        );
        let frame = Frame::flat(Size::new(64, 64));
        let grid = TileGrid::new(frame.area(), Size::new(24, 24), 4).unwrap();
        let at = |index: usize| number(&conditioning.at(frame, &grid, grid.get(index)));
        // Three by three tiles.
        let (dog, half, corner) = (5.0, 14.0, 8.0);
        assert_eq!([at(0), at(1), at(2), at(5), at(8)], [0.0, dog, half, half, corner]);
        assert!(conditioning.unused(frame, &grid).is_empty());
        let coarse = TileGrid::new(frame.area(), Size::new(64, 64), 4).unwrap();
        assert_eq!(conditioning.unused(frame, &coarse), ["60,60,40,40", "R1C2"]);
        // A tile that was moved keeps its number.
        let moved = Rect::new(grid.get(1).x - 3, 2, grid.tile());
        assert_eq!(number(&conditioning.at(frame, &grid, moved)), dog);
    }

    #[test]
    fn files_of_prompts_are_read_and_mistakes_named() {
        let json = TilePrompts::parse(r#"{"R1C1": "a cat"}"#).unwrap();
        assert_eq!(json, TilePrompts::parse("R1C1: a cat").unwrap());
        for (bad, says) in [
            ("Q1: x", "\"Q1\" is no place"),
            ("R0C1: x", "R0C1"),
            ("hello", "line 1"),
            ("{\"a\"}", "not JSON"),
        ] {
            let message = TilePrompts::parse(bad).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
