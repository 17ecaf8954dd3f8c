//! What is said of many values: percentiles, and the spread of a few rounds.

/// Values in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    sorted: Vec<f64>,
}

impl Distribution {
    /// Puts values in order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// Returns the smallest value that this share of the values does not exceed, such as 0.99; 0 without any.
    pub fn at(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    /// Returns the greatest value; 0 without any.
    pub fn max(&self) -> f64 {
        self.sorted.last().copied().unwrap_or(0.0)
    }

    /// Returns the mean; 0 without any values.
    pub fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.sorted.len().max(1) as f64
    }
}

/// The least, the middle and the greatest value of some rounds.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Returns the spread of values; `None` without any. The middle of an even number is the mean of the two there.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = Distribution::of(values.to_vec()).sorted;
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Some(Self { min, median, max })
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are picked, not computed")]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let values = Distribution::of((1..=1_000).rev().map(f64::from).collect());
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|share| values.at(share)), [500.0, 990.0, 999.0, 1_000.0]);
        assert_eq!((values.max(), values.mean()), (1_000.0, 500.5));
        let one = Distribution::of(vec![3.0]);
        assert_eq!([0.0, 0.5, 0.999].map(|share| one.at(share)), [3.0, 3.0, 3.0]);
        assert_eq!(Distribution::default().at(0.5), 0.0);
    }

    #[test]
    fn the_median_of_rounds_stands_in_their_middle() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
