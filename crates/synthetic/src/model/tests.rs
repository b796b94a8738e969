use super::*;

fn model(spec: &str, seed: u64) -> SyntheticModel {
    SyntheticModel::new(&spec.parse().unwrap(), seed).unwrap()
}

fn tensor_bytes(model: &SyntheticModel, name: &str) -> Vec<u8> {
    let at = model.tensors().iter().position(|t| t.name == name).unwrap();
    let mut bytes = vec![0; model.tensors()[at].n_bytes().unwrap() as usize];
    model.fill(at, 0, &mut bytes);
    bytes
}

#[test]
fn a_tensor_is_the_same_in_models_of_other_depth_and_vocabulary() {
    let (small, large) = (
        model("tiny@IQ3_K:layers=2", 1),
        model("tiny@IQ3_K:layers=3,vocab=2048", 1),
    );
    for name in ["blk.1.ffn_up_exps.weight", "blk.1.ffn_gate_inp.weight"] {
        assert_eq!(tensor_bytes(&small, name), tensor_bytes(&large, name));
    }
    let other_seed = model("tiny@IQ3_K:layers=2", 2);
    let name = "blk.0.attn_q_a.weight";
    assert_ne!(tensor_bytes(&small, name), tensor_bytes(&other_seed, name));
}

#[test]
fn a_vocabulary_without_room_for_bytes_is_refused() {
    let spec = "tiny@Q8_0:vocab=289".parse().unwrap();
    let error = SyntheticModel::new(&spec, 1).err().unwrap().to_string();
    assert!(
        error.contains("vocab=289") && error.contains("290"),
        "{error}"
    );
    model("tiny@Q8_0:vocab=290", 1);
}

#[test]
fn the_whole_vocabulary_of_kimi_can_be_made() {
    assert_eq!(Vocabulary::kimi(163_840).tokens().len(), 163_840);
}
