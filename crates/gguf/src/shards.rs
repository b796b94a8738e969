//! Split models: which files belong together.

use std::fs;
use std::path::{Path, PathBuf};

use crate::limits::MAX_SHARDS;
use crate::{Error, Metadata};

/// What `split.*` says of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// 0-based.
    pub(crate) number: u16,
    pub(crate) count: u16,
    /// `split.tensors.count`, if present.
    pub(crate) n_tensors: Option<u64>,
}

impl Split {
    /// `None` for a file that is a whole model.
    pub(crate) fn of(metadata: &Metadata) -> Result<Option<Self>, Error> {
        let Some(count) = metadata.u64("split.count")? else {
            return Ok(None);
        };
        if count <= 1 {
            return Ok(None);
        }
        let file = metadata.file().to_owned();
        let count = u16::try_from(count)
            .ok()
            .filter(|&count| count <= MAX_SHARDS);
        let Some(count) = count else {
            let found = metadata.u64("split.count")?.unwrap_or(0);
            return Err(Error::ShardCount { file, found });
        };
        let number = metadata.u64("split.no")?.unwrap_or(0);
        let number = u16::try_from(number)
            .ok()
            .filter(|&number| number < count)
            .ok_or_else(|| Error::OutOfRange {
                file,
                key: "split.no".to_owned(),
                value: number.to_string(),
                expected: "the shard count",
            })?;
        Ok(Some(Self {
            number,
            count,
            n_tensors: metadata.u64("split.tensors.count")?,
        }))
    }
}

/// The path of another shard of the model that `path` is shard `split.number` of.
pub(crate) fn sibling(path: &Path, split: Split, number: u16) -> Result<PathBuf, Error> {
    let own = suffix(split.number, split.count);
    let prefix = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix(&own));
    let Some(prefix) = prefix else {
        let file = path.display().to_string();
        return Err(Error::ShardName {
            file,
            number: split.number + 1,
            count: split.count,
        });
    };
    Ok(path.with_file_name(format!("{prefix}{}", suffix(number, split.count))))
}

/// `-00001-of-00012.gguf`: the number in names is 1-based.
pub(crate) fn suffix(number: u16, count: u16) -> String {
    format!("-{:05}-of-{count:05}.gguf", u32::from(number) + 1)
}

/// The one model in a folder: a single file, or the first shard.
pub(crate) fn in_folder(folder: &Path) -> Result<PathBuf, Error> {
    let wrap = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrap)? {
        let path = entry.map_err(wrap)?.path();
        let is_gguf = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        // Vision projectors lie beside the models that they belong to.
        let projector = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("mmproj"));
        if is_gguf && !projector && !is_later_shard(&path) {
            found.push(path);
        }
    }
    found.sort();
    match found.len() {
        0 => Err(Error::NoModel {
            folder: folder.to_owned(),
        }),
        1 => Ok(found.remove(0)),
        _ => {
            let names = found
                .iter()
                .filter_map(|path| path.file_name())
                .map(|name| name.to_string_lossy());
            let found = names.collect::<Vec<_>>().join(", ");
            Err(Error::SeveralModels {
                folder: folder.to_owned(),
                found,
            })
        }
    }
}

/// Whether a name ends like the second or a later shard.
fn is_later_shard(path: &Path) -> bool {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
        return false;
    };
    let Some((head, count)) = stem.rsplit_once("-of-") else {
        return false;
    };
    let Some((_, number)) = head.rsplit_once('-') else {
        return false;
    };
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(number) && digits(count) && number != "00001"
}
