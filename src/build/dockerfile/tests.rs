//! Golden cases of the parser.

use super::*;
use std::time::Duration;

fn one(line: &str) -> Instruction {
    let parsed = Dockerfile::parse("Dockerfile", format!("FROM a\n{line}\n").as_bytes()).unwrap();
    parsed.stages[0].instructions[0].instruction.clone()
}

fn refused(source: &str) -> String {
    Dockerfile::parse("Dockerfile", source.as_bytes()).unwrap_err().to_string()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_reference_application_parses() {
    let source = "ARG REGISTRY=127.0.0.1:5000\nFROM ${REGISTRY}/python:3.7\nWORKDIR /app\nCOPY requirements.txt .\n\
                  RUN pip install -r requirements.txt\nCOPY . .\nEXPOSE 8000\nCMD [\"python\", \"app.py\"]\n";
    let file = Dockerfile::parse("Dockerfile", source.as_bytes()).unwrap();
    assert_eq!(file.arguments, [(1, "REGISTRY".into(), Some("127.0.0.1:5000".into()))]);
    assert_eq!(file.stages[0].base, "${REGISTRY}/python:3.7");
    let lines: Vec<u32> = file.stages[0].instructions.iter().map(|located| located.line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 8]);
    assert_eq!(
        file.stages[0].instructions[5].instruction,
        Instruction::Cmd(Command::Exec(strings(&["python", "app.py"])))
    );
    assert!(file.warnings.is_empty());
}

#[test]
fn instructions_take_both_forms() {
    assert_eq!(
        one("ENV a=1 b=\"x y\""),
        Instruction::Env(vec![("a".into(), "1".into()), ("b".into(), "\"x y\"".into())])
    );
    assert_eq!(one("env a  1 2"), Instruction::Env(vec![("a".into(), "1 2".into())]));
    assert_eq!(one("CMD echo hi"), Instruction::Cmd(Command::Shell("echo hi".into())));
    assert_eq!(one("CMD ['a', 'b']"), Instruction::Cmd(Command::Shell("['a', 'b']".into())));
    assert_eq!(one("VOLUME [\"/a b\"]"), Instruction::Volume(strings(&["/a b"])));
    assert_eq!(one("VOLUME /a /b"), Instruction::Volume(strings(&["/a", "/b"])));
    assert_eq!(one("ARG a b=c"), Instruction::Arg(vec![("a".into(), None), ("b".into(), Some("c".into()))]));
    assert_eq!(one("ONBUILD COPY . ."), Instruction::Onbuild("COPY . .".into()));
}

#[test]
fn copy_reads_its_flags() {
    let Instruction::Copy(copy) = one("COPY --from=base --chown=1:2 --chmod=755 --link a b c/") else { panic!() };
    assert_eq!(
        (copy.from.as_deref(), copy.chown.as_deref(), copy.chmod.as_deref()),
        (Some("base"), Some("1:2"), Some("755"))
    );
    assert_eq!((copy.sources, copy.target.as_str(), copy.add), (strings(&["a", "b"]), "c/", false));
    let Instruction::Copy(copy) = one("ADD [\"a b\", \"/c\"]") else { panic!() };
    assert_eq!((copy.sources, copy.add), (strings(&["a b"]), true));
    let Instruction::Copy(copy) = one("COPY <<run.sh /bin/\necho\nrun.sh") else { panic!() };
    assert_eq!((copy.sources.len(), copy.inline[0].content.as_str()), (0, "echo\n"));
}

#[test]
fn run_reads_mounts_and_scripts() {
    let source = "RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=target=/x,from=b,ro --network=none pip";
    let Instruction::Run(run) = one(source) else { panic!() };
    assert_eq!(
        run.mounts,
        [
            RunMount::Secret { id: "pip".into(), target: Some("/etc/pip.conf".into()), required: false },
            RunMount::Bind { from: Some("b".into()), source: "/".into(), target: "/x".into() }
        ]
    );
    assert_eq!((run.command, run.isolated), (Command::Shell("pip".into()), Some(true)));
    let Instruction::Run(run) = one("RUN <<EOF\na\nb\nEOF") else { panic!() };
    assert_eq!(run.command, Command::Shell("a\nb\n".into()));
    let Instruction::Run(run) = one("RUN cat <<EOF >x\na\nEOF") else { panic!() };
    assert_eq!(run.command, Command::Shell("cat <<EOF >x\na\nEOF".into()));
}

#[test]
fn healthchecks_have_times() {
    let expected = Healthcheck::Check {
        command: Command::Exec(strings(&["true"])),
        interval: Duration::from_secs(90),
        timeout: Duration::ZERO,
        start_period: Duration::ZERO,
        start_interval: Duration::ZERO,
        retries: 3,
    };
    assert_eq!(one("HEALTHCHECK --interval=1m30s --retries=3 CMD [\"true\"]"), Instruction::Healthcheck(expected));
    assert_eq!(one("HEALTHCHECK NONE"), Instruction::Healthcheck(Healthcheck::None));
}

#[test]
fn stages_are_found_by_name_and_index() {
    let file = Dockerfile::parse("D", b"FROM a AS One\nFROM b\nFROM one\nCOPY --from=ONE /x /y\n").unwrap();
    assert_eq!((file.stage("ONE", 2), file.stage("1", 2), file.stage("2", 2)), (Some(0), Some(1), None));
}

#[test]
fn errors_name_file_line_and_remedy() {
    for (source, error) in [
        ("FROM a\n\nRUNN x", "Dockerfile:3: unknown instruction RUNN (hint: did you mean RUN?)"),
        ("", "Dockerfile: no FROM instruction: there is nothing to build"),
        ("RUN x", "Dockerfile:1: RUN comes before the first FROM (hint: only ARG may stand before FROM)"),
        ("FROM a b", "Dockerfile:1: FROM is: FROM [--platform=os/architecture] image [AS name]"),
        ("FROM a\nCOPY x", "Dockerfile:2: COPY needs at least one source and a target (hint: COPY . . copies all)"),
        (
            "FROM a\nCOPY a b c",
            "Dockerfile:2: COPY of several sources needs a target that ends with '/' (hint: write c/)",
        ),
        ("FROM a\nCOPY --form=x a b", "Dockerfile:2: COPY has no flag --form (hint: did you mean --from?)"),
        ("FROM a\nCOPY --from=1 a b", "Dockerfile:2: COPY --from=1: no earlier stage"),
        ("FROM a\nENV x", "Dockerfile:2: ENV x has no value (hint: write ENV x=value)"),
        ("FROM a\nWORKDIR", "Dockerfile:2: WORKDIR needs an argument"),
        ("FROM a\nSHELL x", "Dockerfile:2: SHELL needs a JSON array: SHELL [\"/bin/sh\", \"-c\"]"),
        (
            "FROM a\nADD https://x/y /z",
            "Dockerfile:2: ADD https://x/y: remote sources are not supported (hint: fetch it in a RUN step, or before the build)",
        ),
        (
            "FROM a\nRUN --mount=type=cache,target=/x y",
            "Dockerfile:2: RUN --mount=type=cache is not supported (hint: bind, secret and tmpfs are)",
        ),
        ("FROM a\nRUN <<EOF", "Dockerfile:2: the here-document <<EOF does not end"),
    ] {
        assert_eq!(refused(source), error);
    }
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let file = Dockerfile::parse("D", b"FROM a\nCMD ['x']\nENV a b\n").unwrap();
    assert_eq!(file.warnings.len(), 2, "{:?}", file.warnings);
}

proptest::proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = Dockerfile::parse("D", &bytes);
    }

    #[test]
    fn no_text_panics(lines in proptest::collection::vec("(FROM|RUN|COPY|ENV|ARG|CMD|ONBUILD|HEALTHCHECK|LABEL|ADD|SHELL|VOLUME) [-a-z =\"'\\\\$\\[\\]{}:,<]{0,30}", 0..8)) {
        let source = format!("FROM a\n{}", lines.join("\n"));
        let _ = Dockerfile::parse("D", source.as_bytes());
        for line in &lines {
            let _ = expand(line, '\\', &|_| Some("value"));
        }
    }
}
