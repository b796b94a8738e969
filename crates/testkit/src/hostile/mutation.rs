//! Random lies in the places where lies matter.

use super::draft::{ARRAY, Draft, Entry, Field, FieldKind, STRING, scalar_bytes};
use crate::SplitMix;

/// One to four changes to one of `bases`; which ones depends on `seed` alone.
pub fn mutated(bases: &[Draft], seed: u64) -> Vec<u8> {
    let mut random = SplitMix::new(seed);
    // Streams of neighbouring seeds overlap; one step apart they no longer do.
    let mut random = SplitMix::new(random.bits());
    let mut draft = random.pick(bases).clone();
    let n_parts = random.below(3);
    for _ in 0..n_parts {
        change_parts(&mut draft, &mut random);
    }
    if random.below(2) == 0 {
        lay_out(&mut draft);
    }
    let (mut bytes, fields) = draft.assemble();
    let n_fields = random.below(2) + usize::from(n_parts == 0);
    for _ in 0..n_fields {
        change_field(&mut bytes, &fields, &mut random);
    }
    match random.below(16) {
        0 => cut(&mut bytes, &fields, &mut random),
        1 => splice(&mut bytes, &mut random),
        _ => (),
    }
    bytes
}

/// A number that code tends to forget.
fn number(random: &mut SplitMix, near: u64) -> u64 {
    const EDGES: [u64; 24] = [
        0,
        1,
        2,
        3,
        4,
        5,
        31,
        32,
        33,
        63,
        64,
        255,
        256,
        65_535,
        65_536,
        1 << 21,
        (1 << 31) - 1,
        1 << 31,
        u32::MAX as u64,
        1 << 32,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 31,
        u64::MAX,
    ];
    match random.below(8) {
        0 => random.bits(),
        1 => near.wrapping_add(1),
        2 => near.wrapping_sub(1),
        3 => near.wrapping_mul(2),
        4 => random.bits() >> random.below(64),
        // Times any block size this wraps to something small.
        5 => (u64::MAX / (1 + random.below(512) as u64)).wrapping_add(random.below(3) as u64),
        _ => *random.pick(&EDGES),
    }
}

fn type_id(random: &mut SplitMix) -> u32 {
    const EDGES: [u32; 12] = [4, 5, 31, 36, 37, 50, 99, 138, 202, 338, 1 << 31, u32::MAX];
    match random.below(4) {
        0 => random.bits() as u32,
        1 => *random.pick(&EDGES),
        _ => random.below(16) as u32,
    }
}

fn float(random: &mut SplitMix) -> f64 {
    const EDGES: [f64; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-45,
        1e-30,
        3e38,
        1e308,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.999_999_9,
    ];
    *random.pick(&EDGES)
}

/// Changes the pieces of a file, which is then written consistently.
fn change_parts(draft: &mut Draft, random: &mut SplitMix) {
    if draft.entries.is_empty() || draft.records.is_empty() {
        return;
    }
    let (e, f) = (
        random.below(draft.entries.len()),
        random.below(draft.entries.len()),
    );
    let (r, s) = (
        random.below(draft.records.len()),
        random.below(draft.records.len()),
    );
    match random.below(16) {
        0 => drop(draft.entries.remove(e)),
        1 => {
            let twin = draft.entries[e].clone();
            draft.entries.insert(f, twin);
        }
        2 => draft.entries[e].key = draft.entries[f].key.clone(),
        3 => {
            (draft.entries[e].type_id, draft.entries[e].value) =
                (draft.entries[f].type_id, draft.entries[f].value.clone());
        }
        4..=6 => change_value(&mut draft.entries[e], random),
        7 => drop(draft.records.remove(r)),
        8 => {
            let twin = draft.records[r].clone();
            draft.records.insert(s, twin);
        }
        9 => draft.records.swap(r, s),
        10 => {
            let (type_id, shape) = (draft.records[s].type_id, draft.records[s].shape.clone());
            (draft.records[r].type_id, draft.records[r].shape) = (type_id, shape);
        }
        11 => draft.records[r].offset = draft.records[s].offset,
        12 => draft.records[r].shape.reverse(),
        13 => {
            let shape = &mut draft.records[r].shape;
            let d = random.below(shape.len());
            shape[d] = number(random, shape[d]);
        }
        14 => {
            // A product of dimensions that wraps to what it was.
            let shape = &mut draft.records[r].shape;
            let d = random.below(shape.len());
            shape[d] = shape[d].wrapping_add(1 << (32 + random.below(32)));
        }
        _ => draft.alignment = 1 << random.below(12),
    }
}

/// Gives every tensor the place that its shape and type need, so that the container is sound
/// and what the shapes say is left to be judged. Sizes that are absurd stay as they are.
fn lay_out(draft: &mut Draft) {
    let mut end = 0_u64;
    let mut offsets = Vec::with_capacity(draft.records.len());
    for record in &draft.records {
        let per_weight = match record.type_id {
            // Blocks of 32 weights take 34 bytes.
            8 => (34, 32),
            // Any other type takes no more than F32.
            _ => (4, 1),
        };
        let weights = record
            .shape
            .iter()
            .try_fold(1_u64, |n, &d| n.checked_mul(d));
        let bytes = weights.and_then(|n| Some(n.checked_mul(per_weight.0)? / per_weight.1));
        let Some(bytes) = bytes.filter(|&bytes| bytes <= 1 << 17) else {
            return;
        };
        offsets.push(end);
        end += bytes.next_multiple_of(64);
    }
    if end > 1 << 19 {
        return;
    }
    for (record, offset) in draft.records.iter_mut().zip(offsets) {
        record.offset = offset;
    }
    if draft.data.len() < end as usize {
        draft.data = vec![0; end as usize].into();
    }
}

/// Another value of the same type, or the same bytes under another type.
fn change_value(entry: &mut Entry, random: &mut SplitMix) {
    let bits = match entry.type_id {
        6 => u64::from((float(random) as f32).to_bits()),
        12 => float(random).to_bits(),
        ARRAY if entry.value.len() >= 12 && random.below(2) == 0 => {
            return shorten_array(entry, random);
        }
        STRING | ARRAY => {
            entry.type_id = type_id(random);
            return;
        }
        _ => {
            let mut old = [0; 8];
            let n = entry.value.len().min(8);
            old[..n].copy_from_slice(&entry.value[..n]);
            number(random, u64::from_le_bytes(old))
        }
    };
    // A wider type holds what a narrow one cannot: negative and very large counts.
    if random.below(4) == 0 && entry.type_id != 6 {
        entry.type_id = *random.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12]);
    }
    let len = scalar_bytes(entry.type_id).unwrap_or(8);
    entry.value = bits.to_le_bytes()[..len].to_vec();
}

/// A shorter array of the same type, well-formed where elements have one size.
fn shorten_array(entry: &mut Entry, random: &mut SplitMix) {
    let element = u32::from_le_bytes(entry.value[..4].try_into().expect("four bytes"));
    let stored = u64::from_le_bytes(entry.value[4..12].try_into().expect("eight bytes"));
    let count = random.bits() % (stored.saturating_add(1)).max(1);
    entry.value[4..12].copy_from_slice(&count.to_le_bytes());
    if let Some(size) = scalar_bytes(element) {
        let len = 12 + count as usize * size;
        entry.value.truncate(len);
    }
}

/// Overwrites one field. Kinds are drawn before fields: most fields of a file are alike.
fn change_field(bytes: &mut [u8], fields: &[Field], random: &mut SplitMix) {
    // Where most values are plausible, more lies get through to what comes after.
    const KINDS: [FieldKind; 26] = [
        FieldKind::Scalar,
        FieldKind::Scalar,
        FieldKind::Scalar,
        FieldKind::Scalar,
        FieldKind::Scalar,
        FieldKind::Text,
        FieldKind::Text,
        FieldKind::Elements,
        FieldKind::Elements,
        FieldKind::Key,
        FieldKind::Name,
        FieldKind::Magic,
        FieldKind::Version,
        FieldKind::TensorCount,
        FieldKind::EntryCount,
        FieldKind::KeyLength,
        FieldKind::ValueType,
        FieldKind::StringLength,
        FieldKind::ElementType,
        FieldKind::ArrayLength,
        FieldKind::NameLength,
        FieldKind::DimensionCount,
        FieldKind::Dimension,
        FieldKind::Dimension,
        FieldKind::TensorType,
        FieldKind::Offset,
    ];
    let kind = *random.pick(&KINDS);
    let n = fields.iter().filter(|field| field.kind == kind).count();
    if n == 0 {
        return;
    }
    let chosen = random.below(n);
    let Some(field) = fields.iter().filter(|field| field.kind == kind).nth(chosen) else {
        return;
    };
    let place = &mut bytes[field.at..field.at + field.len];
    match kind {
        FieldKind::Key | FieldKind::Name | FieldKind::Text | FieldKind::Elements => {
            if !place.is_empty() {
                place[random.below(field.len)] = random.bits() as u8;
            }
        }
        FieldKind::ValueType | FieldKind::ElementType | FieldKind::TensorType => {
            overwrite(place, &type_id(random).to_le_bytes());
        }
        _ => {
            let mut old = [0; 8];
            let n = place.len().min(8);
            old[..n].copy_from_slice(&place[..n]);
            overwrite(
                place,
                &number(random, u64::from_le_bytes(old)).to_le_bytes(),
            );
        }
    }
}

fn overwrite(place: &mut [u8], with: &[u8]) {
    let n = place.len().min(with.len());
    place[..n].copy_from_slice(&with[..n]);
}

/// Cuts the file at the end of a field, or anywhere.
fn cut(bytes: &mut Vec<u8>, fields: &[Field], random: &mut SplitMix) {
    let len = match random.below(2) {
        0 => random.below(bytes.len()),
        _ => random.pick(fields).at,
    };
    bytes.truncate(len);
}

/// Copies a run of bytes over others, between others, or removes it.
fn splice(bytes: &mut Vec<u8>, random: &mut SplitMix) {
    // Behind the header there is nothing to be confused by.
    let len = bytes.len().min(16_384);
    let (from, to) = (random.below(len), random.below(len));
    let n = (1 + random.below(64)).min(len - from.max(to));
    match random.below(3) {
        0 => bytes.copy_within(from..from + n, to),
        1 => drop(bytes.drain(from..from + n)),
        _ => {
            let run = bytes[from..from + n].to_vec();
            bytes.splice(to..to, run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mutated;
    use crate::hostile::bases;

    #[test]
    fn a_seed_selects_a_file() {
        let bases = bases();
        assert_eq!(mutated(&bases, 7), mutated(&bases, 7));
        let distinct: std::collections::HashSet<Vec<u8>> =
            (0..100).map(|seed| mutated(&bases, seed)).collect();
        assert!(distinct.len() > 80, "{} distinct files", distinct.len());
    }
}
