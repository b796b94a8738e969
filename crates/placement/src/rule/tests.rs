use super::*;

fn targets_of(list: &str) -> Vec<(String, Target)> {
    let rules = Rule::parse_list(list).unwrap();
    let parts = |rule: &Rule| (rule.regex.as_str().to_owned(), rule.target);
    rules.iter().map(parts).collect()
}

/// The target of the first matching rule.
fn placed(rules: &[Rule], tensor: &str) -> Option<Target> {
    rules
        .iter()
        .find(|rule| rule.matches(tensor).unwrap())
        .map(Rule::target)
}

#[test]
fn lists_split_after_targets_and_nowhere_else() {
    let check = |list: &str, expected: &[(&str, Target)]| {
        let expected: Vec<(String, Target)> = expected
            .iter()
            .map(|(regex, target)| ((*regex).to_owned(), *target))
            .collect();
        assert_eq!(targets_of(list), expected, "{list}");
    };
    check("exps=CPU", &[("exps", Target::Cpu)]);
    check(
        "a=CUDA0,b=cpu",
        &[("a", Target::Cuda(0)), ("b", Target::Cpu)],
    );
    check(
        " a = CUDA1 , b=CPU.node1 ",
        &[("a", Target::Cuda(1)), ("b", Target::CpuNode(1))],
    );
    check(
        r"blk\.\d{1,2}\.=CPU,x=DISK",
        &[(r"blk\.\d{1,2}\.", Target::Cpu), ("x", Target::Disk)],
    );
    check(
        "(a,b)=CPU,c=CPU",
        &[("(a,b)", Target::Cpu), ("c", Target::Cpu)],
    );
    check("a,b=CPU", &[("a,b", Target::Cpu)]);
    check("(?=CPU,)x=CPU", &[("(?=CPU,)x", Target::Cpu)]);
    check(
        "[=CPU,(]x=CPU,y=CPU",
        &[("[=CPU,(]x", Target::Cpu), ("y", Target::Cpu)],
    );
    check(
        r"\(a=CPU,b=CPU",
        &[(r"\(a", Target::Cpu), ("b", Target::Cpu)],
    );
    check("a==CPU", &[("a=", Target::Cpu)]);
    check(
        "日本=CPU,é=DISK",
        &[("日本", Target::Cpu), ("é", Target::Disk)],
    );
}

#[test]
fn errors_quote_the_rule_and_say_what_is_wrong() {
    let check = |list: &str, rule: &str, expected: &str| {
        let message = Rule::parse_list(list).unwrap_err().to_string();
        let expected = format!("rule \"{rule}\": {expected}");
        assert!(message.starts_with(&expected), "{list}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    };
    check("", "", "expected REGEX=TARGET");
    check("exps", "exps", "expected REGEX=TARGET");
    check("a=CPU,", "", "expected REGEX=TARGET");
    check("a=CPU,exps", "exps", "expected REGEX=TARGET");
    check(
        "exps=CUDX0,attn=CPU",
        "exps=CUDX0",
        "unknown target \"CUDX0\"",
    );
    check("exps=", "exps=", "unknown target \"\"");
    check("a=CPU,b=CUDA", "b=CUDA", "unknown target \"CUDA\"");
    check("=CPU", "=CPU", "the expression is empty");
    check(
        "(a=CPU",
        "(a=CPU",
        "not a regular expression: Parsing error at position 2: Opening parenthesis",
    );
    check("a=CPU,*x=CPU", "*x=CPU", "not a regular expression: ");
    let no_regex = |list: &str, reason: &str| {
        check(list, list, &format!("not a regular expression: {reason}"))
    };
    no_regex("(a{1000}){1000}{1000}=CPU", "it becomes too large");
    no_regex("[z-a]=CPU", "invalid character class range");
    no_regex(r"\p{Foo}=CPU", "Unicode property not found");
    no_regex(r"(a)\2=CPU", "");
    no_regex(r"\q=CPU", "Parsing error at position 0: Invalid escape");
}

/// The published command lines with `-ot`, and where their tensors are meant to go.
#[test]
fn published_rules_place_what_their_authors_meant() {
    let parse = |lists: &[&str]| -> Vec<Rule> {
        lists
            .iter()
            .flat_map(|list| Rule::parse_list(list).unwrap())
            .collect()
    };
    let reference_box = parse(&[
        r"blk\.(1|2)\.ffn.*=CUDA0",
        r"blk\.(59|60)\.ffn.*=CUDA1",
        "exps=CPU",
    ]);
    let check = |rules: &[Rule], tensor: &str, expected: Option<Target>| {
        assert_eq!(placed(rules, tensor), expected, "{tensor}");
    };
    check(
        &reference_box,
        "blk.1.ffn_gate_exps.weight",
        Some(Target::Cuda(0)),
    );
    check(
        &reference_box,
        "blk.2.ffn_down_shexp.weight",
        Some(Target::Cuda(0)),
    );
    check(
        &reference_box,
        "blk.12.ffn_up_exps.weight",
        Some(Target::Cpu),
    );
    check(
        &reference_box,
        "blk.21.ffn_up_exps.weight",
        Some(Target::Cpu),
    );
    check(
        &reference_box,
        "blk.59.ffn_norm.weight",
        Some(Target::Cuda(1)),
    );
    check(
        &reference_box,
        "blk.60.ffn_gate_up_exps.weight",
        Some(Target::Cuda(1)),
    );
    check(&reference_box, "blk.60.attn_output.weight", None);
    check(&reference_box, "output.weight", None);
    check(
        &parse(&["exps=CPU"]),
        "blk.30.ffn_gate_up_exps.weight",
        Some(Target::Cpu),
    );
    check(&parse(&["exps=CPU"]), "blk.30.exp_probs_b.bias", None);
}

#[test]
fn first_matching_rule_wins() {
    let order = Rule::parse_list("exps=CPU,blk=CUDA0").unwrap();
    let reverse = Rule::parse_list("blk=CUDA0,exps=CPU").unwrap();
    assert_eq!(
        placed(&order, "blk.1.ffn_up_exps.weight"),
        Some(Target::Cpu)
    );
    assert_eq!(
        placed(&reverse, "blk.1.ffn_up_exps.weight"),
        Some(Target::Cuda(0))
    );
}

#[test]
fn an_expression_that_explodes_stops_at_the_limit() {
    let rules = Rule::parse_list(r"^(.+.+)+\1z$=CPU").unwrap();
    let started = std::time::Instant::now();
    assert!(rules[0].matches("blk.12.ffn_gate_up_exps.weight").is_err());
    assert!(started.elapsed().as_secs() < 2);
}
