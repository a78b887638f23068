//! How likely hits are the product that was searched for; `lookalike/matching.py` says why so.

/// How many products compete.
pub const DEPTH: usize = 10;

/// What turns the scores of a search into probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Per unit of cosine similarity; above 0.
    pub slope: f64,
    /// The score at which a lone hit of density 0 is as likely right as not.
    pub threshold: f64,
    /// How much of the density around a query adds to the threshold.
    pub density_weight: f64,
    /// Stands for the density of a search that found a single product.
    pub density: f64,
}

/// The probabilities of the products of one search.
pub struct Probabilities<'a> {
    calibration: &'a Calibration,
    /// Of the products that compete: the score of each one's best item, falling.
    first: &'a [f32],
    /// Of all of these.
    list: List,
}

/// What a product competes with.
#[derive(Clone, Copy)]
struct List {
    /// The utility that the powers are relative to.
    top: f64,
    /// Sum of the powers, that of none of the products included.
    sum: f64,
}

impl Calibration {
    /// Of products, by the score of each one's best item, falling; the first `DEPTH` of them count.
    pub fn probabilities<'a>(&'a self, scores: &'a [f32]) -> Probabilities<'a> {
        let first = &scores[..scores.len().min(DEPTH)];
        Probabilities { calibration: self, first, list: self.list(first) }
    }

    #[allow(clippy::cast_precision_loss)]
    fn list(&self, scores: &[f32]) -> List {
        let others = scores.get(1..).unwrap_or(&[]);
        let sum: f64 = others.iter().map(|score| f64::from(*score)).sum();
        let density = if others.is_empty() { self.density } else { sum / others.len() as f64 };
        let none = self.slope * (self.threshold + self.density_weight * density);
        let best = scores.first().map_or(none, |score| self.slope * f64::from(*score));
        let top = best.max(none);
        let powers = scores.iter().map(|score| (self.slope * f64::from(*score) - top).exp());
        List { top, sum: (none - top).exp() + powers.sum::<f64>() }
    }
}

impl Probabilities<'_> {
    /// Of the product at a place, 0 being the first, whose best item has this score.
    #[allow(clippy::cast_possible_truncation)]
    pub fn of(&self, place: usize, score: f32) -> f32 {
        let list = if place < DEPTH {
            self.list
        } else {
            // A product further down competes with those before the last.
            let mut scores = [score; DEPTH];
            scores[..DEPTH - 1].copy_from_slice(&self.first[..DEPTH - 1]);
            self.calibration.list(&scores)
        };
        let power = (self.calibration.slope * f64::from(score) - list.top).exp();
        (power / list.sum) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALIBRATION: Calibration =
        Calibration { slope: 20.0, threshold: 0.3, density_weight: 0.5, density: 0.2 };

    fn probabilities(scores: &[f32]) -> Vec<f32> {
        let found = CALIBRATION.probabilities(scores);
        scores.iter().enumerate().map(|(place, score)| found.of(place, *score)).collect()
    }

    #[test]
    fn a_lone_hit_at_the_threshold_is_as_likely_right_as_not() {
        assert!((probabilities(&[0.4])[0] - 0.5).abs() < 1e-6);
        assert!((probabilities(&[0.425, 0.25])[0] - 0.5).abs() < 0.02);
    }

    #[test]
    fn products_share_what_there_is_and_the_near_ones_take_most() {
        let found = probabilities(&[0.8, 0.78, 0.3]);
        assert!(found.iter().sum::<f32>() < 1.0 && found[0] < 0.65 && found[1] > 0.35 && found[2] < 1e-3);
        assert!(probabilities(&[0.8, 0.3])[0] > 0.95);
    }

    #[test]
    fn a_product_beyond_the_list_is_less_likely_than_the_last_of_it() {
        let scores: Vec<f32> = (0..20_u8).map(|place| 0.5 - f32::from(place) / 100.0).collect();
        let found = probabilities(&scores);
        assert!(found.windows(2).all(|pair| pair[0] > pair[1]), "{found:?}");
        assert!((found[9] - found[10]).abs() < 0.01);
    }

    #[test]
    fn any_scores_have_probabilities() {
        for calibration in
            [Calibration { slope: 1000.0, ..CALIBRATION }, Calibration { slope: 1e-9, ..CALIBRATION }]
        {
            for scores in [&[][..], &[-1.0], &[1.0, -1.0], &[1.0; 30], &[-1.0; 30]] {
                let found = calibration.probabilities(scores);
                for (place, score) in scores.iter().enumerate() {
                    assert!((0.0..=1.0).contains(&found.of(place, *score)));
                }
            }
        }
    }
}
