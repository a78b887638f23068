//! What an item must be like to be found: conditions on its category and attributes.

use crate::error::{Result, invalid};

/// Most conditions of one filter.
pub const MAX_CONDITIONS: usize = 64;

/// A test on one item. An item without the attribute fails it.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The item's category is this path, from the root down, or lies below it.
    InCategory(Vec<String>),
    /// The item's category is one of these paths, or lies below one.
    InCategories(Vec<Vec<String>>),
    /// The attribute has exactly this value.
    Equals {
        /// The attribute.
        name: String,
        /// Its value.
        value: String,
    },
    /// The attribute has one of these values.
    In {
        /// The attribute.
        name: String,
        /// At least one value.
        values: Vec<String>,
    },
    /// The attribute's value is a finite decimal number (see [`number`]) with `min <= value <= max`.
    Range {
        /// The attribute.
        name: String,
        /// Least number; none: no lower bound.
        min: Option<f64>,
        /// Greatest number; none: no upper bound.
        max: Option<f64>,
    },
}

/// An item passes when all of `all`, at least one of `any` (where there are any) and none of `none` hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    all: Vec<Condition>,
    any: Vec<Condition>,
    none: Vec<Condition>,
}

impl Filter {
    /// A filter of at most [`MAX_CONDITIONS`] conditions.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if there are more, a category path or a list of values is empty, or a bound is
    /// NaN.
    pub fn new(all: Vec<Condition>, any: Vec<Condition>, none: Vec<Condition>) -> Result<Self> {
        let conditions = all.len() + any.len() + none.len();
        if conditions > MAX_CONDITIONS {
            return invalid(format!(
                "a filter has at most {MAX_CONDITIONS} conditions together, not {conditions}"
            ));
        }
        all.iter().chain(&any).chain(&none).try_for_each(Condition::check)?;
        Ok(Self { all, any, none })
    }

    /// Conditions that must all hold.
    pub fn all(&self) -> &[Condition] {
        &self.all
    }

    /// Conditions of which one must hold, unless there are none.
    pub fn any(&self) -> &[Condition] {
        &self.any
    }

    /// Conditions none of which may hold.
    pub fn none(&self) -> &[Condition] {
        &self.none
    }
}

impl Condition {
    fn check(&self) -> Result<()> {
        match self {
            Self::InCategory(path) if path.is_empty() => invalid("the category path of a filter is empty"),
            Self::InCategories(paths) if paths.is_empty() => invalid("the filter on categories lists none"),
            Self::InCategories(paths) if paths.iter().any(Vec::is_empty) => {
                invalid("a category path of a filter is empty")
            }
            Self::In { name, values } if values.is_empty() => {
                invalid(format!("the filter on {name:?} lists no values"))
            }
            Self::Range { name, min, max }
                if [min, max].into_iter().flatten().any(|bound| bound.is_nan()) =>
            {
                invalid(format!("the range of {name:?} has NaN as a bound"))
            }
            _ => Ok(()),
        }
    }
}

/// The number that an attribute value stands for: a finite decimal such as `12`, `-0.5` or `1e3`.
pub fn number(value: &str) -> Option<f64> {
    // Adding zero turns -0 into 0, which sorts as one number.
    value.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equals() -> Condition {
        Condition::Equals { name: "brand".into(), value: "x".into() }
    }

    #[test]
    fn takes_64_conditions_and_no_more() {
        assert!(Filter::new(vec![equals(); 32], vec![equals(); 32], vec![]).is_ok());
        let error = Filter::new(vec![equals(); 32], vec![equals(); 32], vec![equals()]).unwrap_err();
        assert!(error.to_string().contains("not 65"), "{error}");
    }

    #[test]
    fn refuses_conditions_that_say_nothing() {
        let range = |min, max| Condition::Range { name: "price".into(), min, max };
        let bad = [
            Condition::InCategory(vec![]),
            Condition::InCategories(vec![]),
            Condition::InCategories(vec![vec!["a".into()], vec![]]),
            Condition::In { name: "brand".into(), values: vec![] },
            range(Some(f64::NAN), None),
            range(None, Some(f64::NAN)),
        ];
        for condition in bad {
            assert!(Filter::new(vec![], vec![], vec![condition]).is_err());
        }
        assert!(Filter::new(vec![range(Some(f64::NEG_INFINITY), None)], vec![], vec![]).is_ok());
    }

    #[test]
    fn numbers_are_finite_decimals() {
        assert_eq!(number("12"), Some(12.0));
        assert_eq!(number("-1.5e2"), Some(-150.0));
        assert!(number("-0").is_some_and(|zero| zero.is_sign_positive()));
        for text in ["", "inf", "NaN", "1e999", " 1", "1 EUR", "0x10"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
