//! One file's header: metadata and tensor records, checked against the file's own length.

use std::collections::HashSet;

use perigee_quant::QuantKind;

use crate::cursor::Cursor;
use crate::limits::{
    DEFAULT_ALIGNMENT, HEADER_BYTES, MAX_ALIGNMENT, MAX_DIMENSIONS, MAX_ENTRIES, MAX_KEY_BYTES,
    MAX_METADATA_BYTES, MAX_TENSOR_NAME_BYTES, MAX_TENSORS, MIN_ENTRY_BYTES, MIN_TENSOR_BYTES,
};
use crate::value::read_value;
use crate::{Error, Metadata, Tensor};

/// What a header says, after every check that one file allows.
pub(crate) struct Header {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<Tensor>,
}

/// Parses the header at the start of `bytes`, the whole file. `shard` goes into the tensors.
pub(crate) fn parse(file: &str, bytes: &[u8], shard: usize) -> Result<Header, Error> {
    if bytes.len() < HEADER_BYTES {
        return Err(Error::TooShort {
            file: file.to_owned(),
            len: bytes.len(),
        });
    }
    let mut cursor = Cursor::new(file, bytes);
    if cursor.take("the magic", 4)? != b"GGUF" {
        return Err(Error::BadMagic {
            file: file.to_owned(),
        });
    }
    match cursor.u32("the version")? {
        2 | 3 => {}
        // 3 with its bytes swapped is 0x03000000.
        version if version & 0xFFFF == 0 && version != 0 => {
            return Err(Error::BigEndian {
                file: file.to_owned(),
            });
        }
        version => {
            return Err(Error::Version {
                file: file.to_owned(),
                version,
            });
        }
    }
    let n_tensors = cursor.u64("the tensor count")?;
    let n_entries = cursor.u64("the metadata count")?;
    let n_entries = bounded(
        file,
        "metadata entries",
        n_entries,
        MAX_ENTRIES.min(cursor.remaining() / MIN_ENTRY_BYTES),
    )?;
    cursor.set_budget("bytes of metadata", MAX_METADATA_BYTES);
    let metadata = read_metadata(&mut cursor, file, n_entries)?;
    cursor.lift_budget();
    let alignment = alignment(&metadata, file)?;
    let n_tensors = bounded(
        file,
        "tensors",
        n_tensors,
        MAX_TENSORS.min(cursor.remaining() / MIN_TENSOR_BYTES),
    )?;
    let mut tensors = read_tensors(&mut cursor, file, n_tensors, shard)?;
    let begin = (cursor.position() as u64).next_multiple_of(alignment);
    place(file, &mut tensors, begin, alignment, bytes.len() as u64)?;
    Ok(Header { metadata, tensors })
}

/// A count up to what the remaining bytes could hold; nothing is reserved for more.
fn bounded(file: &str, what: &'static str, count: u64, limit: usize) -> Result<usize, Error> {
    match usize::try_from(count) {
        Ok(count) if count <= limit => Ok(count),
        _ => Err(Error::TooMany {
            file: file.to_owned(),
            what,
            count,
            limit: limit as u64,
        }),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, file: &str, n: usize) -> Result<Metadata, Error> {
    let mut metadata = Metadata::new(file);
    for index in 0..n {
        let key = cursor.string("a metadata key", MAX_KEY_BYTES)?;
        if key.is_empty() {
            return Err(Error::EmptyKey {
                file: file.to_owned(),
                index,
            });
        }
        let key = std::str::from_utf8(key).map_err(|_| Error::KeyNotUtf8 {
            file: file.to_owned(),
            index,
        })?;
        let id = cursor.u32("a value type")?;
        let value = read_value(cursor, file, key, id)?;
        metadata.insert(key, value)?;
    }
    Ok(metadata)
}

fn alignment(metadata: &Metadata, file: &str) -> Result<u64, Error> {
    match metadata.u64("general.alignment")? {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(found) if found.is_power_of_two() && found <= MAX_ALIGNMENT => Ok(found),
        Some(found) => Err(Error::Alignment {
            file: file.to_owned(),
            found,
        }),
    }
}

/// Tensor records with offsets relative to the data section.
fn read_tensors(
    cursor: &mut Cursor<'_>,
    file: &str,
    n: usize,
    shard: usize,
) -> Result<Vec<Tensor>, Error> {
    let mut tensors = Vec::with_capacity(n);
    let mut names = HashSet::with_capacity(n);
    for index in 0..n {
        let (name, tensor) = read_tensor(cursor, file, index, shard)?;
        if !names.insert(name) {
            return Err(Error::DuplicateTensor {
                file: file.to_owned(),
                tensor: tensor.name,
            });
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// One record, and its name where it lies in the file.
fn read_tensor<'a>(
    cursor: &mut Cursor<'a>,
    file: &str,
    index: usize,
    shard: usize,
) -> Result<(&'a str, Tensor), Error> {
    let name = cursor.string("a tensor name", MAX_KEY_BYTES)?;
    if name.is_empty() || name.len() > MAX_TENSOR_NAME_BYTES {
        return Err(Error::TensorNameLength {
            file: file.to_owned(),
            index,
            len: name.len() as u64,
        });
    }
    let name = std::str::from_utf8(name).map_err(|_| Error::TensorNameNotUtf8 {
        file: file.to_owned(),
        index,
    })?;
    let (file, tensor) = (file.to_owned(), name.to_owned());
    let n_dims = cursor.u32("a dimension count")?;
    if n_dims == 0 || n_dims > MAX_DIMENSIONS {
        return Err(Error::Dimensions {
            file,
            tensor,
            n_dims,
        });
    }
    let mut shape = Vec::with_capacity(n_dims as usize);
    for _ in 0..n_dims {
        shape.push(cursor.u64("a dimension")?);
    }
    let id = cursor.u32("a tensor type")?;
    let offset = cursor.u64("a tensor offset")?;
    if shape.contains(&0) {
        return Err(Error::ZeroDimension {
            file,
            tensor,
            shape,
        });
    }
    let Some(kind) = QuantKind::from_id(id) else {
        let name = QuantKind::name_of_id(id).unwrap_or("unknown");
        return Err(Error::UnsupportedType {
            file,
            tensor,
            id,
            name,
        });
    };
    if !shape[0].is_multiple_of(kind.block_len() as u64) {
        let (row_len, block_len) = (shape[0], kind.block_len());
        return Err(Error::PartialBlock {
            file,
            tensor,
            kind: kind.name(),
            row_len,
            block_len,
        });
    }
    let Some(n_bytes) = tensor_bytes(kind, &shape) else {
        return Err(Error::Overflow {
            file,
            tensor,
            shape,
        });
    };
    let tensor = Tensor {
        name: tensor,
        kind,
        shape,
        shard,
        offset,
        n_bytes,
    };
    Ok((name, tensor))
}

/// `rows · row_bytes`, or `None` when that is beyond memory.
pub(crate) fn tensor_bytes(kind: QuantKind, shape: &[u64]) -> Option<usize> {
    let row_bytes = kind.row_bytes(usize::try_from(shape[0]).ok()?)?;
    let n_rows = shape[1..]
        .iter()
        .try_fold(1_u64, |rows, &n| rows.checked_mul(n))?;
    // The element count must be representable too: everything above works with it.
    n_rows.checked_mul(shape[0])?;
    usize::try_from(n_rows)
        .ok()?
        .checked_mul(row_bytes)
        .filter(|&bytes| isize::try_from(bytes).is_ok())
}

/// Makes offsets absolute after checking alignment, bounds and overlap.
fn place(
    file: &str,
    tensors: &mut [Tensor],
    begin: u64,
    alignment: u64,
    file_len: u64,
) -> Result<(), Error> {
    for tensor in tensors.iter_mut() {
        let name = || (file.to_owned(), tensor.name.clone());
        if !tensor.offset.is_multiple_of(alignment) {
            let (file, name) = name();
            return Err(Error::Unaligned {
                file,
                tensor: name,
                offset: tensor.offset,
                alignment,
            });
        }
        let start = begin.saturating_add(tensor.offset);
        let end = start.saturating_add(tensor.n_bytes as u64);
        if end > file_len {
            let (file, name) = name();
            return Err(Error::OutOfBounds {
                file,
                tensor: name,
                begin: start,
                end,
                file_len,
            });
        }
        tensor.offset = start;
    }
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_unstable_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].n_bytes as u64 > pair[1].offset {
            let (first, second) = (pair[0].name.clone(), pair[1].name.clone());
            return Err(Error::Overlap {
                file: file.to_owned(),
                first,
                second,
            });
        }
    }
    Ok(())
}
