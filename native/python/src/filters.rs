//! From the dataclasses of `hasher.filters` to the engine's filters and attributes.

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::filter::{Condition, Filter};
use pyo3::exceptions::{PyUnicodeEncodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};

use crate::to_py;

/// A condition of `lookalike.filters`, recognised by its fields.
#[derive(FromPyObject)]
enum PyCondition {
    Equals { name: String, value: String },
    In { name: String, values: Vec<String> },
    Range { name: String, min: Option<f64>, max: Option<f64> },
    InCategory { path: Vec<String> },
    InCategories { paths: Vec<Vec<String>> },
}

/// A filter, or a condition that stands for a filter of just that.
#[derive(FromPyObject)]
enum PyFilter {
    Filter {
        all: Vec<PyCondition>,
        any: Vec<PyCondition>,
        none: Vec<PyCondition>,
    },
    #[pyo3(transparent)]
    Condition(PyCondition),
}

impl From<PyCondition> for Condition {
    fn from(condition: PyCondition) -> Self {
        match condition {
            PyCondition::Equals { name, value } => Self::Equals { name, value },
            PyCondition::In { name, values } => Self::In { name, values },
            PyCondition::Range { name, min, max } => Self::Range { name, min, max },
            PyCondition::InCategory { path } => Self::InCategory(path),
            PyCondition::InCategories { paths } => Self::InCategories(paths),
        }
    }
}

/// Reads a `Filter` or a condition.
pub fn filter_from_py(value: &Bound<'_, PyAny>) -> PyResult<Filter> {
    let own = |conditions: Vec<PyCondition>| conditions.into_iter().map(Condition::from).collect();
    let filter = match value.extract::<PyFilter>() {
        Ok(PyFilter::Filter { all, any, none }) => Filter::new(own(all), own(any), own(none)),
        Ok(PyFilter::Condition(condition)) => Filter::new(vec![condition.into()], vec![], vec![]),
        Err(_) => {
            return Err(PyValueError::new_err(format!(
                "filter must be a Filter or one of Equals, In, InCategories, InCategory and Range, not {}",
                value.get_type().name()?
            )));
        }
    };
    filter.map_err(to_py)
}

/// Reads an `Attributes` of `items` items.
pub fn attributes_from_py(value: &Bound<'_, PyAny>, items: usize) -> PyResult<Vec<ItemAttributes>> {
    let (Ok(categories), Ok(values)) = (value.getattr("categories"), value.getattr("values")) else {
        let kind = value.get_type().name()?;
        return Err(PyValueError::new_err(format!("attributes must be an Attributes, not {kind}")));
    };
    let mut paths = vec![Vec::new(); items];
    if !categories.is_none() {
        read_categories(&categories, &mut paths)?;
    }
    let mut rows = vec![Vec::new(); items];
    if let Ok(columns) = values.cast::<PyMapping>() {
        for entry in columns.items()? {
            let (name, column) = entry.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let text = name.extract::<String>();
            let text = text.map_err(|error| wrong("values", "named by text", &name, Some(&error)))?;
            read_column(&text, &column, &mut rows)?;
        }
    } else {
        read_rows(&values, &mut rows)?;
    }
    if rows.iter().flatten().any(|(name, _)| name.is_empty()) {
        return Err(PyValueError::new_err("attributes.values has an attribute without a name"));
    }
    let items = paths.into_iter().zip(rows);
    items.map(|(path, values)| ItemAttributes::new(path, values).map_err(to_py)).collect()
}

fn read_categories(column: &Bound<'_, PyAny>, paths: &mut [Vec<String>]) -> PyResult<()> {
    check_length("categories", column, paths.len())?;
    for (row, (path, entry)) in paths.iter_mut().zip(column.try_iter()?).enumerate() {
        let entry = entry?;
        // A text is a sequence of texts too, but never meant as one.
        match entry.extract::<Vec<String>>() {
            Ok(names) if !entry.is_instance_of::<PyString>() && !names.iter().any(String::is_empty) => {
                *path = names;
            }
            other => {
                let (place, right) = (format!("categories[{row}]"), "a sequence of non-empty names");
                return Err(wrong(&place, right, &entry, other.err().as_ref()));
            }
        }
    }
    Ok(())
}

type Values = Vec<(String, String)>;

fn read_column(name: &str, column: &Bound<'_, PyAny>, rows: &mut [Values]) -> PyResult<()> {
    check_length(&format!("values[{name:?}]"), column, rows.len())?;
    for (at, (row, value)) in rows.iter_mut().zip(column.try_iter()?).enumerate() {
        let value = value?;
        match value.extract::<Option<String>>() {
            Ok(Some(value)) => row.push((name.to_owned(), value)),
            Ok(None) => {}
            Err(error) => {
                let place = format!("values[{name:?}][{at}]");
                return Err(wrong(&place, "text or None", &value, Some(&error)));
            }
        }
    }
    Ok(())
}

fn read_rows(mappings: &Bound<'_, PyAny>, rows: &mut [Values]) -> PyResult<()> {
    check_length("values", mappings, rows.len())?;
    for (at, (row, mapping)) in rows.iter_mut().zip(mappings.try_iter()?).enumerate() {
        let mapping = mapping?;
        let values = mapping.cast::<PyMapping>().ok().map(|mapping| mapping.items()).transpose()?;
        match values.map(|values| values.extract::<Values>()) {
            Some(Ok(values)) => *row = values,
            other => {
                let (place, error) = (format!("values[{at}]"), other.and_then(Result::err));
                return Err(wrong(&place, "a mapping of text to text", &mapping, error.as_ref()));
            }
        }
    }
    Ok(())
}

fn wrong(place: &str, right: &str, value: &Bound<'_, PyAny>, cause: Option<&PyErr>) -> PyErr {
    let found = value.repr().map_or_else(|_| "something else".to_owned(), |text| text.to_string());
    let surrogates = cause.is_some_and(|error| error.is_instance_of::<PyUnicodeEncodeError>(value.py()));
    let why = if surrogates { ": lone surrogates are not text" } else { "" };
    PyValueError::new_err(format!("attributes.{place} must be {right}, not {found}{why}"))
}

fn check_length(what: &str, values: &Bound<'_, PyAny>, items: usize) -> PyResult<()> {
    let length = values.len()?;
    if length == items {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "attributes.{what} has {length} entries, but there are {items} vectors"
    )))
}
