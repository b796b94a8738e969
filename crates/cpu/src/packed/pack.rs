//! Packing rows while they are loaded.

use perigee_quant::QuantKind;
use perigee_quant::packed::GROUP_ROWS;
use perigee_topology::{DisjointMut, Pool};

/// Groups of rows packed by a task: some hundred KB.
const TASK_GROUPS: usize = 4;

/// Packs rows of `n_in` weights from the order of the file into memory for
/// [`Stack::packed`](crate::Stack::packed). `progress(n)` counts bytes of the file; it is called
/// from several threads.
///
/// # Panics
/// When the type has no layout, or the sizes are not those of a number of groups.
pub fn pack(
    pool: &Pool,
    kind: QuantKind,
    n_in: usize,
    (rows, packed): (&[u8], &mut [u8]),
    progress: &(dyn Fn(usize) + Sync),
) {
    let layout = kind.layout().expect("the caller knows the packed size");
    let (Some(row_bytes), Some(group_bytes)) = (kind.row_bytes(n_in), layout.group_bytes(n_in))
    else {
        panic!("rows of {n_in} weights of {}", kind.name());
    };
    let rows_bytes = GROUP_ROWS * row_bytes;
    let n_groups = rows.len() / rows_bytes;
    assert_eq!(rows.len(), n_groups * rows_bytes, "whole groups");
    assert_eq!(packed.len(), n_groups * group_bytes, "whole groups");
    let packed = DisjointMut::new(packed);
    pool.for_each(n_groups.div_ceil(TASK_GROUPS), &|task| {
        let groups = task * TASK_GROUPS..n_groups.min((task + 1) * TASK_GROUPS);
        for group in groups.clone() {
            // SAFETY: a group belongs to one task.
            let out = unsafe { packed.range(group * group_bytes, group_bytes) };
            layout.pack(kind, &rows[group * rows_bytes..][..rows_bytes], out);
        }
        progress(groups.len() * rows_bytes);
    });
}
