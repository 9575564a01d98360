//! Files and pipes, read as far as a header says and never further than they are long.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// A file or a pipe whose header is being read.
pub(super) struct Input {
    path: PathBuf,
    reader: BufReader<File>,
    /// Bytes of the file; a pipe does not tell.
    length: Option<u64>,
    read: u64,
}

/// Where the data are, so that they can be read twice and from any place.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    /// What a pipe brought, in a temporary file without a name.
    Copy(File),
}

/// What there is of the data that a header announces.
#[derive(Clone, Copy)]
pub(super) enum Rest {
    /// Nothing may follow the data.
    Exactly,
    /// Something else may follow, as where NumPy has saved two arrays into one file.
    AtLeast,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if metadata.is_dir() {
            return Err("this is a folder, a file is needed".into());
        }
        let length = metadata.is_file().then_some(metadata.len());
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), length, read: 0 })
    }

    /// The next `bytes` bytes, fewer at the end. A file is asked how long it is before there is memory for them; that
    /// for a pipe grows with what comes.
    pub(super) fn read(&mut self, bytes: u64) -> Result<Vec<u8>, String> {
        let bytes = self.length.map_or(bytes, |length| bytes.min(length.saturating_sub(self.read)));
        let mut data = Vec::new();
        let read = (&mut self.reader).take(bytes).read_to_end(&mut data).map_err(|error| error.to_string())?;
        self.read += read as u64;
        Ok(data)
    }

    /// The next `bytes` bytes, or how many there are.
    pub(super) fn read_exactly(&mut self, bytes: u64, what: &str) -> Result<Vec<u8>, String> {
        let data = self.read(bytes)?;
        if (data.len() as u64) < bytes {
            return Err(format!("{what} of {bytes} bytes, but the file ends after {} of them", data.len()));
        }
        Ok(data)
    }

    /// The data after the header, `bytes` of them, and the place where they begin.
    pub(super) fn data(mut self, bytes: Option<u64>, rest: Rest, shape: &str) -> Result<(Source, u64), String> {
        let needed = bytes.and_then(|bytes| self.read.checked_add(bytes));
        let truncated = |there: u64| {
            let needed = needed.map_or("more than there can be".into(), |needed| needed.to_string());
            format!("the file is truncated: it has {there} bytes, {shape} needs {needed}")
        };
        let Some(length) = self.length else {
            let mut copy = tempfile::tempfile().map_err(|error| not_copied(&error))?;
            let bytes = bytes.ok_or_else(|| truncated(self.read))?;
            let copied =
                io::copy(&mut (&mut self.reader).take(bytes), &mut copy).map_err(|error| not_copied(&error))?;
            if copied < bytes {
                return Err(truncated(self.read + copied));
            }
            if matches!(rest, Rest::Exactly) && !self.read(1)?.is_empty() {
                return Err("bytes that no tensor covers follow the last one".into());
            }
            return Ok((Source::Copy(copy), 0));
        };
        match needed {
            Some(needed) if matches!(rest, Rest::Exactly) && needed < length => {
                Err(format!("{} bytes that no tensor covers follow the last one", length - needed))
            }
            Some(needed) if needed <= length => Ok((Source::File(self.path), self.read)),
            _ => Err(truncated(length)),
        }
    }
}

fn not_copied(error: &io::Error) -> String {
    format!("a pipe is copied to a temporary file, since its numbers are read twice: {error}")
}

impl Source {
    /// The file, at this place.
    pub(super) fn at(&self, offset: u64) -> io::Result<File> {
        let mut file = match self {
            Self::File(path) => File::open(path)?,
            Self::Copy(file) => file.try_clone()?,
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }
}
