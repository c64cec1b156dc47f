//! How times are spread: a histogram reduced to the buckets that hold anything, small enough to be
//! kept, and to be subtracted from a later one.

/// Times and how often each was seen, ascending. Microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread(Vec<(u64, u64)>);

impl Spread {
    /// Of pairs of time and count with ascending times.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self(pairs.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// With further times that were too short to be recorded at all.
    #[must_use]
    pub fn with_zeros(mut self, count: u64) -> Self {
        if count > 0 {
            self.0.insert(0, (0, count));
        }
        self
    }

    /// With those of another.
    pub fn add(&mut self, other: &Self) {
        for &(time, count) in &other.0 {
            match self.0.binary_search_by_key(&time, |(time, _)| *time) {
                Ok(at) => self.0[at].1 += count,
                Err(at) => self.0.insert(at, (time, count)),
            }
        }
    }

    /// Times and how often each was seen, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The time that this share of them (0 to 1) does not exceed; 0 without any.
    #[must_use]
    pub fn quantile_micros(&self, share: f64) -> u64 {
        // At least one: the quantile 0 is the shortest.
        let wanted = ((share * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.0.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        reached.or(self.0.last()).map_or(0, |(time, _)| *time)
    }

    /// The longest; 0 without any.
    #[must_use]
    pub fn longest_micros(&self) -> u64 {
        self.0.last().map_or(0, |(time, _)| *time)
    }

    /// How many did not exceed each of `bounds`, which ascend.
    #[must_use]
    pub fn cumulative(&self, bounds: &[u64]) -> Vec<u64> {
        let mut rest = self.0.iter().peekable();
        let mut seen = 0;
        let mut below = |bound: &u64| {
            while let Some((_, count)) = rest.next_if(|(time, _)| time <= bound) {
                seen += count;
            }
            seen
        };
        bounds.iter().map(&mut below).collect()
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.0.iter().peekable();
        Self::new(self.0.iter().map(|&(time, count)| {
            while before.next_if(|(t, _)| *t < time).is_some() {}
            let known = before.next_if(|(t, _)| *t == time).map_or(0, |(_, count)| *count);
            (time, count.saturating_sub(known))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_spread_less_an_earlier_one_is_what_came_between() {
        let earlier = Spread::new([(1, 5), (3, 1)]);
        let later = Spread::new([(1, 5), (2, 4), (3, 3), (9, 1)]);
        assert_eq!(later.since(&earlier), Spread::new([(2, 4), (3, 2), (9, 1)]));
        assert_eq!(later.since(&later), Spread::default());
        assert_eq!(later.since(&Spread::default()), later);
    }

    #[test]
    fn spreads_add_up() {
        let mut sum = Spread::new([(2, 1), (5, 1)]);
        sum.add(&Spread::new([(1, 3), (5, 4), (9, 1)]));
        assert_eq!(sum.iter().collect::<Vec<_>>(), [(1, 3), (2, 1), (5, 5), (9, 1)]);
    }

    #[test]
    fn quantiles_count_from_the_shortest() {
        let spread = Spread::new([(10, 50), (20, 45), (30, 5)]);
        let at = [0.0, 0.5, 0.51, 0.95, 0.96, 1.0].map(|share| spread.quantile_micros(share));
        assert_eq!(at, [10, 10, 20, 20, 30, 30]);
        assert_eq!((spread.longest_micros(), spread.count()), (30, 100));
        assert_eq!(Spread::default().quantile_micros(0.5), 0);
    }

    #[test]
    fn those_that_did_not_wait_count_as_zero() {
        let spread = Spread::new([(10, 1)]).with_zeros(99);
        assert_eq!((spread.quantile_micros(0.99), spread.quantile_micros(0.999)), (0, 10));
        assert_eq!(spread.cumulative(&[0, 9, 10, 11]), [99, 99, 100, 100]);
    }
}
