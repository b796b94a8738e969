//! Rounding activations to 8 bits; the numbers are those of [`Form::quantize`].

use perigee_quant::packed::Form;

use crate::simd::isa::Isa;

/// `form.quantize(x, out)` with the instructions of `isa`.
///
/// # Panics
/// As [`Form::quantize`], and when the CPU does not have the instruction set.
pub(crate) fn quantize(isa: Isa, form: &Form, x: &[f32], out: &mut [u8]) {
    assert!(isa.is_supported());
    match isa {
        Isa::Scalar => form.quantize(x, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the instruction set.
        Isa::Avx2 | Isa::AvxVnni => unsafe { x86::avx2(form, x, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the instruction set.
        Isa::Avx512 => unsafe { x86::avx512(form, x, out) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => form.quantize(x, out),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use perigee_quant::packed::Form;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn avx2(form: &Form, x: &[f32], out: &mut [u8]) {
        form.quantize_inline(x, out);
    }

    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) fn avx512(form: &Form, x: &[f32], out: &mut [u8]) {
        form.quantize_inline(x, out);
    }
}
