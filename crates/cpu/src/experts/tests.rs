use perigee_quant::QuantKind;

use super::*;
use crate::noise::{bits, noise, nrmse, quantized_noise};

const HIDDEN: usize = 64;
const WIDTH: usize = 96;
const N_EXPERTS: usize = 7;
const TOP_K: usize = 3;

struct Layer {
    gate_up: (Vec<u8>, Vec<f32>),
    down: (Vec<u8>, Vec<f32>),
    /// The same as `gate_up` and `down`, packed.
    packed: [Vec<u8>; 2],
    use_packed: [bool; 2],
}

/// Rows of Q8_0 in groups of 16.
fn packed(rows: &[u8], n_in: usize) -> Vec<u8> {
    let layout = QuantKind::Q8_0.layout().unwrap();
    // A permutation: groups are as long as their rows.
    let mut groups = vec![0; rows.len()];
    let size = layout.group_bytes(n_in).unwrap();
    for (rows, group) in rows.chunks_exact(size).zip(groups.chunks_exact_mut(size)) {
        layout.pack(QuantKind::Q8_0, rows, group);
    }
    groups
}

impl Layer {
    fn new(use_packed: [bool; 2]) -> Self {
        let kind = QuantKind::Q8_0;
        let gate_up = quantized_noise(kind, HIDDEN, N_EXPERTS * 2 * WIDTH, 1);
        let down = quantized_noise(kind, WIDTH, N_EXPERTS * HIDDEN, 2);
        let packed = [packed(&gate_up.0, HIDDEN), packed(&down.0, WIDTH)];
        Self {
            gate_up,
            down,
            packed,
            use_packed,
        }
    }

    fn experts(&self) -> Experts<'_> {
        let kind = QuantKind::Q8_0;
        let [gate_up, down] = [
            (HIDDEN, 2 * WIDTH, &self.gate_up.0, 0),
            (WIDTH, HIDDEN, &self.down.0, 1),
        ]
        .map(|(n_in, n_rows, rows, i)| {
            if self.use_packed[i] {
                Stack::packed(kind, n_in, n_rows, N_EXPERTS, &self.packed[i]).unwrap()
            } else {
                Stack::new(kind, n_in, n_rows, N_EXPERTS, rows)
            }
        });
        Experts {
            gate: gate_up.narrow(0..WIDTH),
            up: gate_up.narrow(WIDTH..2 * WIDTH),
            down,
        }
    }

    /// The last expert, which nobody is sent to, as the shared one.
    fn shared(&self) -> Experts<'_> {
        let Experts { gate, up, down } = self.experts();
        let last = N_EXPERTS - 1;
        Experts {
            gate: gate.item(last).into(),
            up: up.item(last).into(),
            down: down.item(last).into(),
        }
    }

    fn forward(&self, n_threads: usize, routes: &[Route], x: &[f32]) -> Vec<f32> {
        let workers = Workers::new(n_threads, Experts::scratch_len(HIDDEN, WIDTH));
        let mut groups = ExpertGroups::new(N_EXPERTS, routes.len());
        groups.group(routes, TOP_K);
        let mut activations = vec![f32::NAN; routes.len() * WIDTH];
        let mut everyone = ExpertGroups::new(1, x.len() / HIDDEN);
        everyone.give_all(x.len() / HIDDEN);
        let mut shared_activations = vec![f32::NAN; x.len() / HIDDEN * WIDTH];
        let mut y = vec![f32::NAN; x.len()];
        let shared = ExpertPart {
            experts: self.shared(),
            groups: &everyone,
            activations: &mut shared_activations,
        };
        let routed = ExpertPart {
            experts: self.experts(),
            groups: &groups,
            activations: &mut activations,
        };
        feed_experts(&workers, [shared, routed], x, &mut y);
        y
    }

    /// One token, in f64.
    fn plain(&self, routes: &[Route], x: &[f32]) -> Vec<f64> {
        let dot =
            |w: &[f32], x: &[f64]| -> f64 { w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum() };
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let mut y = vec![0.0; HIDDEN];
        let shared = Route {
            expert: N_EXPERTS as u32 - 1,
            weight: 1.0,
        };
        for route in std::iter::once(&shared).chain(routes) {
            let expert = route.expert as usize;
            let row = |row| &self.gate_up.1[(expert * 2 * WIDTH + row) * HIDDEN..][..HIDDEN];
            let activations: Vec<f64> = (0..WIDTH)
                .map(|i| (dot(row(i), &x), dot(row(WIDTH + i), &x)))
                .map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up)
                .collect();
            for (o, y) in y.iter_mut().enumerate() {
                let row = &self.down.1[(expert * HIDDEN + o) * WIDTH..][..WIDTH];
                *y += f64::from(route.weight) * dot(row, &activations);
            }
        }
        y
    }
}

fn routes(n_tokens: usize) -> Vec<Route> {
    let weights = noise(n_tokens * TOP_K, 4);
    let route = |i: usize| Route {
        expert: ((i / TOP_K * 2 + i % TOP_K * 5) % (N_EXPERTS - 1)) as u32,
        weight: weights[i].abs(),
    };
    (0..n_tokens * TOP_K).map(route).collect()
}

#[test]
fn experts_add_their_weighted_outputs_whatever_the_batch() {
    for (use_packed, bound) in [
        ([false; 2], 2e-6),
        // Activations of 8 bits.
        ([true, false], 2e-2),
        ([false, true], 2e-2),
        ([true; 2], 2e-2),
    ] {
        check_experts(&Layer::new(use_packed), bound);
    }
}

fn check_experts(layer: &Layer, bound: f64) {
    for n_tokens in [1, 2, 23] {
        let (routes, x) = (routes(n_tokens), noise(n_tokens * HIDDEN, 3));
        let together = layer.forward(2, &routes, &x);
        for t in 0..n_tokens {
            let routes = &routes[t * TOP_K..][..TOP_K];
            let x = &x[t * HIDDEN..][..HIDDEN];
            let got = &together[t * HIDDEN..][..HIDDEN];
            let error = nrmse(got, &layer.plain(routes, x));
            assert!(error < bound, "token {t} of {n_tokens}: {error}");
            assert_eq!(bits(&layer.forward(1, routes, x)), bits(got));
        }
    }
}

#[test]
fn groups_hold_every_pair_once_in_order() {
    let routes = routes(11);
    let mut groups = ExpertGroups::new(N_EXPERTS, routes.len());
    for _ in 0..2 {
        groups.group(&routes, TOP_K);
        let mut pairs = Vec::new();
        for expert in 0..N_EXPERTS {
            let range = groups.pairs(expert);
            assert_eq!(groups.active.contains(&(expert as u32)), !range.is_empty());
            let tokens = &groups.tokens[range.clone()];
            assert!(tokens.is_sorted());
            pairs.extend(tokens.iter().map(|token| (*token, expert as u32)));
        }
        let mut expected: Vec<(u32, u32)> = (0..)
            .zip(&routes)
            .map(|(i, route): (u32, _)| (i / TOP_K as u32, route.expert))
            .collect();
        pairs.sort_unstable();
        expected.sort_unstable();
        assert_eq!(pairs, expected);
    }
}
