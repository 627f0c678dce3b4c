//! The command line that podman and docker share.

use crate::ground::{Ground, Said, say, say_to};
use std::process::Command;

/// How to call the engine.
pub struct Client {
    pub ground: Ground,
    /// The program and the options that stand before its verb.
    pub program: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    /// Options of each `run` and `create`.
    pub run: Vec<String>,
}

impl Client {
    /// The engine's command line with these words at its end.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.ground.command(&self.program[0]);
        command.args(&self.program[1..]).envs(self.environment.iter().cloned()).args(words);
        command
    }

    /// What the engine says.
    pub fn say(&self, words: &[&str]) -> Said {
        say(&mut self.command(words))
    }

    /// What the engine says when it is given this input.
    pub fn say_to(&self, words: &[&str], input: &str) -> Said {
        say_to(&mut self.command(words), input)
    }

    /// What the engine prints, without blanks around it; panics where it fails.
    pub fn done(&self, words: &[&str]) -> String {
        let said = self.say(words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said.out.trim().to_owned()
    }

    /// `run` with these words.
    pub fn say_run(&self, words: &[&str]) -> Said {
        self.say(&self.run_words(words))
    }

    /// `run --rm` with these words, which must succeed.
    pub fn run(&self, words: &[&str]) -> String {
        let mut all = vec!["--rm"];
        all.extend(words);
        self.done(&self.run_words(&all))
    }

    /// `run --detach --name NAME` with these words; what is removed by force has no time to end by itself.
    pub fn start(&self, name: &str, words: &[&str]) {
        let mut all = vec!["--detach", "--stop-timeout", "0", "--name", name];
        all.extend(words);
        self.done(&self.run_words(&all));
    }

    /// One value of `inspect`, by its Go template.
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.done(&["inspect", "--format", template, name])
    }

    /// The words of a `run`.
    pub fn run_words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let own = self.run.iter().map(String::as_str);
        ["run"].into_iter().chain(own).chain(words.iter().copied()).collect()
    }
}
