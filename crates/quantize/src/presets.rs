//! Recipes by name: those of published Kimi files, and llama.cpp's mixtures.

use perigee_quant::QuantKind;

use crate::Recipe;

/// A recipe that comes with the program.
pub struct Preset {
    /// What to call it.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        &[$(Preset {
            name: $name,
            text: include_str!(concat!("../../../configs/recipes/", $name, ".recipe")),
        }),*]
    };
}

/// Every recipe of `configs/recipes`.
pub fn presets() -> &'static [Preset] {
    recipes![
        "Q4_X",
        "IQ3_K-mix",
        "smol-IQ3_KS",
        "smol-IQ2_KL",
        "smol-IQ2_KS",
        "smol-IQ1_KT",
        "Q2_K_S",
        "Q2_K_M",
        "Q3_K_S",
        "Q3_K_M",
        "Q4_K_S",
        "Q4_K_M",
        "Q5_K_S",
        "Q5_K_M",
    ]
}

impl Recipe {
    /// The recipe of that name, in any case: a type for all matrices, or a preset.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(kind) = QuantKind::from_name(name) {
            return Some(Self::pure(kind));
        }
        let preset = presets()
            .iter()
            .find(|preset| preset.name.eq_ignore_ascii_case(name))?;
        // A test parses every preset.
        Self::parse_file(preset.text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_recipe() {
        for preset in presets() {
            Recipe::parse_file(preset.text)
                .unwrap_or_else(|error| panic!("{}: {error}", preset.name));
            assert!(Recipe::named(&preset.name.to_lowercase()).is_some());
            assert!(
                QuantKind::from_name(preset.name).is_none(),
                "{}",
                preset.name
            );
        }
    }

    #[test]
    fn published_recipes_give_the_types_of_published_files() {
        let recipe = Recipe::named("IQ3_K-mix").unwrap();
        for (name, kind) in [
            ("blk.3.ffn_gate_exps.weight", QuantKind::Iq3K),
            ("blk.60.ffn_up_exps.weight", QuantKind::Iq3K),
            ("blk.60.ffn_down_exps.weight", QuantKind::Q4_0),
            ("blk.0.ffn_down.weight", QuantKind::Q8_0),
            ("blk.7.ffn_down_shexp.weight", QuantKind::Q8_0),
            ("token_embd.weight", QuantKind::Q8_0),
        ] {
            assert_eq!(recipe.kind(name), kind, "{name}");
        }
        let recipe = Recipe::named("smol-iq2_ks").unwrap();
        assert_eq!(recipe.kind("blk.9.ffn_down_exps.weight"), QuantKind::Iq2Ks);
        assert_eq!(recipe.kind("token_embd.weight"), QuantKind::Iq4K);
        assert_eq!(recipe.kind("output.weight"), QuantKind::Iq6K);
        assert_eq!(recipe.kind("blk.9.attn_output.weight"), QuantKind::Q8_0);
        assert!(Recipe::named("Q4_X").unwrap().symmetric_q4_0);
    }
}
