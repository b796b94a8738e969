use perigee_arch::{Config, inventory};
use perigee_quant::QuantKind;
use perigee_testkit::{Kinds, Synthetic, shapes};

use super::*;

fn plan_for(lists: &[&str]) -> Result<Plan, PlanError> {
    let rules: Vec<Rule> = lists
        .iter()
        .flat_map(|list| Rule::parse_list(list).unwrap())
        .collect();
    let gguf = Synthetic::new(shapes::kimi())
        .kinds(Kinds::uniform(QuantKind::Q8_0))
        .gguf();
    let config = Config::from_metadata(gguf.metadata()).unwrap();
    let inventory = inventory(&gguf, &config).unwrap();
    let plan = plan(&gguf, &inventory, &rules)?;
    assert_eq!(plan.homes.len(), inventory.tensors.len());
    Ok(plan)
}

#[test]
fn everything_stays_on_node_0_without_rules_and_with_those_for_the_cpu() {
    for lists in [
        &[][..],
        &["exps=CPU"],
        &[".=CPU.node0"],
        &["attn=CPU,ffn=cpu", "exps=CPU"],
    ] {
        let plan = plan_for(lists).unwrap();
        assert!(plan.homes.iter().all(|home| *home == Home::Cpu { node: 0 }));
        assert_eq!(plan.warnings, [""; 0], "{lists:?}");
    }
}

#[test]
fn a_device_that_is_missing_is_an_error_that_names_rule_tensor_and_device() {
    let check = |list: &str, expected: &str| {
        let error = plan_for(&[list]).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        r"blk\.(1|2)\.ffn_up_exps.*=CUDA0",
        r#"rule "blk\.(1|2)\.ffn_up_exps.*=CUDA0" places blk.1.ffn_up_exps.weight on CUDA0, but this build has no CUDA devices: "#,
    );
    check(
        "exps=CPU,^output\\.=GPU3",
        "rule \"^output\\.=GPU3\" places output.weight on CUDA3, but this build has no CUDA",
    );
    check(
        "token_embd=DISK",
        "rule \"token_embd=DISK\" places token_embd.weight on DISK, but this build does not run tensors from disk",
    );
    check(
        "token_embd=CPU.node1",
        "rule \"token_embd=CPU.node1\" places token_embd.weight on CPU.node1, but this build places tensors on node 0 only",
    );
}

#[test]
fn a_rule_that_matches_nothing_is_a_warning_even_for_a_missing_device() {
    let plan = plan_for(&[r"blk\.(59|60)\.ffn.*=CUDA1", "exps=CPU", "nextn=DISK"]).unwrap();
    assert_eq!(
        plan.warnings,
        [
            r#"rule "blk\.(59|60)\.ffn.*=CUDA1" matches no tensor of the model"#,
            r#"rule "nextn=DISK" matches no tensor of the model"#,
        ]
    );
}

#[test]
fn an_earlier_rule_keeps_tensors_from_a_missing_device() {
    let plan = plan_for(&["exps=CPU", "ffn_up_exps=CUDA0"]).unwrap();
    assert_eq!(plan.warnings, [""; 0]);
}

#[test]
fn an_expression_that_explodes_is_an_error_that_names_it() {
    let error = plan_for(&[r"^(.+.+)+\1z$=CPU"]).unwrap_err();
    assert!(
        matches!(&error, PlanError::Expensive { rule, .. } if rule.ends_with("z$=CPU")),
        "{error}"
    );
}

#[test]
fn presets_are_accepted_by_a_build_without_devices() {
    let gguf = Synthetic::new(shapes::kimi()).gguf();
    let config = Config::from_metadata(gguf.metadata()).unwrap();
    let inventory = inventory(&gguf, &config).unwrap();
    for rules in [
        crate::cpu_moe_rules(),
        crate::n_cpu_moe_rules(60),
        crate::gpu_layers_rules(999, 3),
    ] {
        assert_eq!(plan(&gguf, &inventory, &rules).unwrap().warnings, [""; 0]);
    }
}
