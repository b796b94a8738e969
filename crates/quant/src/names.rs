//! Names of all `ggml_type` ids in circulation, so that an error can name what it refuses.

/// Id and name, in the order of ids. Sources: the enums of llama.cpp and ik_llama.cpp.
#[rustfmt::skip]
pub(crate) const NAMES: &[(u32, &str)] = &[
    (0, "F32"), (1, "F16"), (2, "Q4_0"), (3, "Q4_1"), (4, "Q4_2"), (5, "Q4_3"), (6, "Q5_0"), (7, "Q5_1"),
    (8, "Q8_0"), (9, "Q8_1"), (10, "Q2_K"), (11, "Q3_K"), (12, "Q4_K"), (13, "Q5_K"), (14, "Q6_K"), (15, "Q8_K"),
    (16, "IQ2_XXS"), (17, "IQ2_XS"), (18, "IQ3_XXS"), (19, "IQ1_S"), (20, "IQ4_NL"), (21, "IQ3_S"), (22, "IQ2_S"),
    (23, "IQ4_XS"), (24, "I8"), (25, "I16"), (26, "I32"), (27, "I64"), (28, "F64"), (29, "IQ1_M"), (30, "BF16"),
    (31, "Q4_0_4_4"), (32, "Q4_0_4_8"), (33, "Q4_0_8_8"), (34, "TQ1_0"), (35, "TQ2_0"), (36, "I2_S"), (39, "MXFP4"),
    (40, "NVFP4"), (41, "Q1_0"), (42, "Q2_0"), (97, "Q8_0_X4"), (98, "Q8_1_X4"), (99, "Q8_2_X4"), (133, "Q6_0"),
    (134, "IQ1_BN"), (135, "IQ2_BN"), (136, "Q8_K64"), (137, "IQ2_K"), (138, "IQ3_K"), (139, "IQ4_K"), (140, "IQ5_K"),
    (141, "IQ6_K"), (144, "IQ4_KS"), (145, "IQ2_KS"), (146, "IQ4_KSS"), (147, "Q8_K16"), (148, "Q8_K32"),
    (149, "Q8_KR8"), (150, "Q8_K128"), (151, "Q8_KV"), (152, "IQ5_KS"), (153, "IQ2_KT"), (154, "IQ3_KT"),
    (155, "IQ4_KT"), (156, "IQ3_KS"), (157, "IQ2_KL"), (158, "IQ1_KT"), (202, "Q4_0_R8"), (206, "Q5_0_R4"),
    (208, "Q8_0_R8"), (210, "Q2_K_R4"), (211, "Q3_K_R4"), (212, "Q4_K_R4"), (213, "Q5_K_R4"), (214, "Q6_K_R4"),
    (216, "IQ2_XXS_R4"), (217, "IQ2_XS_R4"), (218, "IQ3_XXS_R4"), (219, "IQ1_S_R4"), (220, "IQ4_NL_R4"),
    (221, "IQ3_S_R4"), (222, "IQ2_S_R4"), (223, "IQ4_XS_R8"), (229, "IQ1_M_R4"), (230, "BF16_R16"), (233, "Q6_0_R4"),
    (335, "IQ2_BN_R4"), (337, "IQ2_K_R4"), (338, "IQ3_K_R4"), (339, "IQ4_K_R4"), (340, "IQ5_K_R4"), (344, "IQ4_KS_R4"),
    (352, "IQ5_KS_R4"), (353, "MXFP4_R8"), (397, "Q8_K_R16"), (398, "Q8_KV_R8"), (399, "Q8_K_R8"),
];

#[cfg(test)]
mod tests {
    use super::NAMES;
    use crate::QuantKind;

    #[test]
    fn ids_ascend_and_types_without_decoder_have_names() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        for (id, name) in [
            (15, "Q8_K"),
            (31, "Q4_0_4_4"),
            (135, "IQ2_BN"),
            (338, "IQ3_K_R4"),
        ] {
            assert_eq!(QuantKind::name_of_id(id), Some(name));
            assert_eq!(QuantKind::from_id(id), None);
        }
        assert_eq!(QuantKind::name_of_id(9999), None);
    }
}
