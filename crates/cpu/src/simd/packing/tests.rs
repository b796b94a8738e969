use super::*;
use crate::noise::noise;

#[test]
fn rows_become_columns() {
    for len in [1, 4, 7, 24] {
        for n_rows in [0, 1, 15, 16] {
            let values = noise(n_rows * len, 1);
            let rows: Vec<&[f32]> = values.chunks_exact(len).collect();
            let mut out = vec![f32::NAN; len * LANES];
            pack_rows(&rows, &mut out);
            for (at, got) in out.iter().enumerate() {
                let (i, l) = (at / LANES, at % LANES);
                let want = rows.get(l).map_or(0.0, |row| row[i]);
                assert_eq!(*got, want, "{n_rows} rows of {len}: {i}, {l}");
            }
        }
    }
}
