//! The attribute store against a list that is searched item by item.

use std::collections::BTreeMap;

use lookalike_core::attributes::{Attributes, ItemAttributes, to_bitset};
use lookalike_core::filter::{Condition, Filter, number};
use lookalike_core::rng::SplitMix64;
use proptest::prelude::*;
use roaring::RoaringBitmap;

type Model = BTreeMap<u32, ItemAttributes>;

fn hash(seed: u64) -> u64 {
    SplitMix64::new(seed).next_u64()
}

/// An item with some of: category of 0 to 3 levels, a brand of few, a price that mostly is a number.
fn item(seed: u64) -> ItemAttributes {
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
        Condition::Equals { name, value: wanted } => value(name) == Some(wanted),
        Condition::In { name, values } => value(name).is_some_and(|value| values.contains(value)),
        Condition::Range { name, min, max } => value(name)
            .and_then(|value| number(value))
            .is_some_and(|number| min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max)),
    }
}

fn naive(model: &Model, filter: &Filter) -> RoaringBitmap {
    let passes = |item: &ItemAttributes| {
        filter.all().iter().all(|condition| holds(item, condition))
            && (filter.any().is_empty() || filter.any().iter().any(|condition| holds(item, condition)))
            && !filter.none().iter().any(|condition| holds(item, condition))
    };
    model.iter().filter(|(_, item)| passes(item)).map(|(ordinal, _)| *ordinal).collect()
}

fn check(attributes: &Attributes, model: &Model, filter: &Filter) -> Result<(), TestCaseError> {
    let expected = naive(model, filter);
    let found = attributes.evaluate(filter);
    prop_assert_eq!(&found, &expected, "{:?}", filter);
    let words = to_bitset(&found, 5000);
    for ordinal in 0..5000 {
        prop_assert_eq!(words[ordinal / 64] >> (ordinal % 64) & 1 == 1, expected.contains(ordinal as u32));
    }
    Ok(())
}

fn condition() -> impl Strategy<Value = Condition> {
    let name = || prop::sample::select(vec!["brand", "price", "sku", "colour"]).prop_map(str::to_owned);
    let text =
        || prop_oneof![(0u64..8).prop_map(|n| format!("b{n}")), (0u64..60).prop_map(|n| n.to_string())];
    let bound =
        || prop::option::of(prop_oneof![(-5i32..60).prop_map(|n| f64::from(n) / 2.0), Just(f64::INFINITY)]);
    let level = prop::sample::select(vec!["a", "b", "a/b", "c"]).prop_map(str::to_owned);
    prop_oneof![
        prop::collection::vec(level, 1..4).prop_map(Condition::InCategory),
        (name(), text()).prop_map(|(name, value)| Condition::Equals { name, value }),
        (name(), prop::collection::vec(text(), 1..5))
            .prop_map(|(name, values)| Condition::In { name, values }),
        (name(), bound(), bound()).prop_map(|(name, min, max)| Condition::Range { name, min, max }),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let some = || prop::collection::vec(condition(), 0..3);
    (some(), some(), some()).prop_map(|(all, any, none)| Filter::new(all, any, none).unwrap())
}

#[derive(Clone, Debug)]
enum Operation {
    Insert { first: u32, count: u32, seed: u64 },
    Remove { first: u32, count: u32, step: usize },
    Evaluate(Filter),
    Keep,
    Reload,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        // Enough for merges (from 1,024 changes on) as well as changes that wait for one.
        3 => (0u32..2000, 1u32..900, any::<u64>())
            .prop_map(|(first, count, seed)| Operation::Insert { first, count, seed }),
        2 => (0u32..2000, 1u32..600, 1usize..4)
            .prop_map(|(first, count, step)| Operation::Remove { first, count, step }),
        4 => filter().prop_map(Operation::Evaluate),
        1 => Just(Operation::Keep),
        1 => Just(Operation::Reload),
    ]
}

fn reload(attributes: &Attributes) -> Attributes {
    let mut bytes = Vec::new();
    attributes.serialise(&mut bytes);
    Attributes::deserialise(&bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_list(operations in prop::collection::vec(operation(), 1..25), last in filter()) {
        let mut attributes = Attributes::default();
        let mut model = Model::new();
        let mut kept = Vec::new();
        for operation in operations {
            match operation {
                Operation::Insert { first, count, seed } => {
                    let items: Model =
                        (first..first + count).map(|o| (o, item(seed.wrapping_add(u64::from(o))))).collect();
                    attributes.insert(items.iter().map(|(ordinal, item)| (*ordinal, item)));
                    model.extend(items);
                }
                Operation::Remove { first, count, step } => {
                    let ordinals = (first..first + count).step_by(step);
                    attributes.remove(ordinals.clone());
                    ordinals.for_each(|ordinal| { model.remove(&ordinal); });
                }
                Operation::Evaluate(filter) => check(&attributes, &model, &filter)?,
                Operation::Keep => kept.push((attributes.clone(), model.clone())),
                Operation::Reload => attributes = reload(&attributes),
            }
        }
        kept.push((reload(&attributes), model.clone()));
        kept.push((attributes, model));
        for (attributes, model) in kept {
            check(&attributes, &model, &last)?;
            check(&attributes, &model, &Filter::default())?;
            for ordinal in (0..3000).step_by(7) {
                let expected = model.get(&ordinal).cloned().unwrap_or_default();
                prop_assert_eq!(attributes.get(ordinal), expected);
            }
        }
    }

    #[test]
    fn refuses_any_other_bytes(noise in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, to: u8) {
        let _ = Attributes::deserialise(&noise);
        let mut attributes = Attributes::default();
        let items: Vec<ItemAttributes> = (0..20).map(item).collect();
        attributes.insert((0..).zip(&items));
        let mut bytes = Vec::new();
        attributes.serialise(&mut bytes);
        let cut = at.index(bytes.len());
        prop_assert!(Attributes::deserialise(&bytes[..cut]).is_err());
        bytes[cut] = to;
        if let Ok(altered) = Attributes::deserialise(&bytes) {
            for ordinal in altered.evaluate(&Filter::default()) {
                altered.get(ordinal);
            }
        }
    }
}

fn range(name: &str, min: Option<f64>, max: Option<f64>) -> Filter {
    Filter::new(vec![Condition::Range { name: name.into(), min, max }], vec![], vec![]).unwrap()
}

/// Enough items for the bitmaps of the ranges, under enough churn to choose their bounds again.
#[test]
fn ranges_stay_exact_while_the_numbers_drift() {
    let mut attributes = Attributes::default();
    let mut model = Model::new();
    for round in 0..12u64 {
        let items: Model = (0..4000u32)
            .map(|i| {
                let ordinal = (hash(round << 32 | u64::from(i)) % 30_000) as u32;
                let drift = (hash(u64::from(ordinal) ^ round) % 3000 + round * 500) as f64 / 4.0;
                let values =
                    vec![("price".to_owned(), drift.to_string()), ("round".to_owned(), round.to_string())];
                (ordinal, ItemAttributes::new(vec![], values).unwrap())
            })
            .collect();
        attributes.insert(items.iter().map(|(ordinal, item)| (*ordinal, item)));
        model.extend(items);
        let gone: Vec<u32> = (0..1000).map(|i| (hash(round << 40 | i) % 30_000) as u32).collect();
        attributes.remove(gone.iter().copied());
        gone.iter().for_each(|ordinal| drop(model.remove(ordinal)));
        for (min, max) in
            [(0.0, 5000.0), (100.25, 700.5), (300.0, 300.0), (899.9, 1e9), (-5.0, 12.0), (70.0, 60.0)]
        {
            for (min, max) in [(Some(min), Some(max)), (None, Some(max)), (Some(min), None)] {
                check(&attributes, &model, &range("price", min, max)).unwrap();
            }
        }
        check(&attributes, &model, &range("round", Some(3.0), Some(3.0))).unwrap();
    }
    assert_eq!(reload(&attributes).evaluate(&range("price", Some(200.0), None)), {
        attributes.evaluate(&range("price", Some(200.0), None))
    });
}

/// Values that no item has any more leave the dictionary.
#[test]
fn memory_does_not_grow_with_values_that_pass() {
    let mut attributes = Attributes::default();
    let insert = |attributes: &mut Attributes, round: u64| {
        let stamps = (0..2000u64).map(|i| {
            let values = vec![("stamp".to_owned(), format!("moment {}", round * 2000 + i))];
            ItemAttributes::new(vec!["all".into()], values).unwrap()
        });
        let items: Vec<ItemAttributes> = stamps.collect();
        attributes.insert((0..).zip(&items));
    };
    let mut bytes = Vec::new();
    for round in 0..200 {
        insert(&mut attributes, round);
        bytes.push(attributes.bytes());
    }
    let most = |rounds: &[usize]| *rounds.iter().max().unwrap();
    assert!(most(&bytes[100..]) <= most(&bytes[..100]) * 11 / 10, "{bytes:?}");
    let stamp = |n: u64| Condition::Equals { name: "stamp".into(), value: format!("moment {n}") };
    let filter = |n| Filter::new(vec![stamp(n)], vec![], vec![]).unwrap();
    assert_eq!(attributes.evaluate(&filter(199 * 2000 + 5)).iter().collect::<Vec<_>>(), [5]);
    assert!(attributes.evaluate(&filter(5)).is_empty());
    assert_eq!(attributes.get(7).values()[0].1, format!("moment {}", 199 * 2000 + 7));
    assert_eq!(attributes.get(7).category(), ["all"]);
}
