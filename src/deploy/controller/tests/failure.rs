//! Revisions that fail, and what follows.

use super::trace::Course;
use super::{recreate, rolling};
use crate::deploy::strategy::{Guard, OnFailure, Strategy};
use std::time::Duration;

#[test]
fn a_revision_that_never_gets_healthy_rolls_back() {
    let mut course = Course::running(2, rolling().healthy_deadline(Duration::from_secs(20)));
    course.never_ready.insert(2);
    course.want(2, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/2
        20.1s  stop r2/2 * rolling back r2 to r1: r2/2 not healthy (status 503), leaving r2/2, rolled back r2 to r1
        20.6s  remove r2/2
        ",
    );
    assert_eq!(course.state.goal.revision, 1);
    assert_eq!(course.state.stable, Some(1));
}

#[test]
fn a_revision_that_crashes_rolls_back() {
    let mut course = Course::running(2, rolling().crashes(2));
    course.crashing.insert(2);
    course.want(2, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/2
        1.0s  remove r2/2 * crashed r2/2
        2.0s  start r2/2
        3.0s  remove r2/2 * crashed r2/2, rolling back r2 to r1: 2 crashes, rolled back r2 to r1
        ",
    );
}

#[test]
fn a_revision_without_progress_rolls_back() {
    let mut course = Course::running(2, rolling().progress_deadline(Duration::from_secs(10)));
    course.want(2, 2);
    course.run(2_500);
    course.never_ready.insert(2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/2
        2.0s  route [r1/1 r2/2] * available r2/2, leaving r1/0
        2.1s  stop r1/0
        2.6s  remove r1/0, start r2/3
        12.2s  stop r2/3 * rolling back r2 to r1: no progress (status 503), leaving r2/3
        12.7s  remove r2/3, start r1/0
        14.7s  route [r1/1 r1/0] * available r1/0, leaving r2/2, rolled back r2 to r1
        14.8s  stop r2/2
        15.3s  remove r2/2
        ",
    );
}

#[test]
fn a_revision_that_cannot_be_started_rolls_back_at_once() {
    let mut course = Course::running(1, rolling());
    course.unstartable.insert(2);
    course.want(2, 1);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/1
        0.1s  * rolling back r2 to r1: no such image, rolled back r2 to r1
        ",
    );
}

#[test]
fn a_first_revision_that_fails_is_taken_down() {
    let mut course = Course::deploy(1, 2, rolling().healthy_deadline(Duration::from_secs(20)));
    course.never_ready.insert(1);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r1/0, start r1/1
        20.1s  stop r1/0, stop r1/1 * failed r1: r1/0 not healthy (status 503), leaving r1/0, leaving r1/1
        20.6s  remove r1/0, remove r1/1
        ",
    );
    assert!(course.observed.replicas.is_empty());
}

#[test]
fn a_paused_failure_leaves_everything_as_it_is() {
    let rollout = rolling().healthy_deadline(Duration::from_secs(20)).on_failure(OnFailure::Pause);
    let mut course = Course::running(2, rollout);
    course.never_ready.insert(2);
    course.want(2, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/2
        20.1s  * failed r2: r2/2 not healthy (status 503)
        ",
    );
    assert_eq!(course.observed.replicas.len(), 3);
}

#[test]
fn recreate_comes_back_the_same_way() {
    let mut course = Course::running(1, recreate());
    course.unstartable.insert(2);
    course.want(2, 1);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [] * leaving r1/0
        0.1s  stop r1/0
        0.6s  remove r1/0
        0.7s  start r2/0
        0.8s  start r1/0 * rolling back r2 to r1: no such image
        1.8s  route [r1/0]
        2.8s  * available r1/0, rolled back r2 to r1
        ",
    );
}

#[test]
fn a_good_replica_that_gets_stuck_on_the_way_back_is_replaced() {
    let mut course = Course::running(1, Strategy::Recreate(Guard::default().healthy_deadline(Duration::from_secs(20))));
    course.unstartable.insert(2);
    course.never_ready.insert(1);
    course.want(2, 1);
    course.run(2_000);
    course.never_ready.clear();
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [] * leaving r1/0
        0.1s  stop r1/0
        0.6s  remove r1/0
        0.7s  start r2/0
        0.8s  start r1/0 * rolling back r2 to r1: no such image
        20.9s  stop r1/0 * leaving r1/0
        21.4s  remove r1/0
        21.9s  start r1/0
        22.9s  route [r1/0]
        23.9s  * available r1/0, rolled back r2 to r1
        ",
    );
    assert_eq!(course.state.goal.revision, 1);
}
