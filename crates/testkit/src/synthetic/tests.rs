use super::{Kinds, Synthetic};
use crate::shapes;
use perigee_arch::{Config, KvLayout, inventory};
use perigee_quant::QuantKind;

#[test]
fn equal_settings_give_equal_bytes_and_another_seed_does_not() {
    let bytes = |seed| Synthetic::new(shapes::kimi()).seed(seed).to_bytes();
    let first = bytes(1);
    assert!(first == bytes(1));
    assert!(first != bytes(2));
}

#[test]
fn a_file_of_every_form_holds_what_its_own_metadata_demands() {
    for config in shapes::all() {
        for layout in [KvLayout::Split, KvLayout::Joined, KvLayout::Both] {
            let synthetic = Synthetic::new(config.clone()).layout(layout);
            let gguf = synthetic.gguf();
            let read = Config::from_metadata(gguf.metadata()).expect(&config.name);
            assert_eq!(read, config, "{layout:?}");
            let found = inventory(&gguf, &read).expect(&config.name);
            assert_eq!(found.kv_layout, layout, "{}", config.name);
            assert_eq!(found.ignored, Vec::<String>::new(), "{}", config.name);
        }
    }
}

#[test]
fn merged_tied_and_unbiased_files_say_so() {
    let gguf = Synthetic::new(shapes::kimi())
        .merged_gate_up()
        .tied_head()
        .without_selection_bias()
        .gguf();
    let found = inventory(&gguf, &shapes::kimi()).expect("valid");
    assert!(found.merged_gate_up && found.tied_head && !found.selection_bias);
}

#[test]
fn each_group_of_tensors_has_its_kind_and_short_rows_fall_back() {
    let gguf = Synthetic::new(shapes::kimi())
        .kinds(Kinds {
            attention: QuantKind::Iq4K,
            ..Kinds::recipe(QuantKind::Iq3K, QuantKind::Q4_0, QuantKind::Q8_0)
        })
        .gguf();
    let cases = [
        ("token_embd.weight", QuantKind::Q8_0),
        ("blk.0.attn_norm.weight", QuantKind::F32),
        ("blk.0.attn_q_a_norm.weight", QuantKind::F32),
        ("blk.0.attn_q_a.weight", QuantKind::Iq4K),
        ("blk.0.attn_k_b.weight", QuantKind::Q8_0),
        ("blk.0.ffn_down.weight", QuantKind::Q8_0),
        ("blk.1.ffn_gate_inp.weight", QuantKind::F32),
        ("blk.1.exp_probs_b.bias", QuantKind::F32),
        ("blk.1.ffn_up_exps.weight", QuantKind::Iq3K),
        ("blk.1.ffn_down_exps.weight", QuantKind::Q4_0),
        ("blk.1.ffn_down_shexp.weight", QuantKind::Q8_0),
    ];
    for (name, kind) in cases {
        let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(tensor.kind, kind, "{name}");
    }
}
