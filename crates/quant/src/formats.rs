//! One file per type: block layout, scalar decoder, scalar encoder.
