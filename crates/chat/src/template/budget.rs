//! What one rendering may spend.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Bytes that a template may produce, whatever it is given: strings, items, captured output.
const BYTES: u64 = 2 << 20;
/// Further bytes for each byte of what it is given.
const BYTES_EACH: u64 = 64;
/// Bytes that a template may look at, whatever it is given.
const WORK: u64 = 128 << 20;
/// Further bytes for each byte of what it is given.
const WORK_EACH: u64 = 512;
/// What an item of a list or a member of a map costs, in bytes.
pub(super) const NODE: u64 = 48;
/// Most items in one value, items of items included, whatever the template is given.
const NODES: u64 = 1 << 17;
/// Deepest nesting of a value. JSON of clients nests 128-fold at most.
const DEPTH: usize = 192;

/// What is left for the rendering of one prompt.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    work: u64,
    nodes: u64,
}

/// How large a value is, shared parts counted as often as they occur.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    /// Bytes of its strings.
    pub(super) text: u64,
    /// Values in it, itself included.
    pub(super) nodes: u64,
    /// How deep they nest: 0 for what holds none.
    pub(super) depth: u64,
}

impl Size {
    /// Bytes that a copy of the value may need.
    pub(super) fn bytes(self) -> u64 {
        self.text.saturating_add(self.nodes.saturating_mul(NODE))
    }
}

impl Budget {
    /// A budget for a context of `bytes` bytes.
    fn new(bytes: u64) -> Self {
        Self {
            bytes: BYTES.saturating_add(bytes.saturating_mul(BYTES_EACH)),
            work: WORK.saturating_add(bytes.saturating_mul(WORK_EACH)),
            nodes: NODES.saturating_add(bytes),
        }
    }
}

/// Opens the budget; once a rendering only.
pub(super) fn open(state: &mut State<'_, '_>, bytes: u64) -> Result<(), Error> {
    state.get_or_insert_extension_with(|| Budget::new(bytes));
    Ok(())
}

fn budget<'a>(state: &'a mut State<'_, '_>) -> &'a mut Budget {
    state.get_or_insert_extension_with(|| Budget::new(0))
}

/// Pays for `bytes` that are about to be produced.
pub(super) fn produce(state: &mut State<'_, '_>, bytes: u64) -> Result<(), Error> {
    let budget = budget(state);
    budget.bytes = budget
        .bytes
        .checked_sub(bytes)
        .ok_or_else(|| refusal("the template produces too much text"))?;
    Ok(())
}

/// Pays for `bytes` that are about to be looked at.
pub(super) fn look_at(state: &mut State<'_, '_>, bytes: u64) -> Result<(), Error> {
    let budget = budget(state);
    budget.work = budget
        .work
        .checked_sub(bytes)
        .ok_or_else(|| refusal("the template takes too long"))?;
    Ok(())
}

/// Measures a value and pays for looking at it.
pub(super) fn measure(state: &mut State<'_, '_>, value: &Value) -> Result<Size, Error> {
    let mut size = Size::default();
    let most = budget(state).nodes;
    add(value, 0, most, &mut size)?;
    look_at(state, size.bytes())?;
    Ok(size)
}

fn add(value: &Value, depth: usize, most: u64, size: &mut Size) -> Result<(), Error> {
    size.nodes += 1;
    size.depth = size.depth.max(depth as u64);
    if size.nodes > most {
        return Err(refusal("the template makes a value of too many items"));
    }
    if let Some(bytes) = value.as_bytes() {
        size.text = size.text.saturating_add(bytes.len() as u64);
        return Ok(());
    }
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    if depth >= DEPTH {
        return Err(refusal("the template nests values too deep"));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in object.try_iter().into_iter().flatten() {
                add(&item, depth + 1, most, size)?;
            }
        }
        ValueKind::Map => {
            for (key, item) in object.try_iter_pairs().into_iter().flatten() {
                add(&key, depth + 1, most, size)?;
                add(&item, depth + 1, most, size)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The length of a string in bytes or of a list in items, without a look at the items.
pub(super) fn shallow(value: &Value) -> Size {
    match value.as_bytes() {
        Some(bytes) => Size {
            text: bytes.len() as u64,
            nodes: 1,
            depth: 0,
        },
        None => Size {
            text: 0,
            nodes: value
                .len()
                .map_or(1, |items| (items as u64).saturating_add(1)),
            depth: 0,
        },
    }
}

/// Refuses a namespace, a loop or a macro as a part of another value: values that change may
/// contain themselves.
pub(super) fn refuse_live(value: &Value) -> Result<(), Error> {
    let live = value.as_object().is_some_and(|object| {
        let name = object.type_name();
        ["::Namespace", "::Loop", "::Macro", "::Module"]
            .iter()
            .any(|live| name.ends_with(live))
    });
    if live {
        return Err(refusal(
            "the template keeps a namespace, a loop or a macro in a value",
        ));
    }
    Ok(())
}

/// An error of the template's own making.
pub(super) fn refusal(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}
