//! Typed key-value metadata.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Error, Value};

/// The metadata of shard 0. Getters read any integer width and range-check it;
/// a key of another type is an error naming file, key and both types.
#[derive(Debug)]
pub struct Metadata {
    file: String,
    entries: Vec<(Arc<str>, Value)>,
    // Keys come from files: with a hash that is not seeded they could be made to collide.
    by_key: HashMap<Arc<str>, usize>,
}

impl Metadata {
    /// No entries yet; `file` is named in errors.
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            entries: Vec::new(),
            by_key: HashMap::new(),
        }
    }

    /// Adds an entry. A key that is there already is an error.
    pub(crate) fn insert(&mut self, key: &str, value: Value) -> Result<(), Error> {
        let key: Arc<str> = key.into();
        let index = self.entries.len();
        if self.by_key.insert(Arc::clone(&key), index).is_some() {
            return Err(Error::DuplicateKey {
                file: self.file.clone(),
                key: key.to_string(),
            });
        }
        self.entries.push((key, value));
        Ok(())
    }

    /// The file that the entries come from, for error messages of the rooms above.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All keys in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// The raw value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&i| &self.entries[i].1)
    }

    /// An integer of any stored width that fits u32.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Error> {
        self.get(key)
            .map(|value| self.integer(key, value, "u32"))
            .transpose()
    }

    /// An integer of any stored width that fits u64.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, Error> {
        self.get(key)
            .map(|value| self.integer(key, value, "u64"))
            .transpose()
    }

    /// A float (f32, f64 or any integer), as f32.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match *value {
            Value::F32(v) => Ok(Some(v)),
            Value::F64(v) => Ok(Some(v as f32)),
            _ => match value.integer() {
                Some(v) => Ok(Some(v as f32)),
                None => Err(self.wrong_type(key, value, "a float")),
            },
        }
    }

    /// A bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(v)) => Ok(Some(*v)),
            Some(other) => Err(self.wrong_type(key, other, "a bool")),
        }
    }

    /// A UTF-8 string.
    pub fn str(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value @ Value::Str(bytes)) => std::str::from_utf8(bytes)
                .map(Some)
                .map_err(|_| self.wrong_type(key, value, "a UTF-8 string")),
            Some(other) => Err(self.wrong_type(key, other, "a string")),
        }
    }

    /// An array of byte strings.
    pub fn byte_strings(&self, key: &str) -> Result<Option<Vec<&[u8]>>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(self.wrong_type(key, value, "an array of strings"));
        };
        match (items.strings(), items.iter().next()) {
            (Some(strings), _) => Ok(Some(strings.collect())),
            // An empty array may state any type.
            (None, None) => Ok(Some(Vec::new())),
            (None, Some(other)) => Err(self.wrong_type(key, &other, "an array of strings")),
        }
    }

    /// An array of integers that fit u32; a scalar counts as one element.
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| self.integer(key, &item, "u32"))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(value) => Ok(Some(vec![self.integer(key, value, "u32")?])),
        }
    }

    fn integer<T: TryFrom<i128>>(
        &self,
        key: &str,
        value: &Value,
        expected: &'static str,
    ) -> Result<T, Error> {
        let integer = value
            .integer()
            .ok_or_else(|| self.wrong_type(key, value, "an integer"))?;
        T::try_from(integer).map_err(|_| Error::OutOfRange {
            file: self.file.clone(),
            key: key.to_owned(),
            value: integer.to_string(),
            expected,
        })
    }

    fn wrong_type(&self, key: &str, found: &Value, expected: &'static str) -> Error {
        Error::WrongType {
            file: self.file.clone(),
            key: key.to_owned(),
            found: found.type_name(),
            expected,
        }
    }
}
