//! What webhooks have lost: changes that only a resync found, and a source that says nothing although things change.

use super::timestamp::Timestamp;

/// What deliveries of a source said, and what they did not, within 30 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Deliveries that were applied since the first full run.
    pub delivered: u64,
    /// Changes that only a later run found, by kind.
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    /// When the last delivery came, of any kind.
    pub last_delivery: Option<Timestamp>,
    /// When the first full run succeeded: what was before is no loss.
    pub first_run: Option<Timestamp>,
    /// Of the changes, those that runs have found since the last delivery.
    pub since_delivery: u64,
}

impl Loss {
    pub fn lost(&self) -> u64 {
        self.created + self.updated + self.deleted
    }

    /// Lost of all, `0.0..=1.0`; `None` where there was nothing to tell.
    pub fn rate(&self) -> Option<f64> {
        let all = self.lost() + self.delivered;
        (all > 0).then(|| self.lost() as f64 / all as f64)
    }

    /// The alarm, where nothing was delivered for so long although the API shows changes.
    pub fn silence(&self, now: Timestamp, silence_after_ms: i64) -> Option<String> {
        let since = self.last_delivery.max(self.first_run)?;
        let silent_ms = now.ms() - since.ms();
        if silent_ms < silence_after_ms || self.since_delivery == 0 {
            return None;
        }
        Some(format!(
            "no delivery has come since {since}, although the API shows changes ({} were found by reading it): look at the \
             endpoint in the provider's dashboard, which may have disabled it, and at its address and secret",
            self.since_delivery
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_an_alarm_only_where_things_change() {
        let at = Timestamp::clamped;
        let quiet = Loss { first_run: Some(at(0)), last_delivery: Some(at(1_000)), ..Loss::default() };
        assert_eq!(quiet.silence(at(100_000), 60_000), None);
        let changing = Loss { since_delivery: 3, ..quiet };
        assert_eq!(changing.silence(at(30_000), 60_000), None);
        assert!(changing.silence(at(100_000), 60_000).unwrap().contains("(3 were found"));
        let never = Loss { last_delivery: None, ..changing };
        assert!(never.silence(at(100_000), 60_000).is_some());
    }

    #[test]
    fn the_rate_is_lost_of_all() {
        assert_eq!(Loss::default().rate(), None);
        let loss = Loss { delivered: 70, created: 10, updated: 15, deleted: 5, ..Loss::default() };
        assert_eq!(loss.rate(), Some(0.3));
    }

    #[test]
    fn silence_is_counted_from_the_later_of_the_last_delivery_and_the_first_run() {
        let at = Timestamp::clamped;
        for (last_delivery, first_run) in
            [(Some(1_000), Some(0)), (Some(0), Some(1_000)), (None, Some(1_000))]
        {
            let loss = Loss {
                last_delivery: last_delivery.map(at),
                first_run: first_run.map(at),
                since_delivery: 1,
                ..Loss::default()
            };
            assert_eq!(loss.silence(at(60_999), 60_000), None, "{loss:?}");
            assert!(loss.silence(at(61_000), 60_000).is_some(), "{loss:?}");
        }
        let never_looked = Loss { since_delivery: 1, ..Loss::default() };
        assert_eq!(never_looked.silence(at(61_000), 60_000), None);
    }

    #[test]
    fn lost_is_every_change_that_no_delivery_told() {
        let loss = Loss { created: 1, updated: 10, deleted: 100, ..Loss::default() };
        assert_eq!((loss.lost(), loss.rate()), (111, Some(1.0)));
        assert_eq!(Loss { delivered: 3, ..Loss::default() }.rate(), Some(0.0));
    }
}
