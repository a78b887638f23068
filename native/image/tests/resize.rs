//! Resizing and placing, whatever the strips. That the numbers are Pillow's is tested from Python.

use lookalike_image::resize::Resize;
use lookalike_image::square::{Levels, Square};
use lookalike_image::weights::{FRACTION_BITS, Filter, Line, Weights};
use lookalike_image::{CHANNELS, PIXEL};
use proptest::prelude::*;

fn filters() -> impl Strategy<Value = Filter> {
    prop_oneof![Just(Filter::Bilinear), Just(Filter::Bicubic)]
}

/// Resizes a picture that comes in strips of so many rows.
fn resized(
    picture: &[u8],
    from: (usize, usize),
    to: (usize, usize),
    filter: Filter,
    strip: usize,
) -> Vec<u8> {
    let mut resize = Resize::new(from, to, filter);
    let mut rows = Vec::new();
    for strip in picture.chunks(strip * from.0 * PIXEL) {
        resize.push(strip, |number, row| {
            assert_eq!(number * row.len(), rows.len());
            rows.extend_from_slice(row);
        });
    }
    assert!(resize.is_complete());
    rows
}

proptest! {
    #[test]
    fn weights_lie_within_the_line_and_sum_up_to_one(
        from in 1_usize..3000, to in 1_usize..300, filter in filters(),
    ) {
        let weights = Weights::new(Line::new(from, to, filter));
        for output in 0..to {
            let (start, weights) = weights.of(output);
            prop_assert!(start + weights.len() <= from);
            let sum: i64 = weights.iter().copied().map(i64::from).sum();
            prop_assert!((sum - (1 << FRACTION_BITS)).unsigned_abs() <= weights.len() as u64);
        }
    }

    #[test]
    fn strips_change_nothing(
        from in (1_usize..60, 1_usize..60),
        to in (1_usize..40, 1_usize..40),
        filter in filters(),
        strip in 1_usize..20,
        bytes in prop::collection::vec(any::<u8>(), 60 * 60 * PIXEL),
    ) {
        let picture = &bytes[..from.0 * from.1 * PIXEL];
        let whole = resized(picture, from, to, filter, from.1);
        prop_assert_eq!(whole.len(), to.0 * to.1 * PIXEL);
        prop_assert_eq!(resized(picture, from, to, filter, strip), whole);
    }

    #[test]
    fn one_colour_stays(
        from in (1_usize..300, 1_usize..300), to in (1_usize..60, 1_usize..60), filter in filters(), colour: u8,
    ) {
        let picture = vec![colour; from.0 * from.1 * PIXEL];
        prop_assert!(resized(&picture, from, to, filter, 7).iter().all(|byte| *byte == colour));
    }

    #[test]
    fn the_same_size_changes_nothing(size in (1_usize..40, 1_usize..40), filter in filters(), seed: u8) {
        let picture: Vec<u8> =
            (0..size.0 * size.1 * PIXEL).map(|place| (place as u8).wrapping_mul(seed | 1)).collect();
        prop_assert_eq!(resized(&picture, size, size, filter, 5), picture);
    }
}

#[test]
fn a_picture_lies_in_the_middle_of_white_in_planes() {
    let levels = Levels::new([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]);
    let mut planes = vec![f32::NAN; CHANNELS * 4 * 4];
    let mut square = Square::new((4, 2), (4, 2), (0, 1), Filter::Bicubic, 4, levels, &mut planes);
    square.push(&[11, 22, 43, 0].repeat(8));
    assert!(square.is_complete());
    let expected: Vec<f32> = [(254.0, 10.0), (126.5, 10.0), (63.0, 10.0)]
        .into_iter()
        .flat_map(|(white, inside)| [[white; 4], [inside; 4], [inside; 4], [white; 4]].concat())
        .collect();
    assert_eq!(planes, expected);
}

#[test]
fn what_lies_outside_of_the_square_is_cut_off() {
    let levels = Levels::new([0.0; CHANNELS], [1.0; CHANNELS]);
    let mut planes = vec![f32::NAN; CHANNELS * 2 * 2];
    let mut square = Square::new((4, 3), (4, 3), (-2, -2), Filter::Bicubic, 2, levels, &mut planes);
    square.push(&(0..4 * 3 * PIXEL as u8).collect::<Vec<_>>());
    assert!(square.is_complete());
    // The last two pixels of the last row, then white.
    assert_eq!(planes[..4], [40.0, 44.0, 255.0, 255.0]);
}

proptest! {
    #[test]
    fn a_part_is_that_of_the_whole(
        from in (1_usize..60, 1_usize..60),
        to in (1_usize..40, 1_usize..40),
        corner in (0_usize..40, 0_usize..40),
        size in (1_usize..40, 1_usize..40),
        filter in filters(),
        bytes in prop::collection::vec(any::<u8>(), 60 * 60 * PIXEL),
    ) {
        let picture = &bytes[..from.0 * from.1 * PIXEL];
        let whole = resized(picture, from, to, filter, 7);
        let ends = |corner: usize, size: usize, all: usize| {
            let start = corner % all;
            start..(start + size).min(all)
        };
        let part = (ends(corner.0, size.0, to.0), ends(corner.1, size.1, to.1));
        let mut resize = Resize::part(from, to, part.clone(), filter);
        let mut rows = Vec::new();
        for strip in picture.chunks(5 * from.0 * PIXEL) {
            resize.push(strip, |_, row| rows.extend_from_slice(row));
        }
        prop_assert!(resize.is_complete());
        let expected: Vec<u8> = whole
            .chunks(to.0 * PIXEL)
            .skip(part.1.start)
            .take(part.1.len())
            .flat_map(|row| &row[part.0.start * PIXEL..part.0.end * PIXEL])
            .copied()
            .collect();
        prop_assert_eq!(rows, expected);
    }
}

#[test]
#[should_panic(expected = "no more rows than there are")]
fn too_many_rows_are_refused() {
    Resize::new((2, 2), (2, 2), Filter::Bilinear).push(&[0; 3 * 2 * PIXEL], |_, _| ());
}
