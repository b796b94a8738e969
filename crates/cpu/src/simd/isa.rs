//! Which instructions to use.

use std::sync::OnceLock;

/// Instruction sets that the inner loops are compiled for, from the plainest to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// The same with the dot products of AVX-VNNI.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL, VNNI and VBMI.
    Avx512,
    /// The same with the tiles of AMX for many tokens.
    Amx,
}

/// See [`Isa::best`].
static USED: OnceLock<Isa> = OnceLock::new();

impl Isa {
    /// All of them, ascending.
    pub const ALL: [Self; 5] = [
        Self::Scalar,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512,
        Self::Amx,
    ];

    /// What is used: the best that this CPU has, unless [`choose`](Self::choose) was called.
    pub fn best() -> Self {
        *USED.get_or_init(|| Self::available().max().unwrap_or(Self::Scalar))
    }

    /// Uses these instructions instead of the best, to compare them. Returns whether the CPU has
    /// them and nothing has used others yet.
    pub fn choose(self) -> bool {
        self.is_supported() && *USED.get_or_init(|| self) == self
    }

    /// Whether this CPU has it.
    pub fn is_supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            match self {
                Self::Scalar => true,
                Self::Avx2 => avx2,
                Self::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
                Self::Amx => Self::Avx512.is_supported() && super::amx::is_available(),
                Self::Avx512 => {
                    avx2 && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512vnni")
                        && is_x86_feature_detected!("avx512vbmi")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Scalar
        }
    }

    /// [`is_supported`](Self::is_supported), at the price of a comparison for the one in use.
    #[inline]
    pub(crate) fn is_usable(self) -> bool {
        self == Self::best() || self.is_supported()
    }

    /// Whether tiles of these instructions multiply bf16.
    pub(crate) fn has_bf16_tiles(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Amx {
            return super::amx::bf16::is_available();
        }
        false
    }

    /// All that this CPU has, the plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_supported())
    }

    /// The name for people: `AVX-512`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "AVX2",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx512 => "AVX-512",
            Self::Amx => "AMX",
        }
    }
}
