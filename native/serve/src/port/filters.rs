//! From the filter of a request to the engine's, with every limit checked: `lookalike.wire.filters` in Rust.

use bytes::Bytes;
use lookalike_core::filter::{Condition, Filter};

use super::text::short_number;
use crate::failure::Failure;
use crate::v1;
use crate::v1::condition::Test;
use crate::wire::decoded;

const MAX_BYTES: usize = 256 * 1024;
const MAX_CONDITIONS: usize = 64;
const MAX_VALUES: usize = 1000;
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 1024;
const MAX_CATEGORY_LEVELS: usize = 3;
const MAX_CATEGORY_NAME_BYTES: usize = 256;

/// The filter of a request field, which is not decoded if it is too large.
///
/// # Errors
///
/// It is none, too large or has too many conditions; a condition has no test, or a name, path, value or bound out of its
/// limits.
pub fn filter_of(encoded: Bytes, field: &str) -> Result<Filter, Failure> {
    let size = encoded.len();
    if size > MAX_BYTES {
        return Err(out_of_range(
            field,
            &format!("has {size} bytes, at most {MAX_BYTES} are allowed together"),
        ));
    }
    let message: v1::Filter = decoded(encoded)?;
    let count = message.all.len() + message.any.len() + message.none.len();
    if count > MAX_CONDITIONS {
        let problem = format!("holds {count} conditions, at most {MAX_CONDITIONS} are allowed");
        return Err(out_of_range(field, &problem));
    }
    let group = |name: &str, conditions: &[v1::Condition]| -> Result<Vec<Condition>, Failure> {
        let conditions = conditions.iter().enumerate();
        conditions.map(|(at, one)| condition(one, &format!("{field}.{name}[{at}]"))).collect()
    };
    let (all, any) = (group("all", &message.all)?, group("any", &message.any)?);
    let none = group("none", &message.none)?;
    Filter::new(all, any, none).map_err(|error| Failure::invalid(error.to_string()).at(field.to_owned()))
}

fn condition(message: &v1::Condition, field: &str) -> Result<Condition, Failure> {
    match &message.test {
        Some(Test::InCategory(path)) => {
            category(path, &format!("{field}.in_category")).map(Condition::InCategory)
        }
        Some(Test::InCategories(list)) => categories(list, &format!("{field}.in_categories.paths")),
        Some(Test::Equals(equals)) => {
            check_name(&equals.name, &format!("{field}.equals.name"))?;
            check_size(&equals.value, &format!("{field}.equals.value"))?;
            Ok(Condition::Equals { name: equals.name.clone(), value: equals.value.clone() })
        }
        Some(Test::In(list)) => one_of(list, &format!("{field}.in")),
        Some(Test::Range(bounds)) => range(bounds, &format!("{field}.range")),
        None => {
            Err(missing(field, "has no test: set one of in_category, in_categories, equals, in and range"))
        }
    }
}

fn category(path: &v1::CategoryPath, field: &str) -> Result<Vec<String>, Failure> {
    let names = &path.names;
    let problem = if names.len() > MAX_CATEGORY_LEVELS {
        format!("has {} levels, at most {MAX_CATEGORY_LEVELS} are allowed", names.len())
    } else if names.iter().any(String::is_empty) {
        "has an empty name: leave out missing lower levels, and never leave a gap".to_owned()
    } else if names.iter().any(|name| name.len() > MAX_CATEGORY_NAME_BYTES) {
        format!("has a name of more than {MAX_CATEGORY_NAME_BYTES} bytes")
    } else if names.is_empty() {
        return Err(missing(field, "names no category"));
    } else {
        return Ok(names.clone());
    };
    Err(failure(field, &problem).because("CATEGORY_INVALID"))
}

fn categories(message: &v1::CategoryPaths, field: &str) -> Result<Condition, Failure> {
    check_count(message.paths.len(), field)?;
    let paths = message.paths.iter().enumerate();
    let paths: Result<_, _> = paths.map(|(at, path)| category(path, &format!("{field}[{at}]"))).collect();
    Ok(Condition::InCategories(paths?))
}

fn one_of(message: &v1::AttributeIn, field: &str) -> Result<Condition, Failure> {
    check_name(&message.name, &format!("{field}.name"))?;
    let values = format!("{field}.values");
    check_count(message.values.len(), &values)?;
    for (at, value) in message.values.iter().enumerate() {
        check_size(value, &format!("{values}[{at}]"))?;
    }
    Ok(Condition::In { name: message.name.clone(), values: message.values.clone() })
}

fn range(message: &v1::AttributeRange, field: &str) -> Result<Condition, Failure> {
    check_name(&message.name, &format!("{field}.name"))?;
    let v1::AttributeRange { name, min, max } = message.clone();
    for (bound, name) in [(min, "min"), (max, "max")] {
        if bound.is_some_and(f64::is_nan) {
            return Err(out_of_range(&format!("{field}.{name}"), "is NaN, which no value compares with"));
        }
    }
    if let (Some(low), Some(high)) = (min, max)
        && low > high
    {
        let (low, high) = (short_number(low), short_number(high));
        return Err(out_of_range(field, &format!("has a min of {low}, which is above its max of {high}")));
    }
    Ok(Condition::Range { name, min, max })
}

fn check_count(count: usize, field: &str) -> Result<(), Failure> {
    if count == 0 {
        return Err(missing(field, "is empty"));
    }
    if count > MAX_VALUES {
        return Err(out_of_range(field, &format!("holds {count} values, at most {MAX_VALUES} are allowed")));
    }
    Ok(())
}

fn check_name(name: &str, field: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(missing(field, "is empty: name an attribute"));
    }
    check_bytes(name, MAX_NAME_BYTES, field)
}

fn check_size(value: &str, field: &str) -> Result<(), Failure> {
    check_bytes(value, MAX_VALUE_BYTES, field)
}

fn check_bytes(text: &str, most: usize, field: &str) -> Result<(), Failure> {
    if text.len() > most {
        return Err(out_of_range(field, &format!("has {} bytes, at most {most} are allowed", text.len())));
    }
    Ok(())
}

fn failure(field: &str, problem: &str) -> Failure {
    Failure::invalid(format!("{field} {problem}")).at(field.to_owned())
}

fn missing(field: &str, problem: &str) -> Failure {
    failure(field, problem).because("FIELD_MISSING")
}

fn out_of_range(field: &str, problem: &str) -> Failure {
    failure(field, problem).because("FIELD_OUT_OF_RANGE")
}
