//! Making and loading the default filter, beside libseccomp (where it is installed) with the same profile.
//!
//! `cargo bench --bench seccomp` prints a table: instructions, compiling, loading; the two take turns. The target is at most
//! 120 instructions for one architecture. Then the plain measurements of the library alone.

#![allow(unsafe_code)]

mod libseccomp;
#[path = "../support/profile.rs"]
mod profile;
#[path = "../support/turns.rs"]
mod turns;

use coracle::CapabilitySet;
use coracle::seccomp::{Architecture, Profile};
use criterion::Criterion;
use libseccomp::Library;
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Duration;
use turns::{Contestant, take_turns, timed};

/// Of the default profile for one architecture.
const MOST_INSTRUCTIONS: usize = 120;

fn main() {
    let Some(native) = Architecture::native() else { return };
    let quick = std::env::args().any(|argument| argument == "--test");
    table(native, if quick { 1 } else { 300 });
    single(native);
}

/// A profile, and the same as JSON for the other.
struct Case {
    name: &'static str,
    own: Profile,
    json: Option<Value>,
}

fn cases() -> Vec<Case> {
    let default = Profile::default_for(&CapabilitySet::DEFAULT);
    let mut cases = vec![
        Case { name: "own default, native alone", own: default.clone().architectures([]), json: None },
        Case { name: "own default", own: default, json: None },
    ];
    let json = profile::seccomp();
    if json.is_null() {
        println!("no /usr/share/containers/seccomp.json: get it by: apt-get install golang-github-containers-common");
        return cases;
    }
    let own = |json: &Value| Profile::from_json(json.to_string().as_bytes()).expect("the profile is sound");
    let mut alone = json.clone();
    alone["architectures"] = json!([]);
    cases.push(Case { name: "engines' default, native alone", own: own(&alone), json: Some(alone) });
    cases.push(Case { name: "engines' default", own: own(&json), json: Some(json) });
    cases
}

fn table(native: Architecture, rounds: usize) {
    let library = Library::open();
    if library.is_none() {
        println!("libseccomp.so.2 is not installed, get it by: apt-get install libseccomp2");
    }
    println!("\n{native}, medians of {rounds}, milliseconds");
    println!("{:<32} {:<12} {:>12} {:>9} {:>9}", "profile", "", "instructions", "compile", "load");
    for Case { name, own, json } in cases() {
        let filter = own.compile(native).expect("the profile compiles").to_bytes();
        let theirs = library.as_ref().zip(json.as_ref());
        let their_filter = theirs.map(|(library, json)| library.compile(json));
        let mut compile = vec![contestant("coracle", || timed(|| drop(black_box(own.compile(native)))))];
        let mut load = vec![contestant("coracle", || loaded(&filter))];
        let mut sizes = vec![("coracle", filter.len() / 8)];
        if let (Some((library, json)), Some(filter)) = (theirs, &their_filter) {
            compile.push(contestant("libseccomp", move || timed(|| drop(black_box(library.compile(json))))));
            load.push(contestant("libseccomp", || loaded(filter)));
            sizes.push(("libseccomp", filter.len() / 8));
        }
        let (compiling, loading) =
            (take_turns(&compile, rounds, Duration::ZERO), take_turns(&load, rounds, Duration::ZERO));
        for (who, size) in &sizes {
            let (compile, load) = (compiling[who], loading[who]);
            println!("{name:<32} {who:<12} {size:>12} {compile:>9.3} {load:>9.3}");
        }
        if name == "own default, native alone" {
            let verdict = if sizes[0].1 <= MOST_INSTRUCTIONS { "met" } else { "MISSED" };
            println!("target: at most {MOST_INSTRUCTIONS} instructions: {} {verdict}", sizes[0].1);
        }
    }
}

fn contestant<'a>(name: &'static str, run: impl Fn() -> f64 + 'a) -> Contestant<'a> {
    Contestant { name, every: 1, run: Box::new(run) }
}

/// How long a thread takes to load a filter on itself.
fn loaded(filter: &[u8]) -> f64 {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let program =
                libc::sock_fprog { len: (filter.len() / 8) as u16, filter: filter.as_ptr().cast_mut().cast() };
            // SAFETY: the program is live and of its length; both calls concern this thread alone, which ends.
            unsafe {
                assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
                timed(|| assert_eq!(libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program), 0))
            }
        });
        thread.join().unwrap()
    })
}

/// Plain measurements of the library alone.
fn single(native: Architecture) {
    let mut criterion = Criterion::default().configure_from_args();
    let default = Profile::default_for(&CapabilitySet::DEFAULT);
    let alone = default.clone().architectures([]);
    for (name, profile) in [("native alone", &alone), ("native and 32 bits", &default)] {
        criterion.bench_function(&format!("seccomp/compile/{name}"), |bencher| {
            bencher.iter(|| black_box(profile).compile(native));
        });
    }
    criterion.bench_function("seccomp/default profile and compile", |bencher| {
        bencher.iter(|| Profile::default_for(black_box(&CapabilitySet::DEFAULT)).compile(native));
    });
    let json = profile::seccomp().to_string();
    criterion.bench_function("seccomp/read the engines' profile", |bencher| {
        bencher.iter(|| Profile::from_json(black_box(json.as_bytes())));
    });
    criterion.final_summary();
}
