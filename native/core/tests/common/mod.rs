//! Random items and filters, and the naive answer to which items pass.

use lookalike_core::attributes::ItemAttributes;
use lookalike_core::filter::{Condition, Filter, number};
use lookalike_core::rng::SplitMix64;
use proptest::prelude::*;

pub fn hash(seed: u64) -> u64 {
    SplitMix64::new(seed).next_u64()
}

/// An item with some of: category of 0 to 3 levels, a brand of few, a price that mostly is a number.
pub fn item(seed: u64) -> ItemAttributes {
    let pick = |salt: u64, below: u64| hash(seed.wrapping_mul(31) ^ salt) % below;
    let mut values = Vec::new();
    if pick(1, 5) > 0 {
        values.push(("brand".to_owned(), format!("b{}", pick(2, 6))));
    }
    if pick(3, 4) > 0 {
        let text = match pick(4, 10) {
            0 => "on request".to_owned(),
            1 => format!("{}.0", pick(5, 50)),
            _ => pick(5, 50).to_string(),
        };
        values.push(("price".to_owned(), text));
    }
    if pick(6, 2) > 0 {
        values.push(("sku".to_owned(), seed.to_string()));
    }
    let names = ["a", "b", "a/b"];
    let path = (0..pick(7, 4)).map(|level| names[pick(8 + level, 3) as usize].to_owned());
    ItemAttributes::new(path.collect(), values).unwrap()
}

fn holds(item: &ItemAttributes, condition: &Condition) -> bool {
    let value = |name: &str| item.values().iter().find(|(own, _)| own == name).map(|(_, value)| value);
    match condition {
        Condition::InCategory(path) => item.category().starts_with(path),
        Condition::InCategories(paths) => paths.iter().any(|path| item.category().starts_with(path)),
        Condition::Equals { name, value: wanted } => value(name) == Some(wanted),
        Condition::In { name, values } => value(name).is_some_and(|value| values.contains(value)),
        Condition::Range { name, min, max } => value(name)
            .and_then(|value| number(value))
            .is_some_and(|number| min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max)),
    }
}

/// Whether the filter lets the item through.
pub fn passes(item: &ItemAttributes, filter: &Filter) -> bool {
    filter.all().iter().all(|condition| holds(item, condition))
        && (filter.any().is_empty() || filter.any().iter().any(|condition| holds(item, condition)))
        && !filter.none().iter().any(|condition| holds(item, condition))
}

fn condition() -> impl Strategy<Value = Condition> {
    let name = || prop::sample::select(vec!["brand", "price", "sku", "colour"]).prop_map(str::to_owned);
    let text =
        || prop_oneof![(0u64..8).prop_map(|n| format!("b{n}")), (0u64..60).prop_map(|n| n.to_string())];
    let bound =
        || prop::option::of(prop_oneof![(-5i32..60).prop_map(|n| f64::from(n) / 2.0), Just(f64::INFINITY)]);
    let level = || prop::sample::select(vec!["a", "b", "a/b", "c"]).prop_map(str::to_owned);
    let path = || prop::collection::vec(level(), 1..4);
    prop_oneof![
        path().prop_map(Condition::InCategory),
        prop::collection::vec(path(), 1..4).prop_map(Condition::InCategories),
        (name(), text()).prop_map(|(name, value)| Condition::Equals { name, value }),
        (name(), prop::collection::vec(text(), 1..5))
            .prop_map(|(name, values)| Condition::In { name, values }),
        (name(), bound(), bound()).prop_map(|(name, min, max)| Condition::Range { name, min, max }),
    ]
}

/// Up to two conditions each that must all hold, of which one must hold, and that must not hold.
pub fn filter() -> impl Strategy<Value = Filter> {
    let some = || prop::collection::vec(condition(), 0..3);
    (some(), some(), some()).prop_map(|(all, any, none)| Filter::new(all, any, none).unwrap())
}
