//! When requests are due: a Poisson process, as many callers that know nothing of each other make it.

use std::time::Duration;

use rand::SeedableRng;
use rand::distr::Distribution;
use rand::rngs::SmallRng;
use rand_distr::Exp;

/// Times from the start, in order, with `rate` a second on average; equal seeds give equal times.
///
/// # Panics
///
/// `rate` is not positive.
pub fn poisson(rate: f64, seed: u64) -> impl Iterator<Item = Duration> {
    assert!(rate > 0.0 && rate.is_finite(), "a rate is a positive number");
    let gaps = Exp::new(rate).expect("the rate is positive");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut at = 0.0;
    std::iter::from_fn(move || {
        at += gaps.sample(&mut random);
        Some(Duration::from_secs_f64(at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(rate: f64, seed: u64) -> Vec<f64> {
        let times: Vec<f64> = poisson(rate, seed).take(20_000).map(|time| time.as_secs_f64()).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn gaps_are_exponential() {
        let gaps = gaps(250.0, 1);
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        // Standard errors of 20,000: 0.7 % of the mean, 1.4 % of the deviation.
        assert!((mean * 250.0 - 1.0).abs() < 0.04, "mean gap {mean}");
        assert!((variance.sqrt() * 250.0 - 1.0).abs() < 0.08, "deviation {}", variance.sqrt());
        let long = gaps.iter().filter(|&&gap| gap * 250.0 > 2.0).count() as f64 / count;
        assert!((long - (-2.0_f64).exp()).abs() < 0.015, "{long} of the gaps are twice the mean");
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(gaps(10.0, 1), gaps(10.0, 1));
        assert_ne!(gaps(10.0, 1), gaps(10.0, 2));
    }
}
