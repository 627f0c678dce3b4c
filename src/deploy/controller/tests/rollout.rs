//! Revisions that replace others.

use super::super::model::Stage;
use super::trace::Course;
use super::{recreate, rolling};
use std::time::Duration;

#[test]
fn the_first_revision_is_started_and_gets_traffic_when_ready() {
    let mut course = Course::deploy(1, 2, rolling());
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r1/0, start r1/1
        1.0s  route [r1/0 r1/1]
        2.0s  * available r1/0, available r1/1, complete r1
        ",
    );
    assert_eq!(course.state.stable, Some(1));
    assert_eq!(course.state.stage, Stage::Steady);
}

#[test]
fn a_new_revision_replaces_the_old_one_by_one() {
    let mut course = Course::running(2, rolling());
    course.want(2, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/2
        2.0s  route [r1/1 r2/2] * available r2/2, leaving r1/0
        2.1s  stop r1/0
        2.6s  remove r1/0, start r2/3
        4.6s  route [r2/2 r2/3] * available r2/3, leaving r1/1, complete r2
        4.7s  stop r1/1
        5.2s  remove r1/1
        ",
    );
    assert_eq!(course.state.stable, Some(2));
}

#[test]
fn with_one_unavailable_and_no_surge_old_ones_go_first() {
    let mut course = Course::running(2, rolling().surge(0).unavailable(1));
    course.want(2, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [r1/1] * leaving r1/0
        0.1s  stop r1/0
        0.6s  remove r1/0, start r2/2
        2.6s  route [r2/2] * available r2/2, leaving r1/1
        2.7s  stop r1/1
        3.2s  remove r1/1, start r2/0
        5.2s  route [r2/2 r2/0] * available r2/0, complete r2
        ",
    );
}

#[test]
fn connections_may_last_until_the_drain_limit() {
    let mut course = Course::running(1, rolling());
    course.lasting = 1;
    course.want(2, 1);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/1
        2.0s  route [r2/1] * available r2/1, leaving r1/0, complete r2
        7.0s  stop r1/0
        7.5s  remove r1/0
        ",
    );
}

#[test]
fn a_third_revision_overtakes_the_second() {
    let mut course = Course::running(2, rolling());
    course.never_ready.insert(2);
    course.want(2, 2);
    course.run(5_000);
    course.want(3, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/2
        60.1s  stop r2/2 * leaving r2/2
        60.6s  remove r2/2, start r3/3
        62.6s  route [r1/1 r3/3] * available r3/3, leaving r1/0
        62.7s  stop r1/0
        63.2s  remove r1/0, start r3/2
        65.2s  route [r3/3 r3/2] * available r3/2, leaving r1/1, complete r3
        65.3s  stop r1/1
        65.8s  remove r1/1
        ",
    );
    assert_eq!(course.state.stable, Some(3));
}

#[test]
fn recreate_stops_all_before_it_starts_any() {
    let mut course = Course::running(2, recreate());
    course.want(2, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [] * leaving r1/0, leaving r1/1
        0.1s  stop r1/0, stop r1/1
        0.6s  remove r1/0, remove r1/1
        0.7s  start r2/0, start r2/1
        1.7s  route [r2/0 r2/1]
        2.7s  * available r2/0, available r2/1, complete r2
        ",
    );
}

#[test]
fn a_suspend_condemns_nobody() {
    let mut course = Course::running(1, rolling().deadline(Duration::from_secs(100)));
    course.want(2, 1);
    course.run(500);
    course.now += 3_600_000;
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/1
        3602.0s  route [r2/1] * available r2/1, leaving r1/0, complete r2
        3602.1s  stop r1/0
        3602.6s  remove r1/0
        ",
    );
    assert_eq!(course.state.stable, Some(2));
}

#[test]
fn a_reboot_condemns_nobody() {
    let mut course = Course::running(2, rolling().crashes(1));
    course.want(2, 2);
    course.run(2_000);
    course.reboot();
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/2
        5.0s  remove r1/0, remove r1/1, remove r2/2, start r2/3, start r2/4 * unready r1/0, unready r1/1
        6.0s  route [r2/3 r2/4]
        7.0s  * available r2/3, available r2/4, complete r2
        ",
    );
    assert_eq!(course.state.stable, Some(2));
}

#[test]
fn a_replica_nobody_recorded_is_adopted() {
    let mut course = Course::running(1, rolling());
    course.want(2, 1);
    course.run(1_500);
    course.state.known.clear();
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r2/1
        2.0s  route [r2/1] * leaving r1/0
        2.1s  stop r1/0
        2.6s  remove r1/0
        3.0s  * available r2/1, complete r2
        ",
    );
}

#[test]
fn a_strategy_that_allows_nothing_takes_one_at_a_time_rather_than_hang() {
    let mut course = Course::running(2, rolling().surge(0).unavailable(0));
    course.want(2, 2);
    course.run_until_settled();
    assert_eq!(course.state.stable, Some(2));
    assert!(course.observed.replicas.iter().all(|replica| replica.revision == 2));
}
