//! OpenAI's wire types and their translation to the types of the rooms below.
//!
//! Only these types are (de)serialised; unknown fields are ignored, types are
//! read as leniently as real clients write them.

pub(crate) mod lenient;
pub(crate) mod messages;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod sampling;
