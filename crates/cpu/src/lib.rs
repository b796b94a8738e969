//! Arithmetic on the CPU: quantised matmul, MLA attention, the few float operations.
