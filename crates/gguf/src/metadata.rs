//! Typed key-value metadata.
use crate::Error;

/// A metadata value as stored.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value { U8(u8), I8(i8), U16(u16), I16(i16), U32(u32), I32(i32), U64(u64), I64(i64), F32(f32), F64(f64), Bool(bool), Str(Vec<u8>), Array(Vec<Value>) }

/// The metadata of shard 0. Getters read any integer width and range-check it;
/// a key of another type is an error naming file, key and both types.
#[derive(Debug)]
pub struct Metadata {}
impl Metadata {
    /// All keys in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> { std::iter::empty() }
    /// The raw value.
    pub fn get(&self, _key: &str) -> Option<&Value> { todo!() }
    /// An integer of any stored width that fits u32.
    pub fn u32(&self, _key: &str) -> Result<Option<u32>, Error> { todo!() }
    /// An integer of any stored width that fits u64.
    pub fn u64(&self, _key: &str) -> Result<Option<u64>, Error> { todo!() }
    /// A float (f32 or f64, or any integer).
    pub fn f32(&self, _key: &str) -> Result<Option<f32>, Error> { todo!() }
    /// A bool.
    pub fn bool(&self, _key: &str) -> Result<Option<bool>, Error> { todo!() }
    /// A UTF-8 string.
    pub fn str(&self, _key: &str) -> Result<Option<&str>, Error> { todo!() }
    /// Array of byte strings (token texts are not guaranteed to be UTF-8).
    pub fn byte_strings(&self, _key: &str) -> Result<Option<Vec<&[u8]>>, Error> { todo!() }
    /// Array of integers that fit u32, or a scalar as one element.
    pub fn u32s(&self, _key: &str) -> Result<Option<Vec<u32>>, Error> { todo!() }
}
