//! Classic BPF, written from its end to its start: every jump leads forward, so its target is already there.

use super::filter::{AND, JUMP, LOAD, RETURN, SockFilter};
use super::profile::Action;

/// A place in the program: how many instructions stand behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    reversed: Vec<SockFilter>,
    /// The nearest return of each action.
    returns: Vec<(Action, Label)>,
}

/// How many instructions a comparison can skip.
const REACH: usize = 255;

/// Beyond this distance a shared target is written again, so that those who share it next reach it without a detour.
const CLOSE: usize = 200;

impl Assembler {
    /// How many instructions there are.
    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    /// The program in its order of execution.
    pub(super) fn finish(mut self) -> Vec<SockFilter> {
        self.reversed.reverse();
        self.reversed
    }

    /// Where `action` is returned.
    pub(super) fn ret(&mut self, action: Action) -> Label {
        let known = self.returns.iter().position(|&(known, _)| known == action);
        if let Some(at) = known
            && self.distance(self.returns[at].1) <= CLOSE
        {
            return self.returns[at].1;
        }
        let label = self.push(SockFilter { code: RETURN, jt: 0, jf: 0, k: action.return_value() });
        match known {
            Some(at) => self.returns[at].1 = label,
            None => self.returns.push((action, label)),
        }
        label
    }

    /// Compares the accumulator with `k` and goes on at one of two places.
    pub(super) fn branch(&mut self, code: u16, k: u32, then: Label, otherwise: Label) -> Label {
        if then == otherwise {
            return then;
        }
        // What brings the second one near moves the first one away by one instruction.
        let then = self.bring_near(then, 1);
        let otherwise = self.bring_near(otherwise, 0);
        let (jt, jf) = (self.distance(then) as u8, self.distance(otherwise) as u8);
        self.push(SockFilter { code, jt, jf, k })
    }

    /// Loads the word at `offset` of the call's description and goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.straight(SockFilter { code: LOAD, jt: 0, jf: 0, k: offset }, next)
    }

    /// Keeps the bits of `mask` and goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.straight(SockFilter { code: AND, jt: 0, jf: 0, k: mask }, next)
    }

    /// `label`, or near it in effect, where it is so far away that many jumps to it would each need a detour.
    pub(super) fn shared(&mut self, label: Label) -> Label {
        if self.distance(label) <= CLOSE { label } else { self.detour(label) }
    }

    fn straight(&mut self, instruction: SockFilter, next: Label) -> Label {
        if self.distance(next) > 0 {
            self.detour(next);
        }
        self.push(instruction)
    }

    /// A place with the effect of `label` that is in reach after `more` further instructions.
    fn bring_near(&mut self, label: Label, more: usize) -> Label {
        if self.distance(label) + more <= REACH { label } else { self.detour(label) }
    }

    fn detour(&mut self, label: Label) -> Label {
        let target = self.reversed[label.0 - 1];
        let step = match target.code {
            RETURN => target,
            _ => SockFilter { code: JUMP, jt: 0, jf: 0, k: self.distance(label) as u32 },
        };
        self.push(step)
    }

    /// How many instructions the next one would skip to go on at `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    fn push(&mut self, instruction: SockFilter) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::{EQUAL, Filter, NUMBER};
    use super::super::run::Call;
    use super::*;

    /// Both targets of a branch at every distance around what a comparison can skip.
    #[test]
    fn branches_reach_their_targets_at_every_distance() {
        for before in [0, 1, 2, 253, 254, 255, 256, 257] {
            for between in [0, 1, 248, 249, 250, 251, 252, 253, 254, 255, 256, 257] {
                for far_holds in [true, false] {
                    let mut assembler = Assembler::default();
                    // Not returns, which would be copied instead of reached by a detour.
                    let end = assembler.ret(Action::Errno(1));
                    let far = assembler.and(0, end);
                    let other = assembler.ret(Action::Errno(2));
                    let mut near = assembler.and(0, other);
                    for _ in 0..between {
                        near = assembler.and(0, near);
                    }
                    let mut filler = near;
                    for _ in 0..before {
                        filler = assembler.and(0, filler);
                    }
                    let (then, otherwise) = if far_holds { (far, near) } else { (near, far) };
                    let branch = assembler.branch(EQUAL, 7, then, otherwise);
                    assembler.load(NUMBER, branch);
                    let filter = Filter { instructions: assembler.finish(), flags: 0, notifies: false };
                    filter.verify().unwrap();
                    for (number, expected) in [(7, far_holds), (8, !far_holds)] {
                        let errno = filter.run(&Call { number, architecture: 0, arguments: [0; 6] }) & 0xffff;
                        assert_eq!(errno == 1, expected, "{before} {between} {far_holds}\n{filter}");
                    }
                }
            }
        }
    }
}
