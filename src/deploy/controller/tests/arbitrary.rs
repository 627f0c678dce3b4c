//! Whatever is remembered and whatever is seen, it answers: a state may come from an older version or a damaged disk.

use super::super::model::{Action, Condition, Failure, Goal, Known, Moment, Observed, Replica, Stage, State};
use super::super::next;
use crate::deploy::strategy::{Guard, Rolling, Strategy as Rollout};
use crate::value::ContainerId;
use proptest::prelude::*;
use std::time::Duration;

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![0..200_000_u64, Just(0), Just(u64::MAX), any::<u64>()]
}

fn identifier() -> impl Strategy<Value = ContainerId> {
    (0..6_u8).prop_map(|number| format!("{number:016x}").parse().expect("an id"))
}

fn stage() -> impl Strategy<Value = Stage> {
    let because = || Failure::NoProgress { finding: None };
    (0..5_u8, 0..4_u32).prop_map(move |(stage, failed)| match stage {
        0 => Stage::Rolling,
        1 => Stage::RollingBack { failed, because: because() },
        2 => Stage::Steady,
        3 => Stage::Failed { failed, because: because() },
        _ => Stage::Removing,
    })
}

fn goal() -> impl Strategy<Value = Goal> {
    let number = || prop_oneof![0..5_u32, Just(u32::MAX)];
    (0..4_u32, 0..6_u32, number(), number(), any::<bool>(), any::<u64>()).prop_map(
        |(revision, replicas, surge, unavailable, recreate, seconds)| {
            let time = Duration::from_secs(seconds);
            let guard = Guard::default().minimum_healthy_time(time).healthy_deadline(time).progress_deadline(time);
            let rolling = Rolling { surge, unavailable, guard };
            let strategy = if recreate { Rollout::Recreate(guard) } else { rolling.into() };
            Goal { revision, replicas, strategy, drain: time }
        },
    )
}

fn known() -> impl Strategy<Value = Known> {
    let maybe = || proptest::option::of(moment());
    (identifier(), 0..4_u32, (moment(), maybe(), maybe(), maybe(), maybe()), any::<[bool; 2]>(), any::<u32>()).prop_map(
        |(id, revision, (first_seen, ready_since, unavailable_since, leaving_since, stopping), flags, restarts)| {
            Known {
                id,
                revision,
                first_seen,
                ready_since,
                unavailable_since,
                proven: flags[0],
                ended: flags[1],
                restarts,
                leaving_since,
                stopping,
            }
        },
    )
}

fn state() -> impl Strategy<Value = State> {
    let moments = (moment(), moment(), moment(), moment(), moment());
    let known = proptest::collection::vec(known(), 0..6);
    (goal(), stage(), proptest::option::of(0..4_u32), moments, any::<[u32; 3]>(), known).prop_map(
        |(goal, stage, stable, (clock, seen, begun, progressed, not_before), [best, crashes, replacements], known)| {
            State {
                goal,
                stage,
                stable,
                clock,
                seen,
                begun,
                progressed,
                best,
                crashes,
                known,
                replacements,
                not_before,
            }
        },
    )
}

fn replica() -> impl Strategy<Value = Replica> {
    let conditions =
        [Condition::Starting, Condition::Ready, Condition::Unhealthy, Condition::Restarting, Condition::Ended];
    (identifier(), 0..4_u32, 0..8_u32, 0..5_usize, any::<u32>(), any::<bool>(), 0..3_u32).prop_map(
        move |(id, revision, place, condition, restarts, in_traffic, connections)| Replica {
            id,
            revision,
            place,
            condition: conditions[condition],
            restarts,
            in_traffic,
            connections,
            finding: None,
        },
    )
}

fn observed() -> impl Strategy<Value = Observed> {
    (proptest::collection::vec(replica(), 0..6), any::<bool>()).prop_map(|(mut replicas, failed)| {
        replicas.sort_by(|a, b| a.id.cmp(&b.id));
        replicas.dedup_by(|a, b| a.id == b.id);
        Observed { replicas, failed_starts: if failed { vec![(1, "no".to_owned())] } else { Vec::new() } }
    })
}

proptest! {
    #[test]
    fn it_always_answers_within_its_bounds(state in state(), now in moment(), observed in observed()) {
        let made = next(&state, now, &observed);
        let starts = made.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
        prop_assert!(starts <= made.state.goal.replicas as usize);
        prop_assert!(made.again_at.is_none_or(|at| at > now || now == u64::MAX));
        prop_assert_eq!(made.state.known.len(), observed.replicas.len());
        let text = serde_json::to_string(&made.state).expect("as text");
        prop_assert_eq!(serde_json::from_str::<State>(&text).expect("from text"), made.state);
    }
}
