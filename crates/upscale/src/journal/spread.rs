//! What rank 0 reads of its journal, at all of a team. All call these in the same order; what the others give does not matter.

use clarifier_raster::Raster;
use clarifier_tile::{Rect, Size};

use super::kept::bytes;
use crate::{Error, Team};

/// Bytes of a picture that are sent at once.
const AT_ONCE: u64 = 64 << 20;

/// A number as bytes, little-endian.
pub trait Number: Copy {
    /// Its bytes.
    fn put(self, into: &mut Vec<u8>);
    /// As many of them as there are.
    fn take(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl Number for $number {
            fn put(self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }

            fn take(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
            }
        }
    )*};
}
number!(u32, u64, f32, f64);

/// A yes or no.
pub fn flag(team: &Team, own: bool) -> Result<bool, Error> {
    if team.is_alone() { Ok(own) } else { Ok(team.told(|| Ok(vec![u8::from(own)]))? == [1]) }
}

/// A list of numbers.
pub fn numbers<T: Number>(team: &Team, own: impl FnOnce() -> Vec<T>) -> Result<Vec<T>, Error> {
    if team.is_alone() {
        return Ok(own());
    }
    let said = team.told(|| {
        let mut bytes = Vec::new();
        own().into_iter().for_each(|number| number.put(&mut bytes));
        Ok(bytes)
    })?;
    Ok(T::take(&said))
}

/// Lists of numbers, if there are any.
pub fn lists<T: Number>(
    team: &Team,
    own: Result<Option<Vec<Vec<T>>>, Error>,
) -> Result<Option<Vec<Vec<T>>>, Error> {
    if team.is_alone() {
        return own;
    }
    let own = team.agree(own)?;
    let count = own.as_ref().map_or(0, |lists| 1 + lists.len() as u64);
    let count = numbers(team, || vec![count])?[0];
    let mut own = own.unwrap_or_default().into_iter();
    // One after the other: all at once would be in memory twice.
    let lists = (1..count).map(|_| numbers(team, || own.next().unwrap_or_default()));
    let lists = lists.collect::<Result<Vec<_>, _>>()?;
    Ok((count > 0).then_some(lists))
}

/// A picture, if there is one; `make` makes an empty one for it.
pub fn picture(
    team: &Team,
    own: Result<Option<Raster>, Error>,
    size: Size,
    make: impl FnOnce() -> Result<Raster, Error>,
) -> Result<Option<Raster>, Error> {
    if team.is_alone() {
        return own;
    }
    let own = team.agree(own)?;
    if !flag(team, own.is_some())? {
        return Ok(None);
    }
    let mut picture = own.map_or_else(make, Ok)?;
    let rows = (AT_ONCE / bytes(Size::new(size.width, 1))).clamp(1, size.height.into());
    for y in (0..size.height).step_by(rows as usize) {
        let rect = Rect::new(0, y, Size::new(size.width, (rows as u32).min(size.height - y)));
        let band = team.told(|| Ok(picture.read_bytes(rect)?))?;
        if !team.leads() {
            picture.write_bytes(rect, &band)?;
        }
    }
    Ok(Some(picture))
}
