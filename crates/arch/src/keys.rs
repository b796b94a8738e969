//! Reading hyper-parameters: by name under the architecture's prefix, range-checked.

use perigee_gguf::{Metadata, Value};

use crate::Error;

/// The number of layers, itself never a list.
const LAYERS: &str = "block_count";

/// The keys `deepseek2.*` of a file.
pub(crate) struct Keys<'a> {
    metadata: &'a Metadata,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(metadata: &'a Metadata) -> Self {
        Self { metadata }
    }

    fn full(name: &str) -> String {
        format!("deepseek2.{name}")
    }

    fn file(&self) -> String {
        self.metadata.file().to_owned()
    }

    /// A count from `low` to `high`, if the key is there. A per-layer array must be uniform.
    pub(crate) fn count(
        &self,
        name: &str,
        low: usize,
        high: usize,
    ) -> Result<Option<usize>, Error> {
        let key = Self::full(name);
        let values = match self.metadata.get(&key) {
            None => return Ok(None),
            Some(Value::Array(values)) if name != LAYERS => {
                self.check_per_layer(name, values.len())?;
                self.metadata.u32s(&key)?.unwrap_or_default()
            }
            Some(_) => self.metadata.u32(&key)?.into_iter().collect(),
        };
        let Some(&value) = values.first() else {
            return Ok(None);
        };
        if values.iter().any(|&other| other != value) {
            return Err(self.range(
                name,
                "a list of different values",
                "it must be the same in all layers",
            ));
        }
        if !(low..=high).contains(&(value as usize)) {
            let rule = "it is outside the range of any model of the family";
            return Err(self.range(name, &value.to_string(), rule));
        }
        Ok(Some(value as usize))
    }

    /// A list has one value for each layer, neither less nor more.
    fn check_per_layer(&self, name: &str, len: usize) -> Result<(), Error> {
        let n_layers = self.metadata.u32(&Self::full(LAYERS))?;
        let n_layers = n_layers.ok_or_else(|| self.missing(LAYERS))?;
        if len == 0 || len as u64 != u64::from(n_layers) {
            let rule = "one value for each layer is needed";
            return Err(self.range(name, &format!("a list of {len}"), rule));
        }
        Ok(())
    }

    /// As [`Keys::count`], demanded.
    pub(crate) fn need(&self, name: &str, low: usize, high: usize) -> Result<usize, Error> {
        self.count(name, low, high)?
            .ok_or_else(|| self.missing(name))
    }

    /// A finite float for which `valid` holds, if the key is there.
    pub(crate) fn float(
        &self,
        name: &str,
        rule: &'static str,
        valid: fn(f32) -> bool,
    ) -> Result<Option<f32>, Error> {
        let Some(value) = self.metadata.f32(&Self::full(name))? else {
            return Ok(None);
        };
        if !value.is_finite() || !valid(value) {
            return Err(self.range(name, &value.to_string(), rule));
        }
        Ok(Some(value))
    }

    /// A bool, false when absent.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.metadata.bool(&Self::full(name))?.unwrap_or(false))
    }

    /// A string, if the key is there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        Ok(self.metadata.str(&Self::full(name))?)
    }

    pub(crate) fn missing(&self, name: &str) -> Error {
        Error::MissingKey {
            file: self.file(),
            key: Self::full(name),
        }
    }

    pub(crate) fn range(&self, name: &str, value: &str, rule: &'static str) -> Error {
        Error::Range {
            file: self.file(),
            key: Self::full(name),
            value: value.to_owned(),
            rule,
        }
    }
}
