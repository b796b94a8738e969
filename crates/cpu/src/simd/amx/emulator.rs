//! Tiles for tests on machines without them: the instructions fault, and a signal handler does what
//! they would have done (Intel's Software Developer's Manual, volume 2; intrinsics of AMX-TILE,
//! AMX-INT8 and AMX-BF16).

use std::cell::UnsafeCell;
use std::sync::Once;

use libc::{REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
use libc::{REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP};

/// The general registers by the numbers that instructions have for them.
const REGISTERS: [i32; 16] = [
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
    REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
];

/// The tiles of a thread.
struct State {
    /// Bytes of a row and rows of each tile; all zero where nothing is configured.
    shapes: [(usize, usize); 8],
    tiles: [[[u8; 64]; 16]; 8],
}

thread_local! {
    static STATE: UnsafeCell<State> = const {
        UnsafeCell::new(State {
            shapes: [(0, 0); 8],
            tiles: [[[0; 64]; 16]; 8],
        })
    };
}

/// Whether tiles can be used in this process from now on: those of the machine, or emulated ones where
/// there is AVX-512, as there always is beside tiles.
pub(crate) fn has_tiles() -> bool {
    install();
    crate::simd::Isa::Avx512.is_supported()
}

/// The same of tiles of bf16, beside which there is always rounding to it.
pub(crate) fn has_bf16_tiles() -> bool {
    let are_emulated = !super::is_available();
    has_tiles()
        && is_x86_feature_detected!("avx512bf16")
        && (are_emulated || super::bf16::is_available())
}

#[test]
fn the_check_at_start_up_accepts_tiles() {
    assert!(!has_tiles() || super::multiplies_right());
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if super::is_available() {
            return;
        }
        // SAFETY: the handler touches the stopped thread's registers, its tiles and the memory
        // that its instruction names, and takes no locks.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigemptyset(&raw mut action.sa_mask);
            assert_eq!(
                libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()),
                0
            );
        }
    });
}

/// Runs the instruction that faulted, or lets it fault again without a handler.
///
/// # Safety
/// The system calls it, with the context of the thread that faulted.
unsafe extern "C" fn handle(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system gives the context of the thread that the instruction faulted on.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[REG_RIP as usize] as *const u8;
        let done = STATE.with(|state| run(&mut *state.get(), at, registers));
        match done {
            Some(n_bytes) => registers[REG_RIP as usize] += n_bytes,
            None => {
                libc::signal(libc::SIGILL, libc::SIG_DFL);
            }
        }
    }
}

/// One instruction; returns its length, or `None` for another than those of tiles.
///
/// # Safety
/// `at` points to an instruction, and its operands to the memory that it works on.
unsafe fn run(state: &mut State, at: *const u8, registers: &[libc::greg_t]) -> Option<i64> {
    // SAFETY: promised by the caller; no byte after the end of an instruction is read.
    unsafe {
        let byte = |i: usize| at.add(i).read();
        // Three bytes of VEX with the map 0F38, W0 and 128 bits.
        if byte(0) != 0xC4 || byte(1) & 0x1F != 2 || byte(2) & 0x84 != 0 {
            return None;
        }
        let (extra_index, extra_base) = (!byte(1) >> 6 & 1, !byte(1) >> 5 & 1);
        let (prefix, third) = (byte(2) & 3, usize::from(!byte(2) >> 3 & 7));
        let (opcode, modrm) = (byte(3), byte(4));
        let (mode, first, second) = (modrm >> 6, usize::from(modrm >> 3 & 7), modrm & 7);
        if mode == 3 {
            match (opcode, prefix) {
                // TILERELEASE
                (0x49, 0) => state.shapes = [(0, 0); 8],
                // TILEZERO
                (0x49, 3) => {
                    assert!(state.shapes[first].0 > 0, "a configured tile");
                    state.tiles[first] = [[0; 64]; 16];
                }
                // TDPBF16PS
                (0x5C, 2) => state.multiply_bf16(first, (usize::from(second), third)),
                // TDPBUUD, TDPBUSD, TDPBSUD and TDPBSSD
                (0x5E, _) => {
                    let are_signed = [prefix & 2 != 0, prefix & 1 != 0];
                    state.multiply(first, (usize::from(second), third), are_signed);
                }
                _ => return None,
            }
            return Some(5);
        }
        let register = |number: u8, extra: u8| {
            registers[REGISTERS[usize::from(number | extra << 3)] as usize] as usize
        };
        let (mut address, mut stride, mut len) = (0, 0, 5);
        let mut base = second;
        if second == 4 {
            let sib = byte(5);
            len = 6;
            base = sib & 7;
            let index = sib >> 3 & 7;
            if index != 4 || extra_index == 1 {
                stride = register(index, extra_index) << (sib >> 6);
            }
        }
        assert!(
            mode > 0 || base != 5,
            "no address of the kind that needs no register"
        );
        address += register(base, extra_base);
        match mode {
            1 => {
                address = address.wrapping_add_signed(isize::from(byte(len) as i8));
                len += 1;
            }
            2 => {
                let displacement = at.add(len).cast::<i32>().read_unaligned();
                address = address.wrapping_add_signed(displacement as isize);
                len += 4;
            }
            _ => {}
        }
        match (opcode, prefix) {
            // LDTILECFG
            (0x49, 0) => state.configure(&(address as *const [u8; 64]).read_unaligned()),
            // TILELOADD
            (0x4B, 3) => state.load(first, address, stride),
            // TILESTORED
            (0x4B, 2) => state.store(first, address, stride),
            _ => return None,
        }
        Some(len as i64)
    }
}

impl State {
    fn configure(&mut self, config: &[u8; 64]) {
        assert_eq!(config[0], 1, "the palette");
        let reserved = config[1..16]
            .iter()
            .chain(&config[32..48])
            .chain(&config[56..]);
        assert!(
            reserved.into_iter().all(|byte| *byte == 0),
            "no first row, nothing reserved"
        );
        for (t, shape) in self.shapes.iter_mut().enumerate() {
            let row_bytes = u16::from_le_bytes([config[16 + 2 * t], config[17 + 2 * t]]);
            *shape = (row_bytes.into(), config[48 + t].into());
            assert!(shape.0 <= 64 && shape.1 <= 16);
            assert_eq!(shape.0 == 0, shape.1 == 0, "all or nothing");
        }
        self.tiles = [[[0; 64]; 16]; 8];
    }

    /// # Safety
    /// All rows of the tile's shape can be read, `stride` bytes apart.
    unsafe fn load(&mut self, tile: usize, address: usize, stride: usize) {
        let (row_bytes, n_rows) = self.shapes[tile];
        assert!(row_bytes > 0, "a configured tile");
        self.tiles[tile] = [[0; 64]; 16];
        for (r, row) in self.tiles[tile][..n_rows].iter_mut().enumerate() {
            let from = (address + r * stride) as *const u8;
            // SAFETY: as many bytes are there, promised by the caller.
            unsafe { from.copy_to_nonoverlapping(row.as_mut_ptr(), row_bytes) };
        }
    }

    /// # Safety
    /// All rows of the tile's shape can be written, `stride` bytes apart.
    unsafe fn store(&self, tile: usize, address: usize, stride: usize) {
        let (row_bytes, n_rows) = self.shapes[tile];
        assert!(row_bytes > 0, "a configured tile");
        for (r, row) in self.tiles[tile][..n_rows].iter().enumerate() {
            let to = (address + r * stride) as *mut u8;
            // SAFETY: as many bytes are there, promised by the caller.
            unsafe { to.copy_from_nonoverlapping(row.as_ptr(), row_bytes) };
        }
    }

    /// Checks that these tiles can be multiplied; returns the rows and the columns of 32 bits of the
    /// product, and the bytes of rows of `a`.
    fn shape_of_product(&self, c: usize, (a, b): (usize, usize)) -> (usize, usize, usize) {
        let ((depth, n_rows), (row_bytes, n_quads)) = (self.shapes[a], self.shapes[b]);
        assert_eq!((row_bytes, n_rows), self.shapes[c]);
        assert_eq!(depth, 4 * n_quads);
        assert!(c != a && c != b && a != b, "three tiles");
        assert!(depth > 0 && row_bytes % 4 == 0);
        (n_rows, row_bytes / 4, depth)
    }

    /// `c[m][n] += Σ_k a[m][k] · b[k / 2][2 n + k mod 2]` of bf16, in f32: a sum for even k, one for odd.
    fn multiply_bf16(&mut self, c: usize, (a, b): (usize, usize)) {
        let (n_rows, n_columns, depth) = self.shape_of_product(c, (a, b));
        let number = |tile: &[[u8; 64]; 16], row: usize, at: usize| {
            f32::from_bits(u32::from_le_bytes([
                0,
                0,
                tile[row][2 * at],
                tile[row][2 * at + 1],
            ]))
        };
        for m in 0..n_rows {
            for n in 0..n_columns {
                let mut products = [0.0; 2];
                for k in 0..depth / 2 {
                    let of_b = number(&self.tiles[b], k / 2, 2 * n + k % 2);
                    let sum = &mut products[k % 2];
                    *sum = number(&self.tiles[a], m, k).mul_add(of_b, *sum);
                }
                let products = products[0] + products[1];
                let bytes = &mut self.tiles[c][m].as_chunks_mut::<4>().0[n];
                *bytes = (f32::from_le_bytes(*bytes) + products).to_le_bytes();
            }
        }
    }

    /// `c[m][n] += Σ_k a[m][k] · b[k / 4][4 n + k mod 4]`.
    fn multiply(&mut self, c: usize, (a, b): (usize, usize), are_signed: [bool; 2]) {
        let value = |byte: u8, is_signed| match is_signed {
            true => i32::from(byte as i8),
            false => i32::from(byte),
        };
        let (n_rows, n_columns, depth) = self.shape_of_product(c, (a, b));
        for m in 0..n_rows {
            for n in 0..n_columns {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(&self.tiles[c][m][4 * n..4 * n + 4]);
                let mut sum = i32::from_le_bytes(bytes);
                for k in 0..depth {
                    let product = value(self.tiles[a][m][k], are_signed[0])
                        * value(self.tiles[b][k / 4][4 * n + k % 4], are_signed[1]);
                    sum = sum.wrapping_add(product);
                }
                self.tiles[c][m][4 * n..4 * n + 4].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
}
