//! IPTC's descriptions (IIM 4.2): bare in a TIFF, one of Photoshop's resources in a JPEG.

/// What a JPEG's APP13 begins with; a decoder may have taken it off.
const MARKER: &[u8] = b"Photoshop 3.0\0";
const SIGNATURE: &[u8] = b"8BIM";
/// The resource that holds IIM (Photoshop File Formats, "image resource IDs").
const IIM: [u8; 2] = [0x04, 0x04];
/// Every IIM record begins with it.
const TAG: u8 = 0x1C;

/// The records among Photoshop's resources.
pub(crate) fn from_resources(block: &[u8]) -> Option<Vec<u8>> {
    let mut rest = block.strip_prefix(MARKER).unwrap_or(block);
    loop {
        let after = rest.strip_prefix(SIGNATURE)?;
        let (id, after) = after.split_at_checked(2)?;
        // A name with its length, and the data, each of an even length.
        let name = 1 + usize::from(*after.first()?);
        let after = after.get(name.next_multiple_of(2)..)?;
        let (length, after) = after.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let data = after.get(..length)?;
        if id == IIM {
            return records(data.to_vec());
        }
        rest = after.get(length.checked_next_multiple_of(2)?..)?;
    }
}

/// What is in a TIFF's tag, if it is IIM.
pub(crate) fn records(bytes: Vec<u8>) -> Option<Vec<u8>> {
    (bytes.first() == Some(&TAG)).then_some(bytes)
}

/// Records as a JPEG's APP13 has them.
pub(crate) fn to_segment(records: &[u8]) -> Vec<u8> {
    let mut segment =
        [MARKER, SIGNATURE, &IIM, &[0, 0], &(records.len() as u32).to_be_bytes(), records].concat();
    if records.len() % 2 == 1 {
        segment.push(0);
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_among_other_resources() {
        let records = [0x1C, 2, 105, 0, 3, b'a', b'b', b'c'];
        let other = [SIGNATURE, &[4, 0x0D, 3], b"abc", &[0, 0, 0, 1, 9, 0]].concat();
        let block = [&other[..], &to_segment(&records)[MARKER.len()..]].concat();
        assert_eq!(from_resources(&block), Some(records.to_vec()));
        assert_eq!(from_resources(&to_segment(&records[..7])), Some(records[..7].to_vec()));
        for at in 0..block.len() {
            let _ = from_resources(&block[..at]);
            let mut bad = block.clone();
            bad[at] = 0xFF;
            let _ = from_resources(&bad);
        }
    }
}
