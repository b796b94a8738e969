//! Short forms of the command line as rules.
//!
//! What they leave unsaid goes where tensors go without a rule. This build places
//! everything on the CPU, so all of them are equivalent here; they are still parsed,
//! applied and checked like rules that a user wrote.

use crate::Rule;

/// Layers from which on a number means "all": no file may declare more, and the
/// expression stays short.
const ALL_LAYERS: usize = 1024;

/// `--cpu-moe`: the routed experts of every layer stay on the CPU.
pub fn cpu_moe_rules() -> Vec<Rule> {
    parse(r"\.ffn_(gate|up|down|gate_up)_exps\.=CPU")
}

/// `--n-cpu-moe N`: the routed experts of layers 0 to N − 1 stay on the CPU.
pub fn n_cpu_moe_rules(n_layers: usize) -> Vec<Rule> {
    match n_layers {
        0 => Vec::new(),
        1..ALL_LAYERS => {
            let layers = alternatives(n_layers);
            parse(&format!(
                r"^blk\.({layers})\.ffn_(gate|up|down|gate_up)_exps\.=CPU"
            ))
        }
        ALL_LAYERS.. => cpu_moe_rules(),
    }
}

/// `-ngl N` for a model of `n_layers` layers: what stays on the CPU. As in llama.cpp the
/// head is the first to leave, then layers from the last one down; the embedding never.
pub fn gpu_layers_rules(n_gpu_layers: usize, n_layers: usize) -> Vec<Rule> {
    let n_left = n_layers.min(n_layers.saturating_add(1).saturating_sub(n_gpu_layers));
    let mut rules = parse(r"^token_embd\.=CPU");
    match n_left {
        0 => {}
        1..ALL_LAYERS => rules.extend(parse(&format!(r"^blk\.({})\.=CPU", alternatives(n_left)))),
        ALL_LAYERS.. => rules.extend(parse(r"^blk\.=CPU")),
    }
    if n_gpu_layers == 0 {
        rules.extend(parse(r"^output=CPU"));
    }
    rules
}

/// `0|1|2` for 3.
fn alternatives(n: usize) -> String {
    let numbers: Vec<String> = (0..n).map(|layer| layer.to_string()).collect();
    numbers.join("|")
}

fn parse(text: &str) -> Vec<Rule> {
    Rule::parse_list(text).expect("our own rules are well-formed, whatever their numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tensors of a four-layer model that the rules keep on the CPU.
    fn kept(rules: &[Rule]) -> Vec<&'static str> {
        const NAMES: [&str; 10] = [
            "token_embd.weight",
            "blk.0.ffn_up.weight",
            "blk.1.ffn_up_exps.weight",
            "blk.2.ffn_gate_up_exps.weight",
            "blk.2.ffn_down_shexp.weight",
            "blk.3.attn_output.weight",
            "blk.3.ffn_gate_exps.weight",
            "blk.3.ffn_gate_inp.weight",
            "output_norm.weight",
            "output.weight",
        ];
        let is_kept = |name: &&str| rules.iter().any(|rule| rule.matches(name).unwrap());
        NAMES.into_iter().filter(is_kept).collect()
    }

    #[test]
    fn cpu_moe_means_all_routed_experts_and_no_other_tensor() {
        let experts = [
            "blk.1.ffn_up_exps.weight",
            "blk.2.ffn_gate_up_exps.weight",
            "blk.3.ffn_gate_exps.weight",
        ];
        assert_eq!(kept(&cpu_moe_rules()), experts);
        for n in [4, 60, 999, 1023, 1024, usize::MAX] {
            assert_eq!(kept(&n_cpu_moe_rules(n)), experts, "{n}");
        }
    }

    #[test]
    fn n_cpu_moe_counts_layers_from_the_first() {
        assert_eq!(kept(&n_cpu_moe_rules(0)), [""; 0]);
        assert_eq!(kept(&n_cpu_moe_rules(1)), [""; 0]);
        assert_eq!(kept(&n_cpu_moe_rules(2)), ["blk.1.ffn_up_exps.weight"]);
    }

    #[test]
    fn n_cpu_moe_of_two_digits_does_not_match_by_prefix() {
        let rules = n_cpu_moe_rules(2);
        assert!(!rules[0].matches("blk.10.ffn_up_exps.weight").unwrap());
        assert!(
            n_cpu_moe_rules(11)[0]
                .matches("blk.10.ffn_up_exps.weight")
                .unwrap()
        );
    }

    #[test]
    fn gpu_layers_leave_from_the_head_down() {
        assert_eq!(kept(&gpu_layers_rules(0, 4)).len(), 10);
        assert_eq!(kept(&gpu_layers_rules(1, 4)).len(), 8);
        assert_eq!(kept(&gpu_layers_rules(2, 4)).len(), 5);
        assert_eq!(
            kept(&gpu_layers_rules(4, 4)),
            ["token_embd.weight", "blk.0.ffn_up.weight"]
        );
        for n in [5, 999, usize::MAX] {
            assert_eq!(kept(&gpu_layers_rules(n, 4)), ["token_embd.weight"], "{n}");
        }
        assert_eq!(kept(&gpu_layers_rules(0, usize::MAX)).len(), 10);
    }
}
