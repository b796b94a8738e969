//! Every number that bounds what a hostile file can make the reader do.

/// Bytes of magic, version and the two counts.
pub(crate) const HEADER_BYTES: usize = 24;
/// Smallest metadata entry: key length, type and a one-byte value.
pub(crate) const MIN_ENTRY_BYTES: usize = 13;
/// Smallest tensor record: name length, one name byte, no dimension, type and offset.
pub(crate) const MIN_TENSOR_BYTES: usize = 24;
/// Most metadata entries: published files have some sixty.
pub(crate) const MAX_ENTRIES: usize = 1 << 12;
/// Most bytes of all metadata of a file: those of the family's files take up to 12 MB. Values
/// take no more memory than in the file, so this bounds both.
pub(crate) const MAX_METADATA_BYTES: usize = 32 << 20;
/// Longest key; the format's own bound.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;
/// Longest string value: chat templates are kilobytes.
pub(crate) const MAX_STRING_BYTES: usize = 16 << 20;
/// Most elements of an array: vocabularies and merges have some 160,000.
pub(crate) const MAX_ARRAY_LEN: usize = 1 << 21;
/// Longest tensor name that the engines of the family accept (64 with a terminator).
pub(crate) const MAX_TENSOR_NAME_BYTES: usize = 63;
/// Most tensors of a model: the largest of the family have some 1,100. Sparse files of
/// terabytes could otherwise have the reader reserve as much memory.
pub(crate) const MAX_TENSORS: usize = 1 << 16;
/// Most dimensions of a tensor.
pub(crate) const MAX_DIMENSIONS: u32 = 4;
/// Alignment of the data section when the file names none.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;
/// Largest alignment: 2 MiB, a huge page.
pub(crate) const MAX_ALIGNMENT: u64 = 2 << 20;
/// Most shards of a split model.
pub(crate) const MAX_SHARDS: u16 = 512;
