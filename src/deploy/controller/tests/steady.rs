//! A proven revision: numbers change, replicas fail, everything is taken down.

use super::super::model::Condition;
use super::rolling;
use super::trace::Course;

#[test]
fn more_replicas_are_started_in_free_places() {
    let mut course = Course::running(1, rolling());
    course.want(1, 3);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  start r1/1, start r1/2
        2.0s  route [r1/0 r1/1 r1/2] * available r1/1, available r1/2
        ",
    );
}

#[test]
fn fewer_replicas_leave_from_the_highest_place() {
    let mut course = Course::running(3, rolling());
    course.want(1, 1);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [r1/0] * leaving r1/1, leaving r1/2
        0.1s  stop r1/1, stop r1/2
        0.6s  remove r1/1, remove r1/2
        ",
    );
}

#[test]
fn fewer_replicas_leave_from_those_that_do_not_work() {
    let mut course = Course::running(3, rolling());
    course.at(0).condition = Condition::Unhealthy;
    course.run(10);
    course.want(1, 2);
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [r1/1 r1/2] * unready r1/0
        0.1s  stop r1/0 * leaving r1/0
        0.6s  remove r1/0
        ",
    );
}

#[test]
fn what_does_not_work_is_out_of_traffic_until_it_works_again() {
    let mut course = Course::running(2, rolling());
    course.at(0).condition = Condition::Unhealthy;
    course.run(2_000);
    course.at(0).condition = Condition::Ready;
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [r1/1] * unready r1/0
        3.1s  route [r1/0 r1/1] * available r1/0
        ",
    );
}

#[test]
fn what_has_ended_is_replaced_after_pauses_that_double() {
    let mut course = Course::running(1, rolling());
    course.crashing.insert(1);
    course.at(0).condition = Condition::Ended;
    course.run(20_000);
    course.assert_trace(
        "
        0.0s  route [], remove r1/0 * crashed r1/0, unready r1/0
        1.0s  start r1/0
        2.0s  remove r1/0 * crashed r1/0
        4.0s  start r1/0
        5.0s  remove r1/0 * crashed r1/0
        9.0s  start r1/0
        10.0s  remove r1/0 * crashed r1/0
        18.0s  start r1/0
        19.0s  remove r1/0 * crashed r1/0
        ",
    );
}

#[test]
fn a_removed_deployment_drains_stops_and_goes() {
    let mut course = Course::running(2, rolling());
    course.state.remove();
    course.run_until_settled();
    course.assert_trace(
        "
        0.0s  route [] * leaving r1/0, leaving r1/1
        0.1s  stop r1/0, stop r1/1
        0.6s  remove r1/0, remove r1/1
        0.7s  * removed
        ",
    );
}
