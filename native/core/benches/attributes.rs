//! Speed of attribute updates and filters at a million items: `cargo bench -p lookalike-core --bench attributes`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lookalike_core::attributes::{Attributes, ItemAttributes, to_words};
use lookalike_core::filter::{Condition, Filter};
use lookalike_core::rng::SplitMix64;

const ITEMS: u32 = 1_100_000;
const BATCH: u32 = 256;

fn hash(seed: u64) -> u64 {
    SplitMix64::new(seed).next_u64()
}

/// A category of three levels (16, 64, 1,000 nodes) and five attributes.
fn item(seed: u64) -> ItemAttributes {
    let pick = |salt: u64, below: u64| hash(seed * 8 + salt) % below;
    let leaf = pick(0, 1000);
    let category = vec![format!("m{}", leaf % 16), format!("l{}", leaf % 64), format!("c{leaf}")];
    let values = [
        ("brand", format!("b{}", pick(1, 1000))),
        ("colour", format!("c{}", pick(2, 12))),
        ("half", format!("h{}", pick(3, 2))),
        ("price", pick(4, 20_000).to_string()),
        ("percent", pick(5, 100).to_string()),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value));
    ItemAttributes::new(category, values.to_vec()).expect("the names differ")
}

fn filters() -> Vec<(&'static str, Filter)> {
    let equals = |name: &str, value: &str| Condition::Equals { name: name.into(), value: value.into() };
    let range = |max| Condition::Range { name: "price".into(), min: Some(3000.0), max: Some(max) };
    let in_three =
        Condition::In { name: "colour".into(), values: vec!["c1".into(), "c2".into(), "c3".into()] };
    let category = Condition::InCategory(vec!["m1".into(), "l1".into()]);
    let all = |all: Vec<Condition>| Filter::new(all, vec![], vec![]).expect("few conditions");
    vec![
        ("equals_1_in_1000", all(vec![equals("brand", "b1")])),
        ("equals_1_in_100", all(vec![equals("percent", "1")])),
        ("equals_1_in_2", all(vec![equals("half", "h1")])),
        ("in_category", all(vec![category.clone()])),
        ("in_3_of_12", all(vec![in_three])),
        ("range_of_1_in_100", all(vec![range(3200.0)])),
        ("range_of_1_in_2", all(vec![range(13_000.0)])),
        ("three_conditions", all(vec![equals("half", "h1"), category, range(13_000.0)])),
        ("none", Filter::new(vec![], vec![], vec![equals("half", "h1")]).expect("few conditions")),
    ]
}

fn attributes(criterion: &mut Criterion) {
    let mut attributes = Attributes::default();
    let start = std::time::Instant::now();
    let items: Vec<ItemAttributes> = (0..u64::from(ITEMS)).map(item).collect();
    let made = start.elapsed();
    attributes.insert((0..).zip(&items));
    println!("{ITEMS} items inserted in {:?}; {} bytes", start.elapsed() - made, attributes.bytes());
    drop(items);
    for (name, filter) in filters() {
        criterion.bench_function(name, |b| b.iter(|| attributes.evaluate(black_box(&filter))));
        let passing = attributes.evaluate(&filter);
        let name = format!("to_words/{name}");
        criterion.bench_function(&name, |b| b.iter(|| to_words(black_box(&passing), ITEMS as usize)));
    }
    let mut bytes = Vec::new();
    attributes.serialise(&mut bytes);
    println!("{} bytes stored", bytes.len());
    let live = attributes.evaluate(&Filter::default());
    criterion.bench_function("deserialise", |b| b.iter(|| Attributes::deserialise(&bytes, &live)));

    let mut with_tail = attributes.clone();
    let changed: Vec<ItemAttributes> = (0..4000).map(|i| item(1 << 40 | i)).collect();
    with_tail.insert((ITEMS..).zip(&changed));
    for (name, filter) in filters() {
        let name = format!("with_4000_changes/{name}");
        criterion.bench_function(&name, |b| b.iter(|| with_tail.evaluate(black_box(&filter))));
    }

    let mut group = criterion.benchmark_group("upsert");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    let mut live = attributes.clone();
    let mut round = 0;
    let mut batch = || {
        round += 1;
        let replaced: Vec<u32> =
            (0..BATCH).map(|i| (hash(round << 32 | u64::from(i)) % u64::from(ITEMS)) as u32).collect();
        let items: Vec<ItemAttributes> = replaced.iter().map(|o| item(round << 32 | u64::from(*o))).collect();
        (replaced, items)
    };
    // Each batch replaces items, under new ordinals, in a snapshot that a reader still holds: as the index does.
    let mut next_ordinal = ITEMS;
    group.bench_function("batch_of_256", |b| {
        b.iter_batched(
            &mut batch,
            |(replaced, items)| {
                let mut next = live.clone();
                next.remove(replaced);
                next.insert((next_ordinal..).zip(&items));
                next_ordinal += BATCH;
                live = next;
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = attributes
}
criterion_main!(benches);
