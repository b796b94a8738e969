//! Rules and recipe files.

use perigee_quant::QuantKind;
use perigee_quantize::{Recipe, RecipeError, Rule};
use proptest::prelude::*;

fn recipe(rules: &str) -> Recipe {
    Recipe {
        rules: Recipe::parse_rules(rules).unwrap(),
        ..Recipe::pure(QuantKind::F16)
    }
}

fn kinds(rules: &str, names: &[&str]) -> Vec<&'static str> {
    let recipe = recipe(rules);
    names.iter().map(|name| recipe.kind(name).name()).collect()
}

#[test]
fn rules_are_a_comma_list_and_the_first_match_wins() {
    let names = [
        "blk.1.ffn_down_exps.weight",
        "blk.12.attn_q_a.weight",
        "output.weight",
    ];
    assert_eq!(
        kinds("exps=q4_0,blk=q8_0,exps=iq3_k", &names),
        ["Q4_0", "Q8_0", "F16"]
    );
    assert_eq!(kinds(r" exps = Q4_0 ,", &names), ["Q4_0", "F16", "F16"]);
    assert_eq!(kinds("", &names), ["F16"; 3]);
    assert_eq!(
        kinds("exps=q4_0,,\nblk=q8_0", &names),
        ["Q4_0", "Q8_0", "F16"]
    );
}

#[test]
fn commas_in_brackets_belong_to_the_expression() {
    let names = ["blk.1.a", "blk.12.a", "blk.123.a"];
    assert_eq!(
        kinds(r"blk\.\d{1,2}\.=q8_0,blk=q4_0", &names),
        ["Q8_0", "Q8_0", "Q4_0"]
    );
    assert_eq!(
        kinds(r"blk\.[1,9]\.=q8_0,\.12\.=q4_0", &names),
        ["Q8_0", "Q4_0", "F16"]
    );
    assert_eq!(
        kinds(r"[(]|12=q8_0,123=q4_0", &names),
        ["F16", "Q8_0", "Q8_0"]
    );
    assert_eq!(
        kinds(r"\(|\[|\{|12\.=q8_0,123=q4_0", &names),
        ["F16", "Q8_0", "Q4_0"]
    );
    assert_eq!(
        kinds(r"[]{(,]|12\.=q8_0,123=q4_0", &names),
        ["F16", "Q8_0", "Q4_0"]
    );
    assert_eq!(
        kinds(r"blk\.(?=12\.)=q8_0,\.1\.=q4_0", &names),
        ["Q4_0", "Q8_0", "F16"]
    );
}

#[test]
fn what_is_no_rule_is_refused_with_its_text() {
    for text in ["exps", "exps=q4_0,attn", "attn,exps=q4_0"] {
        let error = Recipe::parse_rules(text).unwrap_err();
        assert!(
            matches!(error, RecipeError::NoType { .. }),
            "{text}: {error}"
        );
    }
    let error = Recipe::parse_rules("exps=q4_0,attn")
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"attn\""), "{error}");
    for text in ["exps=q4_9", "exps=", "exps=q4_0=", "exps=q4_0 q8_0"] {
        let error = Recipe::parse_rules(text).unwrap_err();
        assert!(
            matches!(error, RecipeError::UnknownType { .. }),
            "{text}: {error}"
        );
        assert!(error.to_string().contains("IQ3_K"), "{error}");
    }
    for text in ["=q8_0", "exps=q4_0, =q8_0"] {
        let error = Recipe::parse_rules(text).unwrap_err();
        assert!(
            matches!(error, RecipeError::EmptyExpression { .. }),
            "{text}: {error}"
        );
    }
    for text in ["(exps=q4_0", "*=q4_0", r"\k<no>=q4_0", "[z-a]=q4_0"] {
        let error = Recipe::parse_rules(text).unwrap_err();
        assert!(
            matches!(error, RecipeError::Expression { .. }),
            "{text}: {error}"
        );
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn an_expression_that_explodes_matches_nothing() {
    let recipe = recipe(r"^(?=(a+)+$)(a|aa)+\1$=q8_0");
    let name = "a".repeat(60) + "b";
    assert_eq!(recipe.kind(&name), QuantKind::F16);
}

#[test]
fn a_file_has_rules_comments_a_rest_and_a_switch() {
    let text = "# experts\r\nffn_down_exps = q4_0 # int4\n\n  symmetric_q4_0\nrest=Q8_0\nblk\\.\\d{1,2}\\.attn=iq4_k\n";
    let recipe = Recipe::parse_file(text).unwrap();
    assert!(recipe.symmetric_q4_0);
    assert_eq!(recipe.rules.len(), 2);
    assert_eq!(recipe.kind("blk.3.ffn_down_exps.weight"), QuantKind::Q4_0);
    assert_eq!(recipe.kind("blk.3.attn_q_a.weight"), QuantKind::Iq4K);
    assert_eq!(recipe.kind("output.weight"), QuantKind::Q8_0);
    assert!(!Recipe::parse_file("rest=q8_0").unwrap().symmetric_q4_0);
}

#[test]
fn faults_of_a_file_name_their_line() {
    for (text, line) in [
        ("# a\nrest=q8_0\n\nexps", 4),
        ("rest=q9\n", 1),
        ("\nexps=\n", 2),
        ("rest=q8_0\n=q8_0", 2),
        ("rest=q8_0\nsymmetric_q4_0 = yes", 2),
        ("(=q8_0", 1),
        ("exps=q4_0,attn\nrest=q8_0", 1),
        ("attn,exps=q4_0\nrest=q8_0", 1),
    ] {
        let error = Recipe::parse_file(text).unwrap_err();
        assert!(
            matches!(error, RecipeError::Line { line: found, .. } if found == line),
            "{text:?}: {error}"
        );
        assert!(
            error.to_string().starts_with(&format!("line {line}: ")),
            "{error}"
        );
    }
    let error = Recipe::parse_file("exps=q4_0").unwrap_err();
    assert!(matches!(error, RecipeError::NoRest), "{error}");
}

#[test]
fn names_of_recipes_are_types_and_presets() {
    assert_eq!(Recipe::named("iq3_k").unwrap().rest, QuantKind::Iq3K);
    assert!(Recipe::named("q4_x").unwrap().symmetric_q4_0);
    assert!(Recipe::named("q4_y").is_none());
}

proptest! {
    #[test]
    fn any_text_is_rules_or_an_error(text in r"[a-c=,.\\{}()\[\]|*+?0-9 \n#é-]{0,40}") {
        let _ = Recipe::parse_rules(&text);
        let _ = Recipe::parse_file(&text);
        let _ = Rule::parse(&text);
    }

    #[test]
    fn joined_rules_are_the_rules(words in prop::collection::vec("[a-z_]{1,8}", 1..6)) {
        let text: Vec<String> = words.iter().map(|word| format!("^{word}$=q8_0")).collect();
        let recipe = recipe(&text.join(","));
        prop_assert_eq!(recipe.rules.len(), words.len());
        for word in &words {
            prop_assert_eq!(recipe.kind(word), QuantKind::Q8_0);
        }
    }
}
