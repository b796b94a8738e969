//! The canonical dot product, computed from rows of the file: what every kernel must equal.

use super::{Layout, Parts, SUPER_BLOCK, SubScales};
use crate::QuantKind;

/// The dot product of one row of a file with one row of activations in `layout.form()`; see
/// [the arithmetic](super).
///
/// # Panics
/// When the lengths do not agree.
pub fn dot_row(kind: QuantKind, layout: &Layout, row: &[u8], n_in: usize, x: &[u8]) -> f32 {
    let form = layout.form();
    assert_eq!(kind.row_bytes(n_in), Some(row.len()));
    assert_eq!(form.row_bytes(n_in), x.len());
    let (meta, blocks) = row.split_at(kind.row_meta_bytes());
    let (mut parts, mut values) = (Parts::EMPTY, [0; SUPER_BLOCK]);
    let mut y = 0.0f32;
    for (b, block) in blocks.chunks_exact(kind.block_bytes()).enumerate() {
        layout.take_apart(block, &mut parts);
        layout.values(&parts, &mut values);
        let d = layout.block_scale(meta, &parts);
        let at = form.scales(n_in).start + 4 * b;
        let da = f32::from_le_bytes([x[at], x[at + 1], x[at + 2], x[at + 3]]);
        let first = b * layout.block_len;
        let (mut sum, mut min_sum) = (0i32, 0i32);
        for start in (0..layout.block_len).step_by(layout.sub_len) {
            let k = start / layout.sub_len;
            let shift = i32::from(layout.shift) * i32::from(parts.flags >> k & 1);
            let (mut dot, mut total) = (0, 0);
            for column in start..start + layout.sub_len {
                let a = i32::from(x[first + column] as i8);
                dot += (i32::from(values[column]) + shift) * a;
                total += a;
            }
            let scale = match layout.sub_scales {
                SubScales::None => 1,
                _ => i32::from(parts.scales[k]),
            };
            sum += scale * dot;
            min_sum += i32::from(parts.mins[k]) * total;
        }
        y = (d * da).mul_add(sum as f32, y);
        if layout.has_mins() {
            let dmin = layout.min_scale(&parts);
            y = (-(dmin * da)).mul_add(min_sum as f32, y);
        }
    }
    y
}
