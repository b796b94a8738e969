//! Compiled templates, made to pay.
//!
//! Fuel bounds the steps of a template but not what a step does: forty doublings of a string are
//! few steps. So before every step that may produce much, look at much or nest values, a call is
//! put in that pays for it from the budget of the rendering.

use std::collections::BTreeMap;

use minijinja::machinery::{Instruction, Instructions};
use minijinja::value::{Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State};

use super::budget::{self, NODE, measure, produce, refusal, refuse_live, shallow};

/// No cached filter.
const UNCACHED: u8 = !0;
/// What a macro or a closure occupies, in bytes; none is freed before the end.
const MACRO_BYTES: u64 = 1024;

// Names of the payments. Templates may spell them, but win nothing by it.
const OPEN: &str = "perigee.open";
const SPEND: &str = "perigee.spend";
const JOIN: &str = "perigee.join";
const APPEND: &str = "perigee.append";
const SCAN: &str = "perigee.scan";
const INDEX: &str = "perigee.index";
const BUILT: &str = "perigee.built";
const ARGUMENTS: &str = "perigee.arguments";
const WALK: &str = "perigee.walk";
const RECURSE: &str = "perigee.recurse";
const KEEP: &str = "perigee.keep";
const TIMES: &str = "perigee.times";
const CUT: &str = "perigee.cut";

/// Adds the payments to an environment.
pub(super) fn register(environment: &mut Environment<'static>) {
    environment.add_filter(OPEN, budget::open);
    environment.add_filter(SPEND, produce);
    environment.add_filter(JOIN, join);
    environment.add_filter(APPEND, append);
    environment.add_filter(SCAN, scan);
    environment.add_filter(INDEX, index);
    environment.add_filter(BUILT, built);
    environment.add_filter(ARGUMENTS, named);
    environment.add_filter(WALK, walk);
    environment.add_filter(RECURSE, recurse);
    environment.add_filter(KEEP, keep);
    environment.add_filter(TIMES, times);
    environment.add_filter(CUT, cut);
}

/// The value is about to be printed, into the prompt or a string.
fn join(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    let bytes = match value.as_bytes() {
        Some(text) => text.len() as u64,
        // Strings within lists are printed with escapes.
        None if value.as_object().is_some() => measure(state, value)?.bytes().saturating_mul(6),
        None => NODE,
    };
    produce(state, bytes)?;
    Ok(value.clone())
}

/// The value is about to be one side of a sum.
fn append(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    produce(state, shallow(value).bytes())?;
    sized(state, value)
}

/// The value is about to be compared or searched.
fn scan(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    measure(state, value)?;
    Ok(value.clone())
}

/// The value is about to be indexed: maps and lists do that at once.
fn index(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.as_bytes().is_some() || value.kind() == ValueKind::Iterable {
        budget::look_at(state, shallow(value).bytes())?;
    }
    Ok(value.clone())
}

/// The value is a list or a map that was just made.
fn built(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Map {
        let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
        for (key, item) in pairs.into_iter().flatten() {
            refuse_live(&key)?;
            refuse_live(&item)?;
        }
    } else {
        for item in value.try_iter()?.checked() {
            refuse_live(&item?)?;
        }
    }
    arguments(state, value)
}

/// The value is a map of named arguments that was just made: unlike others it may hold a namespace.
fn named(state: &mut State<'_, '_>, value: ValueOrKwargs) -> Result<Value, Error> {
    arguments(state, &value.into_value())
}

fn arguments(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    measure(state, value)?;
    produce(state, shallow(value).bytes())?;
    Ok(value.clone())
}

/// The value is about to be iterated over.
fn walk(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    // The characters of a string become items; those of a list are there already.
    if let Some(text) = value.as_bytes() {
        produce(state, (text.len() as u64).saturating_mul(NODE))?;
    }
    sized(state, value)
}

/// The value is about to be passed to `name`, which may be a loop that begins anew.
fn recurse(state: &mut State<'_, '_>, value: ValueOrKwargs, name: &str) -> Result<Value, Error> {
    let value = value.into_value();
    let is_loop = state.lookup(name).is_some_and(|callee| {
        callee
            .as_object()
            .is_some_and(|object| object.type_name().ends_with("::Loop"))
    });
    if is_loop {
        walk(state, &value)
    } else {
        Ok(value)
    }
}

/// The value is about to be stored in a namespace.
fn keep(value: &Value) -> Result<Value, Error> {
    refuse_live(value)?;
    Ok(value.clone())
}

/// A list instead of something lazy whose length is not known.
fn sized(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Iterable && value.len().is_none() {
        return listed(state, value);
    }
    Ok(value.clone())
}

/// A list instead of something lazy: lazy values that refer to lazy values nest without end.
pub(super) fn listed(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.kind() != ValueKind::Iterable {
        return Ok(value.clone());
    }
    let mut items = Vec::new();
    for item in value.try_iter()?.checked() {
        produce(state, NODE)?;
        items.push(item?);
    }
    Ok(Value::from(items))
}

/// `left * right`.
fn times(state: &mut State<'_, '_>, left: &Value, right: &Value) -> Result<Value, Error> {
    if left.is_integer()
        && right.is_integer()
        && let (Some(left), Some(right)) = (left.as_i64(), right.as_i64())
        && let Some(product) = left.checked_mul(right)
    {
        return Ok(Value::from(product));
    }
    for (value, count) in [(left, right), (right, left)] {
        if value.is_number() {
            continue;
        }
        let size = shallow(value);
        let count = count.as_i64().unwrap_or(0).unsigned_abs();
        produce(state, size.bytes().saturating_mul(count))?;
    }
    let left = listed(state, left)?;
    let right = listed(state, right)?;
    operators(state, "left * right", &[("left", &left), ("right", &right)])
}

/// `value[start:stop:step]`.
fn cut(
    state: &mut State<'_, '_>,
    value: &Value,
    start: &Value,
    stop: &Value,
    step: &Value,
) -> Result<Value, Error> {
    // What ends before it begins is empty: the interpreter's arithmetic would overflow on it.
    let length = value.len().and_then(|length| i64::try_from(length).ok());
    let empty = Value::from(0);
    let (start, stop, step) = match (length, step.as_i64()) {
        (Some(length), Some(back)) if back < 0 => {
            let from_end = |at: i64| {
                if at < 0 {
                    at.saturating_add(length)
                } else {
                    at
                }
            };
            let first = start
                .as_i64()
                .map_or(length, from_end)
                .clamp(0, (length - 1).max(0));
            let last = stop.as_i64().map_or(0, from_end).max(0);
            if length == 0 || first < last {
                (&empty, &empty, &Value::from(1))
            } else {
                (start, stop, step)
            }
        }
        _ => (start, stop, step),
    };
    produce(state, shallow(value).bytes())?;
    let value = listed(state, value)?;
    // Far ends mean the same, and the arithmetic on them cannot overflow either.
    let clamp = |value: &Value| match value.as_i64() {
        Some(at) => Value::from(at.clamp(-(1 << 40), 1 << 40)),
        None => value.clone(),
    };
    operators(
        state,
        "value[start:stop:step]",
        &[
            ("value", &value),
            ("start", &clamp(start)),
            ("stop", &clamp(stop)),
            ("step", &clamp(step)),
        ],
    )
}

/// Evaluates an operator that the interpreter alone can compute.
fn operators(
    state: &State<'_, '_>,
    expression: &'static str,
    operands: &[(&'static str, &Value)],
) -> Result<Value, Error> {
    let context: BTreeMap<&str, Value> = operands
        .iter()
        .map(|&(name, value)| (name, value.clone()))
        .collect();
    state
        .env()
        .compile_expression(expression)?
        .eval(Value::from(context))
}

/// The instructions with payments put in; the error names what templates may not do.
pub(super) fn instrument<'a>(
    compiled: &Instructions<'a>,
    given: u64,
) -> Result<Instructions<'a>, Error> {
    let mut paid = Instructions::new(compiled.name(), compiled.source());
    // Where each old instruction, with what goes before it, begins now.
    let mut places = Vec::new();
    paid.add(Instruction::LoadConst(Value::from(given)));
    paid.add(apply(OPEN, 1));
    paid.add(Instruction::DiscardTop);
    let old = (0..).map_while(|at| Some((at, compiled.get(at)?)));
    for (at, instruction) in old {
        let mut after = None;
        let mut add = |instruction| match (compiled.get_span(at), compiled.get_line(at)) {
            (Some(span), _) => paid.add_with_span(instruction, span),
            (None, Some(line)) => {
                paid.add_with_line(instruction, line.try_into().unwrap_or(u16::MAX))
            }
            (None, None) => paid.add(instruction),
        };
        let before = before(instruction)?;
        let mut instruction = instruction.clone();
        match instruction {
            Instruction::Mul => instruction = apply(TIMES, 2),
            Instruction::Slice => instruction = apply(CUT, 4),
            Instruction::BuildKwargs(_) | Instruction::MergeKwargs(_) => {
                after = Some(apply(ARGUMENTS, 1));
            }
            Instruction::BuildList(_) | Instruction::BuildTuple(_) | Instruction::BuildMap(_) => {
                after = Some(apply(BUILT, 1));
            }
            _ => {}
        }
        let mut place = None;
        for instruction in before.into_iter().chain([instruction]).chain(after) {
            let now = add(instruction);
            place.get_or_insert(now);
        }
        places.extend(place);
    }
    let end = paid.add(Instruction::Return);
    for at in 0..end {
        use Instruction as I;
        if let Some(
            I::Iterate(target)
            | I::Jump(target)
            | I::JumpIfFalse(target)
            | I::JumpIfFalseOrPop(target)
            | I::JumpIfTrueOrPop(target)
            | I::BuildMacro(_, target, _),
        ) = paid.get_mut(at)
        {
            *target = places.get(*target as usize).copied().unwrap_or(end);
        }
    }
    Ok(paid)
}

/// What must be paid before an instruction.
fn before<'a>(instruction: &Instruction<'a>) -> Result<Vec<Instruction<'a>>, Error> {
    use Instruction as I;
    let spend = |bytes: u64| {
        vec![
            I::LoadConst(Value::from(bytes)),
            apply(SPEND, 1),
            I::DiscardTop,
        ]
    };
    let both = |payment| vec![I::Swap, apply(payment, 1), I::Swap, apply(payment, 1)];
    Ok(match instruction {
        I::EmitRaw(text) => spend(text.len() as u64),
        I::BuildMacro(..) | I::Enclose(_) => spend(MACRO_BYTES),
        I::Emit => vec![apply(JOIN, 1)],
        I::StringConcat => both(JOIN),
        I::Add => both(APPEND),
        I::Eq | I::Ne | I::Gt | I::Gte | I::Lt | I::Lte | I::In | I::CompareAndPreserve(_) => {
            both(SCAN)
        }
        I::GetItem => vec![I::Swap, apply(INDEX, 1), I::Swap, apply(SCAN, 1)],
        I::SetAttr(_) => vec![I::Swap, apply(KEEP, 1), I::Swap],
        I::PushLoop(_) | I::UnpackList(_) | I::FastRecurse => vec![apply(WALK, 1)],
        I::CallFunction(name, Some(1)) => {
            vec![I::LoadConst(Value::from(*name)), apply(RECURSE, 2)]
        }
        I::PerformTest(name, Some(1), _) if !is_cheap(name) => vec![apply(SCAN, 1)],
        I::PerformTest(name, Some(2), _) if !is_cheap(name) => both(SCAN),
        I::CallMethod("changed", Some(2)) => vec![apply(SCAN, 1)],
        // Without arguments the interpreter would divide by zero.
        I::CallMethod("changed", _) | I::CallMethod("cycle", Some(1)) => {
            return Err(refusal(
                "loop.changed takes one value, loop.cycle at least one",
            ));
        }
        I::UnpackLists(_) => {
            return Err(refusal("arguments and lists cannot be unpacked with *"));
        }
        _ => Vec::new(),
    })
}

fn apply<'a>(name: &'static str, arguments: u16) -> Instruction<'a> {
    Instruction::ApplyFilter(name, Some(arguments), UNCACHED)
}

/// Tests that look at a value's type or at a number.
fn is_cheap(test: &str) -> bool {
    [
        "boolean",
        "defined",
        "divisibleby",
        "escaped",
        "even",
        "false",
        "filter",
        "float",
        "int",
        "integer",
        "iterable",
        "mapping",
        "none",
        "number",
        "odd",
        "safe",
        "sequence",
        "string",
        "test",
        "true",
        "undefined",
    ]
    .contains(&test)
}
