//! The attribute store against a list that is searched item by item.

mod common;

use std::collections::BTreeMap;

use common::{filter, hash, item, passes};
use lookalike_core::attributes::{Attributes, ItemAttributes, to_words};
use lookalike_core::filter::{Condition, Filter};
use proptest::prelude::*;
use roaring::RoaringBitmap;

type Model = BTreeMap<u32, ItemAttributes>;

fn naive(model: &Model, filter: &Filter) -> RoaringBitmap {
    model.iter().filter(|(_, item)| passes(item, filter)).map(|(ordinal, _)| *ordinal).collect()
}

fn check(attributes: &Attributes, model: &Model, filter: &Filter) -> Result<(), TestCaseError> {
    let expected = naive(model, filter);
    let found = attributes.evaluate(filter);
    prop_assert_eq!(&found, &expected, "{:?}", filter);
    let words = to_words(&found, 5000);
    for ordinal in 0..5000 {
        prop_assert_eq!(words[ordinal / 64] >> (ordinal % 64) & 1 == 1, expected.contains(ordinal as u32));
    }
    Ok(())
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
    Attributes::deserialise(&bytes, &attributes.evaluate(&Filter::default())).unwrap()
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
        let _ = Attributes::deserialise(&noise, &RoaringBitmap::from_iter(0..3000));
        let mut attributes = Attributes::default();
        let items: Vec<ItemAttributes> = (0..20).map(item).collect();
        attributes.insert((0..).zip(&items));
        attributes.remove([3, 4, 11]);
        let live = attributes.evaluate(&Filter::default());
        let mut bytes = Vec::new();
        attributes.serialise(&mut bytes);
        let cut = at.index(bytes.len());
        prop_assert!(Attributes::deserialise(&bytes[..cut], &live).is_err());
        bytes[cut] = to;
        if let Ok(altered) = Attributes::deserialise(&bytes, &live) {
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

/// Items without attributes take a bit each, and nothing but their runs in the stored form.
#[test]
fn items_without_attributes_cost_next_to_nothing() {
    let mut attributes = Attributes::default();
    let none = ItemAttributes::default();
    attributes.insert((0..1_000_000).map(|ordinal| (ordinal, &none)));
    attributes.remove((0..1_000_000).step_by(10_000));
    assert!(attributes.bytes() < 400_000, "{} bytes", attributes.bytes());
    let mut bytes = Vec::new();
    attributes.serialise(&mut bytes);
    assert_eq!(bytes.len(), 4 + 4 + 100 * 8 + 4);
    let mut live = attributes.evaluate(&Filter::default());
    let opened = Attributes::deserialise(&bytes, &live).unwrap();
    assert!(opened.bytes() < 400_000, "{} bytes", opened.bytes());
    let all = opened.evaluate(&Filter::default());
    assert_eq!(all, attributes.evaluate(&Filter::default()));
    assert_eq!((all.len(), all.contains(0), all.contains(1)), (999_900, false, true));
    live.insert(20_000);
    assert!(Attributes::deserialise(&bytes, &live).is_err(), "an item without attributes");
    live.remove(20_000);
    live.remove(999_999);
    assert!(Attributes::deserialise(&bytes, &live).is_err(), "attributes without an item");
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
