use super::*;
use proptest::prelude::*;

/// What the list means: for each kind of access the last rule that matches decides.
fn reference(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
    [MKNOD, READ, WRITE].into_iter().filter(|bit| access & bit != 0).all(|bit| {
        let last = rules.iter().rfind(|rule| rule.matches(kind, major, minor) && rule.access.bits() & bit != 0);
        last.is_some_and(|rule| rule.allow)
    })
}

fn compiled(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
    let program = program::compile(rules);
    let word = u32::from(access) << 16 | u32::from(kind.number());
    program::interpreter::run(&program, word, major, minor) == 1
}

fn rule() -> impl Strategy<Value = DeviceRule> {
    let kind = prop_oneof![Just(None), Just(Some(DeviceKind::Block)), Just(Some(DeviceKind::Character))];
    let number = || prop_oneof![2 => Just(None), 4 => (0..3u32).prop_map(Some), 1 => Just(Some(u32::MAX - 1))];
    let access = any::<(bool, bool, bool)>().prop_map(|(read, write, mknod)| DeviceAccess { read, write, mknod });
    (any::<bool>(), kind, number(), number(), access).prop_map(|(allow, kind, major, minor, access)| DeviceRule {
        allow,
        kind,
        major,
        minor,
        access,
    })
}

/// Every access to every device that a generated rule can tell apart from others.
fn accesses() -> impl Iterator<Item = (DeviceKind, u32, u32, u8)> {
    let numbers = [0, 1, 2, 3, u32::MAX - 1, u32::MAX];
    [DeviceKind::Block, DeviceKind::Character].into_iter().flat_map(move |kind| {
        numbers.into_iter().flat_map(move |major| {
            numbers.into_iter().flat_map(move |minor| (1..8u8).map(move |access| (kind, major, minor, access)))
        })
    })
}

proptest! {
    #[test]
    fn the_program_decides_as_the_list(rules in prop::collection::vec(rule(), 0..12)) {
        for (kind, major, minor, access) in accesses() {
            let (expected, found) =
                (reference(&rules, kind, major, minor, access), compiled(&rules, kind, major, minor, access));
            prop_assert_eq!(expected, found, "{:?} {}:{} access {}", kind, major, minor, access);
        }
        if allows_everything(&rules) {
            prop_assert!(accesses().all(|(kind, major, minor, access)| reference(&rules, kind, major, minor, access)));
        }
    }

    #[test]
    fn the_exceptions_of_version_1_decide_as_the_list(rules in prop::collection::vec(rule(), 0..8)) {
        // What version 1 cannot express is refused; everything else must mean the same.
        if let Ok(state) = exceptions::State::of(&rules) {
            for (kind, major, minor, access) in accesses() {
                let (expected, found) =
                    (reference(&rules, kind, major, minor, access), state.allows(kind, major, minor, access));
                prop_assert_eq!(expected, found, "{:?} {}:{} access {}: {:?}", kind, major, minor, access, &state);
            }
        }
    }
}

#[test]
fn rules_read_as_the_kernel_writes_them() {
    assert_eq!(DeviceRule::everything(false).to_string(), "a *:* rwm");
    assert_eq!(DeviceRule::character(136, None).to_string(), "c 136:* rwm");
    assert_eq!(DeviceRule::nodes(DeviceKind::Block).to_string(), "b *:* m");
}

#[test]
fn senseless_rules_are_refused() {
    for (rule, what) in [
        (serde_json::json!({"allow": true, "access": "rx"}), "access \"rx\""),
        (serde_json::json!({"allow": true, "type": "p"}), "type p"),
        (serde_json::json!({"allow": true, "type": "c", "major": -2}), "major -2"),
        (serde_json::json!({"allow": true, "type": "c", "minor": 4_294_967_296_i64}), "minor 4294967296"),
    ] {
        let error = DeviceRule::from_runtime_spec(&serde_json::from_value(rule).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("linux.resources.devices: {what}")), "{error}");
    }
}

#[test]
fn the_defaults_reach_no_disk() {
    let rules = [&[DeviceRule::everything(false)], DeviceRule::defaults().as_slice()].concat();
    assert!(compiled(&rules, DeviceKind::Character, 1, 3, READ | WRITE));
    assert!(compiled(&rules, DeviceKind::Block, 8, 0, MKNOD));
    assert!(!compiled(&rules, DeviceKind::Block, 8, 0, READ));
    assert!(!compiled(&rules, DeviceKind::Character, 10, 200, WRITE));
    assert!(!allows_everything(&rules));
    assert!(allows_everything(&[DeviceRule::everything(true), DeviceRule::character(1, None)]));
}
