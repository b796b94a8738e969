//! What our encoders lose against what those of ik_llama.cpp lose on the same rows.

mod common;

#[test]
fn no_encoder_loses_two_percent_more_than_that_of_ik_llama_cpp() {
    let n_checked = common::check_losses(include_str!("../testdata/rmse.tsv"));
    assert_eq!(n_checked, 78);
}
