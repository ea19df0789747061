//! Files as they are kept: plain, gzip or Zstandard, told by their first bytes and not by their names.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The first byte of a skippable Zstandard frame is 0x50 to 0x5f.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
const OTHERS: [(&[u8], &str); 3] = [(&[0xfd, b'7', b'z', b'X', b'Z'], "xz"), (b"BZh", "bzip2"), (b"PK\x03\x04", "zip")];

/// The content of an input, decompressed if need be.
pub(super) fn reader<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut first = Vec::new();
    input.by_ref().take(8).read_to_end(&mut first)?;
    let starts = |magic: &[u8]| first.starts_with(magic);
    let skippable = first.get(1..).is_some_and(|rest| rest.starts_with(ZSTD_SKIPPABLE)) && first[0] & 0xf0 == 0x50;
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| starts(magic)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("compressed by {name}, expected plain text, gzip or zstd"),
        ));
    }
    let (gzip, zstd) = (starts(GZIP), starts(ZSTD) || skippable);
    let whole = BufReader::new(Cursor::new(first).chain(input));
    Ok(match (gzip, zstd) {
        (true, _) => Box::new(BufReader::new(MultiGzDecoder::new(whole))),
        (_, true) => Box::new(BufReader::new(Zstd::new(whole))),
        _ => Box::new(whole),
    })
}

/// The decoder's own words are names of its types.
fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the Zstandard data is damaged or cut off")
}

/// All frames of a Zstandard stream, one after the other.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    /// Within a frame.
    inside: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), inside: false }
    }

    /// Goes to the next frame's content; false at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(_) => return Err(damaged()),
            }
        }
        Ok(false)
    }

    fn check_sum(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(found)) if stored != found => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match: the file is damaged"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.inside = true;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.check_sum()?;
                self.inside = false;
                continue;
            }
            let one = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder.decode_blocks(&mut self.source, one).map_err(|_| damaged())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const TEXT: &str = "one line\nand another\n";

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        reader(bytes)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    #[test]
    fn every_kind_is_known_by_its_content() {
        let long = TEXT.repeat(50_000);
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        for text in ["", "a", TEXT, &long] {
            let twice = text.repeat(2);
            assert_eq!(read(text.as_bytes()).unwrap(), text);
            assert_eq!(read(&gzip(text)).unwrap(), text);
            assert_eq!(read(&zstd(text)).unwrap(), text);
            // Concatenated files are one file.
            assert_eq!(read(&[gzip(text), gzip(text)].concat()).unwrap(), twice);
            assert_eq!(read(&[skippable.clone(), zstd(text), skippable.clone(), zstd(text)].concat()).unwrap(), twice);
        }
        assert_eq!(read(&skippable).unwrap(), "");
    }

    #[test]
    fn damage_is_an_error_and_never_a_shorter_text() {
        for whole in [gzip(&TEXT.repeat(100)), zstd(&TEXT.repeat(100))] {
            for length in 8..whole.len() {
                assert!(read(&whole[..length]).is_err(), "cut to {length} of {}", whole.len());
            }
            for at in 8..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x10;
                // A flipped bit may stand where nothing is said; the text is then the same.
                let text = read(&damaged);
                assert!(text.is_err() || text.is_ok_and(|t| t == TEXT.repeat(100)), "byte {at}");
            }
            assert!(read(&[&whole[..], b"rest"].concat()).is_err());
        }
        let cut = [0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1];
        assert!(read(&cut).is_err());
        let e = read(b"\xfd7zXZ\0...").unwrap_err().to_string();
        assert!(e.contains("xz") && e.contains("gzip or zstd"), "{e}");
    }
}
