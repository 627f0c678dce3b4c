//! The command of a container: looked up as execvp(3) does, and executed.

use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase};

/// Where a command without a slash is looked for when the environment has no PATH: execvp(3)'s default with Docker's
/// directories for administrators.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is executed.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    /// The program and its arguments; not empty.
    pub(crate) arguments: Vec<Vec<u8>>,
    /// `NAME=value`.
    pub(crate) environment: Vec<Vec<u8>>,
}

/// Fails where the program cannot be executed by the user that the process has become: earlier than the exec itself.
pub(crate) fn lower_find(plan: &mut Builder, command: &CommandLine) {
    let candidates = plan.texts(command.candidates());
    let sentence = format!("find {}", command.shown());
    hints(plan.push(OpCode::FindProgram, &[candidates], sentence), command.has_slash());
}

/// Executes it.
pub(crate) fn lower_exec(plan: &mut Builder, command: &CommandLine) {
    plan.phase(Phase::Exec);
    let arguments = plan.texts(&command.arguments);
    let environment = plan.texts(&command.environment);
    let candidates = plan.texts(command.candidates());
    let sentence = format!("execute {}", command.shown());
    hints(plan.push(OpCode::Execute, &[arguments, environment, candidates], sentence), command.has_slash());
}

fn hints(plan: &mut Builder, slash: bool) {
    let missing = if slash {
        "the program, or the interpreter it names, does not exist in the container"
    } else {
        "executable file not found in $PATH of the container"
    };
    plan.hint(libc::ENOENT, missing)
        .hint(libc::EACCES, "the program is not executable for this user")
        .hint(libc::ENOEXEC, "the program is for another machine, or a script without #!");
}

impl CommandLine {
    fn program(&self) -> &[u8] {
        self.arguments.first().map(Vec::as_slice).unwrap_or_default()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(self.program()).into_owned()
    }

    fn has_slash(&self) -> bool {
        self.program().contains(&b'/')
    }

    /// The paths at which the program may be: execvp(3).
    fn candidates(&self) -> Vec<Vec<u8>> {
        let program = self.program();
        if self.has_slash() {
            return vec![program.to_vec()];
        }
        let path = self.environment.iter().rev().find_map(|variable| variable.strip_prefix(b"PATH="));
        path.unwrap_or(DEFAULT_PATH.as_bytes())
            .split(|&byte| byte == b':')
            .map(|directory| {
                let directory = if directory.is_empty() { b"." } else { directory };
                [directory, b"/", program].concat()
            })
            .collect()
    }
}
