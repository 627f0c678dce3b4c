//! The messages of D-Bus (D-Bus Specification, "Message Protocol"): as much as talking to systemd takes. Whatever the
//! other end sends is read within a budget, or refused.

/// The longest message that is read; the specification allows 128 MiB, systemd's answers take some hundred bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// The part of a header of fixed size.
pub(super) const FIXED: usize = 16;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Return,
    Error,
    Signal,
    /// To be ignored, as the specification has it.
    Unknown,
}

/// A value of a property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    U32(u32),
    I32(i32),
    U64(u64),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<u32>),
    Bytes(Vec<u8>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Value::Bool(_) => "b",
            Value::U32(_) => "u",
            Value::I32(_) => "i",
            Value::U64(_) => "t",
            Value::Text(_) => "s",
            Value::Texts(_) => "as",
            Value::Numbers(_) => "au",
            Value::Bytes(_) => "ay",
        }
    }
}

/// Writes values as the protocol wants them, least byte first.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    /// Strings and object paths.
    pub(super) fn text(&mut self, value: &str) {
        self.u32(value.len() as u32);
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }

    pub(super) fn signature(&mut self, value: &str) {
        self.0.push(value.len() as u8);
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// An array whose elements are aligned to `to` bytes; the padding before the first does not count as its length.
    pub(super) fn array(&mut self, to: usize, fill: impl FnOnce(&mut Encoder)) {
        self.u32(0);
        let at = self.0.len() - 4;
        self.align(to);
        let begin = self.0.len();
        fill(self);
        let length = (self.0.len() - begin) as u32;
        self.0[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    pub(super) fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(value) => self.bool(*value),
            Value::U32(value) => self.u32(*value),
            Value::I32(value) => self.u32(*value as u32),
            Value::U64(value) => self.u64(*value),
            Value::Text(value) => self.text(value),
            Value::Texts(values) => self.array(4, |array| values.iter().for_each(|value| array.text(value))),
            Value::Numbers(values) => self.array(4, |array| values.iter().for_each(|value| array.u32(*value))),
            Value::Bytes(values) => self.array(1, |array| array.0.extend(values)),
        }
    }

    /// Properties: `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[(String, Value)]) {
        self.array(8, |array| {
            for (name, value) in properties {
                array.align(8);
                array.text(name);
                array.variant(value);
            }
        });
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A method call.
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
    pub(super) body: Vec<u8>,
}

impl Call<'_> {
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut header = Encoder::default();
        // Least byte first, a method call, no flags, version 1.
        header.0.extend([b'l', 1, 0, 1]);
        header.u32(self.body.len() as u32);
        header.u32(serial);
        header.array(8, |fields| {
            for (code, kind, text) in
                [(1, "o", self.path), (2, "s", self.interface), (3, "s", self.member), (6, "s", self.destination)]
            {
                fields.align(8);
                fields.byte(code);
                fields.signature(kind);
                fields.text(text);
            }
            if !self.signature.is_empty() {
                fields.align(8);
                fields.byte(8);
                fields.signature("g");
                fields.signature(self.signature);
            }
        });
        header.align(8);
        header.0.extend(&self.body);
        header.into_bytes()
    }
}

/// What the other end sends: an answer to `reply_to`, an error, or a signal.
#[cfg(test)]
pub(super) fn encode_answer(kind: u8, reply_to: u32, texts: [(u8, &str); 3], signature: &str, body: &[u8]) -> Vec<u8> {
    let mut header = Encoder::default();
    header.0.extend([b'l', kind, 0, 1]);
    header.u32(body.len() as u32);
    header.u32(77);
    header.array(8, |fields| {
        for (code, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            fields.align(8);
            fields.byte(code);
            fields.signature(if code == 1 { "o" } else { "s" });
            fields.text(text);
        }
        if reply_to != 0 {
            fields.align(8);
            fields.byte(5);
            fields.signature("u");
            fields.u32(reply_to);
        }
        fields.align(8);
        fields.byte(8);
        fields.signature("g");
        fields.signature(signature);
    });
    header.align(8);
    header.0.extend(body);
    header.into_bytes()
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) serial: u32,
    pub(super) reply_to: Option<u32>,
    pub(super) path: String,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error: String,
    pub(super) sender: String,
    pub(super) signature: String,
    big_endian: bool,
    body: Vec<u8>,
}

/// How long the message is that begins with these [`FIXED`] bytes; `None` where it is none, or too long.
pub(super) fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    let big_endian = match fixed[0] {
        b'l' => false,
        b'B' => true,
        _ => return None,
    };
    let mut reader = Reader { bytes: fixed, at: 4, big_endian };
    let body = reader.u32()? as usize;
    reader.u32()?;
    let fields = reader.u32()? as usize;
    (body <= LONGEST && fields <= LONGEST)
        .then(|| (FIXED + fields).next_multiple_of(8) + body)
        .filter(|length| *length <= LONGEST && fixed[3] == 1)
}

impl Message {
    /// One whole message.
    pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
        let fixed: &[u8; FIXED] = bytes.first_chunk()?;
        if length(fixed)? != bytes.len() {
            return None;
        }
        let big_endian = fixed[0] == b'B';
        let mut reader = Reader { bytes, at: 4, big_endian };
        let body = reader.u32()? as usize;
        let mut message = Message {
            kind: match fixed[1] {
                1 => Kind::Call,
                2 => Kind::Return,
                3 => Kind::Error,
                4 => Kind::Signal,
                _ => Kind::Unknown,
            },
            serial: reader.u32()?,
            reply_to: None,
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            sender: String::new(),
            signature: String::new(),
            big_endian,
            body: bytes[bytes.len() - body..].to_vec(),
        };
        let end = FIXED + reader.u32()? as usize;
        let mut fields = Reader { bytes: bytes.get(..end)?, at: FIXED, big_endian };
        while fields.at < end {
            message.field(&mut fields)?;
        }
        Some(message)
    }

    fn field(&mut self, fields: &mut Reader<'_>) -> Option<()> {
        fields.align(8)?;
        let code = fields.byte()?;
        let (number, text) = match fields.signature()?.as_str() {
            "s" | "o" => (None, Some(fields.text()?)),
            "g" => (None, Some(fields.signature()?)),
            "u" | "i" | "b" | "h" => (Some(fields.u32()?), None),
            "t" | "x" | "d" => {
                fields.align(8)?;
                fields.take(8)?;
                (None, None)
            }
            "y" => {
                fields.byte()?;
                (None, None)
            }
            // A field of a later version of the protocol would have to be of one of these to be passed over.
            _ => return None,
        };
        match (code, number, text) {
            (1, _, Some(text)) => self.path = text,
            (2, _, Some(text)) => self.interface = text,
            (3, _, Some(text)) => self.member = text,
            (4, _, Some(text)) => self.error = text,
            (5, Some(number), _) => self.reply_to = Some(number),
            (7, _, Some(text)) => self.sender = text,
            (8, _, Some(text)) => self.signature = text,
            _ => {}
        }
        Some(())
    }

    /// The arguments, to be read in the order of the signature.
    pub(super) fn arguments(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0, big_endian: self.big_endian }
    }
}

/// Reads values in the order in which they stand; `None` at the first that is none.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) -> Option<()> {
        let next = self.at.next_multiple_of(to);
        // The specification: padding is zero.
        let padding = self.bytes.get(self.at..next)?;
        self.at = next;
        padding.iter().all(|byte| *byte == 0).then_some(())
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        let big_endian = self.big_endian;
        let bytes = *self.take(4)?.first_chunk()?;
        Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        self.ended(length)
    }

    pub(super) fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    /// A text of this length with the NUL after it, and none within.
    fn ended(&mut self, length: usize) -> Option<String> {
        let text = std::str::from_utf8(self.take(length.checked_add(1)?)?).ok()?;
        let text = text.strip_suffix('\0')?;
        (!text.contains('\0')).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Vec<u8> {
        let mut body = Encoder::default();
        body.text("unit.scope");
        body.properties(&[
            ("PIDs".to_owned(), Value::Numbers(vec![7])),
            ("Delegate".to_owned(), Value::Bool(true)),
            ("MemoryMax".to_owned(), Value::U64(1 << 40)),
        ]);
        let (destination, path) = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1");
        Call { destination, path, interface: "a.b", member: "Start", signature: "sa(sv)", body: body.into_bytes() }
            .encode(9)
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = call();
        assert_eq!(length(bytes.first_chunk().unwrap()), Some(bytes.len()));
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.serial, message.reply_to), (Kind::Call, 9, None));
        assert_eq!((message.path.as_str(), message.member.as_str()), ("/org/freedesktop/systemd1", "Start"));
        assert_eq!((message.interface.as_str(), message.signature.as_str()), ("a.b", "sa(sv)"));
        assert_eq!(message.arguments().text().as_deref(), Some("unit.scope"));
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_refused() {
        let bytes = call();
        for end in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..end]), None);
        }
        let mut long = bytes.clone();
        long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(long.first_chunk().unwrap()), None);
        let mut reader = Reader { bytes: &[255, 255, 255, 255], at: 0, big_endian: false };
        assert_eq!(reader.text(), None);
    }

    #[test]
    fn the_other_byte_order_is_read_as_well() {
        let bytes = [b'B', 4, 0, 1, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 8, 5, 1, b'u', 0, 0, 0, 0, 3, 0, 0, 1, 0];
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.serial, message.reply_to), (Kind::Signal, 5, Some(3)));
        assert_eq!(message.arguments().u32(), Some(256));
    }
}
