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
}
