//! Compressed streams, told apart by their first bytes.

use std::io::{self, BufReader, Cursor, Read};

/// Enough to tell them apart.
const HEAD_BYTES: usize = 10;
const READ_AHEAD_BYTES: usize = 128 << 10;
/// What an xz stream may ask for: twice what `xz -9` does.
const XZ_MEMORY_KIB: u32 = 128 << 10;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Form {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // The level, and the first block's mark.
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
                ..,
            ] => Self::Bzip2,
            _ => Self::Plain,
        }
    }

    /// Whether layers of images travel in this form.
    pub(crate) fn is_of_layers(self) -> bool {
        matches!(self, Self::Plain | Self::Gzip | Self::Zstd)
    }
}

/// A stream of which the beginning has been looked at.
pub(crate) struct Peeked<R> {
    pub form: Form,
    /// The whole of it.
    pub stream: io::Chain<Cursor<Vec<u8>>, BufReader<R>>,
}

impl<'a, R: Read + 'a> Peeked<R> {
    pub(crate) fn new(stream: R) -> io::Result<Self> {
        let mut stream = BufReader::with_capacity(READ_AHEAD_BYTES, stream);
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let most = HEAD_BYTES as u64;
        stream.by_ref().take(most).read_to_end(&mut head)?;
        Ok(Self {
            form: Form::of(&head),
            stream: Cursor::new(head).chain(stream),
        })
    }

    /// What it is of.
    pub(crate) fn decompressed(self) -> io::Result<Box<dyn Read + 'a>> {
        let stream = self.stream;
        Ok(match self.form {
            Form::Plain => Box::new(stream),
            Form::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(stream))),
            Form::Zstd => Box::new(zstd::stream::read::Decoder::new(stream)?),
            Form::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
                stream,
                true,
                XZ_MEMORY_KIB,
            )),
            Form::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(stream)),
        })
    }
}

/// Reads plain and compressed streams alike.
pub(crate) fn decompressed<'a>(stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Peeked::new(stream)?.decompressed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "hello\n" by `xz` and `bzip2`.
    const XZ: &[u8] = include_bytes!("compression/hello.xz");
    const BZIP2: &[u8] = include_bytes!("compression/hello.bz2");

    #[test]
    fn every_form_reads_as_what_was_compressed() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, b"hello\n").unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&b"hello\n"[..], 1).unwrap();
        for bytes in [b"hello\n", XZ, BZIP2, &gzip, &zstd] {
            let mut text = String::new();
            let mut stream = decompressed(bytes).unwrap();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello\n");
        }
    }

    #[test]
    fn short_streams_are_plain() {
        for bytes in [&b""[..], b"B", b"BZh9", &[0xfd, b'7']] {
            let mut all = Vec::new();
            decompressed(bytes).unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(all, bytes);
        }
    }
}
