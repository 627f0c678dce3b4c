//! Compressed streams, told apart by their first bytes.

use crate::{Error, ErrorKind, Result};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Read, Write};

/// The bytes by which formats are told apart.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What is recognised in order to be refused by name.
const UNREAD: [(&[u8], &str); 3] = [(b"BZh", "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"), (b"LZIP", "lzip")];

/// The largest window of a zstd frame in bytes: what `zstd --ultra -22` writes, and so the memory one frame may cost.
const ZSTD_WINDOW: u64 = 128 << 20;

/// The content of `reader` by its magic number: gzip of any number of members (RFC 1952), zstd of any number of frames
/// (RFC 8878), else the bytes as they are. Budgets are the reader's: see [`Budget`](super::Budget).
pub(crate) fn decompress<'reader>(reader: impl Read + 'reader) -> Result<Box<dyn Read + 'reader>> {
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let mut magic = Vec::with_capacity(8);
    reader.by_ref().take(8).read_to_end(&mut magic).map_err(super::read_error)?;
    let zstd = magic.starts_with(&ZSTD) || is_skippable(&magic);
    if let Some((_, name)) = UNREAD.iter().find(|(bytes, _)| magic.starts_with(bytes)) {
        return Err(Error::new(ErrorKind::Unsupported, format!("archive is compressed with {name}"))
            .hint("compress it with gzip or zstd"));
    }
    let gzip = magic.starts_with(&GZIP);
    let whole = BufReader::with_capacity(128 << 10, io::Cursor::new(magic).chain(reader));
    if gzip {
        return Ok(Box::new(MultiGzDecoder::new(whole)));
    }
    if zstd {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        return Ok(Box::new(ZstdFrames { source: whole, decoder, in_frame: false }));
    }
    Ok(Box::new(whole))
}

/// A gzip stream into `writer`: the fastest level, no time and no name in the header, so the same bytes give the same
/// stream.
pub(crate) fn compress_gzip<W: Write>(writer: W) -> GzEncoder<W> {
    GzBuilder::new().write(writer, Compression::fast())
}

fn is_skippable(magic: &[u8]) -> bool {
    magic.len() >= 4 && magic[0] & 0xf0 == 0x50 && magic[1..4] == [0x2a, 0x4d, 0x18]
}

/// The frames of a zstd stream, one after the other; checksums are verified.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    /// Begins the next frame; `false` at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                    if skipped != u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(false)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stated), Some(actual)) if stated != actual => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "zstd checksum mismatch"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            self.end_frame()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = compress_gzip(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes).map_err(io::Error::other)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_member_of_a_stream_is_read() {
        let long = b"0123456789".repeat(50_000);
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        assert_eq!(read(b"plain").unwrap(), b"plain");
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(&[gzip(b"one, "), gzip(b""), gzip(b"two")].concat()).unwrap(), b"one, two");
        assert_eq!(read(&[zstd(b"one, "), skippable.clone(), zstd(b"two")].concat()).unwrap(), b"one, two");
        assert_eq!(read(&[skippable, zstd(&long)].concat()).unwrap(), long);
        assert_eq!(read(&gzip(&long)).unwrap(), long);
    }

    #[test]
    fn damage_is_an_error() {
        for whole in [gzip(&b"0123456789".repeat(100)), zstd(&b"0123456789".repeat(100))] {
            assert!(read(&whole[..whole.len() - 1]).is_err());
            let mut turned = whole.clone();
            let last = turned.len() - 6;
            turned[last] ^= 0x55;
            assert!(read(&turned).is_err());
            assert!(read(&[whole, b"garbage after the end".to_vec()].concat()).is_err());
        }
        assert!(read(b"BZh91AY&SY").unwrap_err().to_string().contains("bzip2"));
    }
}
