//! A D-Bus with systemd on it, as far as making a scope goes: answers calls, and writes down which. It makes no groups.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What was called, in order.
pub type Calls = Arc<Mutex<Vec<String>>>;

const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// Listens at `socket`; every scope is said to be in `group`.
pub fn play_systemd(socket: &Path, group: &str) -> Calls {
    let listener = UnixListener::bind(socket).expect("a socket can be made");
    let calls = Calls::default();
    let (kept, group) = (calls.clone(), group.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (calls, group) = (kept.clone(), group.clone());
            std::thread::spawn(move || serve(stream, &calls, &group));
        }
    });
    calls
}

/// The end of the connection, however it comes, is the end of the caller's business.
fn serve(mut stream: UnixStream, calls: &Calls, group: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    for answer in ["DATA\r\n", "OK 0123456789abcdef0123456789abcdef\r\n", ""] {
        reader.read_line(&mut String::new()).ok()?;
        stream.write_all(answer.as_bytes()).ok()?;
    }
    loop {
        let mut fixed = [0; 16];
        reader.read_exact(&mut fixed).ok()?;
        let word = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let (body, serial, fields) = (word(4) as usize, word(8), word(12) as usize);
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        reader.read_exact(&mut rest).ok()?;
        let member = member(&rest[..fields])?;
        let mut answers = Vec::new();
        match member.as_str() {
            "StartTransientUnit" => {
                let mut removed = 7u32.to_le_bytes().to_vec();
                [JOB, "a.scope", "done"].iter().for_each(|part| text(&mut removed, part));
                let origin = [(1, b'o', ""), (2, b's', "org.freedesktop.systemd1.Manager"), (3, b's', "JobRemoved")];
                let origin = origin.map(|(code, kind, value)| (code, kind, if code == 1 { JOB } else { value }));
                answers.push(message(2, &reply_to(serial), "o", &texts(&[JOB])));
                answers.push(message(4, &strings(&origin), "uoss", &removed));
            }
            "GetUnit" => answers.push(message(2, &reply_to(serial), "o", &texts(&[JOB]))),
            "Get" => {
                let mut variant = vec![1, b's', 0];
                text(&mut variant, group);
                answers.push(message(2, &reply_to(serial), "v", &variant));
            }
            _ => answers.push(message(2, &reply_to(serial), "", &[])),
        }
        calls.lock().expect("no thread panics").push(member);
        for answer in answers {
            stream.write_all(&answer).ok()?;
        }
    }
}

/// The header field 3, a string.
fn member(fields: &[u8]) -> Option<String> {
    let at = fields.windows(4).position(|window| window == [3, 1, b's', 0])? + 4;
    let length = u32::from_le_bytes(fields.get(at..at + 4)?.try_into().ok()?) as usize;
    String::from_utf8(fields.get(at + 4..at + 4 + length)?.to_vec()).ok()
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(bytes: &mut Vec<u8>, value: &str) {
    align(bytes, 4);
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value.as_bytes());
    bytes.push(0);
}

fn texts(values: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| text(&mut bytes, value));
    bytes
}

fn reply_to(serial: u32) -> Vec<u8> {
    [&[5, 1, b'u', 0], serial.to_le_bytes().as_slice()].concat()
}

fn strings(fields: &[(u8, u8, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (code, kind, value) in fields {
        align(&mut bytes, 8);
        bytes.extend([*code, 1, *kind, 0]);
        text(&mut bytes, value);
    }
    bytes
}

fn message(kind: u8, fields: &[u8], signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = fields.to_vec();
    align(&mut fields, 8);
    fields.extend([8, 1, b'g', 0, signature.len() as u8]);
    fields.extend(signature.as_bytes());
    fields.push(0);
    let mut bytes = vec![b'l', kind, 0, 1];
    for word in [body.len() as u32, 99, fields.len() as u32] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(fields);
    align(&mut bytes, 8);
    bytes.extend(body);
    bytes
}
