//! Plans as text: what a start will do, one line an operation.

use super::op::OpCode;
use super::phase::Phase;
use super::signature::{Argument, Radix, signature};
use super::verify::Verified;
use std::fmt;

/// One line an operation, grouped by phase; slots as `#3`, texts in quotes.
impl fmt::Display for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut phase = None;
        for index in 0..self.whole_len() {
            if index == self.len() {
                writeln!(f, "\nTo enter it:")?;
                phase = None;
            }
            let op = self.op(index);
            let (Some(code), Some(&at)) = (OpCode::from_number(op.code), Phase::ALL.get(op.phase as usize)) else {
                return Err(fmt::Error);
            };
            if phase != Some(at) {
                writeln!(f, "{at:?}:")?;
                phase = Some(at);
            }
            let signature = signature(code);
            write!(f, "  {}", signature.name)?;
            for (position, &kind) in signature.arguments.iter().enumerate() {
                let next = op.arguments.get(position + 1).copied().unwrap_or(0);
                self.show(f, kind, op.arguments[position], next)?;
            }
            if op.tolerate != 0 {
                write!(f, " tolerate={:#x}", op.tolerate)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Verified<'_> {
    fn show(&self, f: &mut fmt::Formatter<'_>, kind: Argument, argument: u32, next: u32) -> fmt::Result {
        let quoted = |text: &[u8]| format!("{:?}", String::from_utf8_lossy(text));
        match kind {
            Argument::Unused | Argument::Count => Ok(()),
            Argument::Number(Radix::Decimal) => write!(f, " {argument}"),
            Argument::Number(Radix::Octal) => write!(f, " 0{argument:o}"),
            Argument::Number(Radix::Hexadecimal) => write!(f, " {argument:#x}"),
            Argument::Input | Argument::Last => write!(f, " #{argument}"),
            Argument::Output => write!(f, " ->#{argument}"),
            Argument::Text => write!(f, " {}", quoted(self.text(argument))),
            Argument::Bytes => write!(f, " [{next} bytes]"),
            Argument::Words => write!(f, " [{next} words]"),
            Argument::Filter => write!(f, " [{next} instructions]"),
            Argument::Texts => {
                let texts: Vec<String> = self.texts(argument).into_iter().map(quoted).collect();
                write!(f, " [{}]", texts.join(", "))
            }
        }
    }
}
