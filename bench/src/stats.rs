//! Medians and spreads over the rounds of a run.

/// Median, least and greatest of one quantity over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// The middle value; the mean of the two middle ones for an even count.
    pub(crate) median: f64,
    /// The least value.
    pub(crate) min: f64,
    /// The greatest value.
    pub(crate) max: f64,
}

/// Summarises `values`; `None` for none.
pub(crate) fn summarise(mut values: Vec<f64>) -> Option<Summary> {
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    Some(Summary { median, min, max })
}

/// Summarises the ratio of two series, taken round by round so that a slow round weighs on both sides alike.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Summary> {
    summarise(ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0).map(|(a, b)| a / b).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_any_order() {
        assert_eq!(summarise(vec![3.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(summarise(vec![4.0, 1.0]), Some(Summary { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(summarise(vec![]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let slow_second_round = ratio(&[10.0, 100.0, 11.0], &[10.0, 100.0, 10.0]);
        assert_eq!(slow_second_round, Some(Summary { median: 1.0, min: 1.0, max: 1.1 }));
    }
}
