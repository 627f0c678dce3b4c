//! What is wrong with a strategy.

use super::milliseconds;
use crate::deploy::Strategy;

impl Strategy {
    /// Everything that is wrong with it, each a line that begins with the field; nothing if it can be followed.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Strategy::Rolling(rolling) = self
            && rolling.surge == 0
            && rolling.unavailable == 0
        {
            problems.push(
                "rollout: surge and unavailable are both 0, so no replica could ever be replaced; allow 1 of either"
                    .to_owned(),
            );
        }
        let guard = self.guard();
        if guard.crashes == 0 {
            problems.push("rollout.crashes: 0 would condemn every revision; the smallest number is 1".to_owned());
        }
        let healthy = guard.minimum_healthy_time;
        for (field, deadline) in
            [("healthy_deadline", guard.healthy_deadline), ("progress_deadline", guard.progress_deadline)]
        {
            if milliseconds(deadline) <= milliseconds(healthy) {
                problems.push(format!(
                    "rollout.{field}: {deadline:?} is not longer than the minimum healthy time of {healthy:?}, so no \
                     replica could ever count as available in time"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use crate::deploy::{Guard, Rolling, Strategy};
    use std::time::Duration;

    #[test]
    fn the_defaults_can_be_followed() {
        assert!(Strategy::from(Rolling::new()).problems().is_empty());
        assert!(Strategy::Recreate(Guard::default()).problems().is_empty());
        assert!(Strategy::from(Rolling::new().surge(0).unavailable(1)).problems().is_empty());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let wrong = Rolling::new().surge(0).crashes(0).deadline(Duration::from_secs(1));
        let problems = Strategy::from(wrong).problems();
        assert_eq!(problems.len(), 4, "{problems:#?}");
        assert!(problems[0].starts_with("rollout: surge and unavailable are both 0"));
        assert!(problems[1].starts_with("rollout.crashes: 0"));
        assert!(problems[2].starts_with("rollout.healthy_deadline: 1s is not longer than"));
        assert!(problems[3].starts_with("rollout.progress_deadline: 1s is not longer than"));
    }
}
