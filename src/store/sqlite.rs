//! SQLite files: where they lie, who may read them, and a look at them before anything is changed.

use super::{Place, Schema, StoreError};
use rustix::fs::Access;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, Row, SqliteConnection};
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// `synchronous=FULL`: in WAL mode only this survives a power cut with every commit that was acknowledged.
pub(super) const WRITER_PRAGMAS: &str = "PRAGMA busy_timeout=10000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; \
     PRAGMA secure_delete=ON";

/// Readers cannot write by mistake.
pub(super) const READER_PRAGMAS: &str = "PRAGMA busy_timeout=10000; PRAGMA query_only=ON";

/// The first bytes of every SQLite file. Source: SQLite, "Database File Format", section 1.3.
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// The file that an address names.
pub(super) fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    let address = || StoreError::Address { url: without_password(url) };
    let (scheme, rest) = url.split_once(':').ok_or_else(address)?;
    if scheme != "sqlite" {
        return Err(StoreError::Engine { scheme: scheme.to_owned() });
    }
    let path = percent_decoded(rest.strip_prefix("//").unwrap_or(rest)).ok_or_else(address)?;
    if path.is_empty() || path == ":memory:" || rest.contains(['?', '#']) {
        return Err(address());
    }
    Ok(PathBuf::from(path))
}

/// The address of a file, with everything escaped that an address could take for something else.
pub(super) fn url_of(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => url.push(char::from(*byte)),
            other => {
                // Writing to a String does not fail.
                let _ = write!(url, "%{other:02x}");
            }
        }
    }
    url
}

/// Makes the file and its directory when they are missing, checks them when they are not, and returns the file's
/// absolute path. A present file is not changed.
pub(super) async fn prepare(path: &Path, schema: Schema) -> Result<PathBuf, StoreError> {
    let path = std::path::absolute(path).map_err(|source| file_error(path, source))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|source| file_error(directory, source))?;
    // The log and its index are made beside the file.
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|source| file_error(directory, source.into()))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => {
            if let Err(error) = begin(&path).await {
                // Left behind, it would be taken for a database that somebody emptied. If it cannot be removed, the
                // next start says that it is empty.
                let _ = std::fs::remove_file(&path);
                return Err(error);
            }
            Ok(path)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            check(&path, schema).await?;
            Ok(path)
        }
        Err(source) => Err(file_error(&path, source)),
    }
}

/// Writes the first page of a file that was just made: an empty file is not taken for a new database.
async fn begin(path: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    Ok(options.disable_statement_logging().connect().await?.close().await?)
}

/// Looks at a present file without changing it or anything beside it.
async fn check(path: &Path, schema: Schema) -> Result<(), StoreError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(|source| file_error(path, source))?;
    let damaged = |detail: String| StoreError::Damaged { path: path.to_owned(), detail };
    if file.metadata().map_err(|source| file_error(path, source))?.len() == 0 {
        // With a rollback journal the very first start was cut off. Without one SQLite would take the file for a new
        // database, and everything that was in it would be gone without a word.
        return if beside(path, "-journal") { Ok(()) } else { Err(damaged("it is empty".to_owned())) };
    }
    if !has_header(&mut file).map_err(|source| file_error(path, source))? {
        return Err(damaged("it is not a SQLite database".to_owned()));
    }
    if beside(path, "-journal") {
        // A rollback journal exists only if the very first start was cut off; SQLite must roll it back first.
        return Ok(());
    }
    // With a log beside it the file alone may be half of a checkpoint, so the log has to be read too. Without one the
    // file is opened as immutable: then SQLite makes no `-wal` and no `-shm`.
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(!beside(path, "-wal"));
    let mut connection =
        options.disable_statement_logging().connect().await.map_err(|error| damaged(error.to_string()))?;
    let verdict = inspect(&mut connection, path, schema).await;
    // Closing a connection that only read cannot lose anything.
    let _ = connection.close().await;
    verdict
}

async fn inspect(connection: &mut SqliteConnection, path: &Path, schema: Schema) -> Result<(), StoreError> {
    let damaged = |detail: String| StoreError::Damaged { path: path.to_owned(), detail };
    let foreign =
        |detail: &str| StoreError::Foreign { place: place(path), expected: schema.name, detail: detail.to_owned() };
    let problem: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| damaged(error.to_string()))?;
    if problem != "ok" {
        return Err(damaged(problem));
    }
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(&mut *connection).await?;
    if tables.is_empty() {
        return Ok(());
    }
    if !tables.iter().any(|table| table == "schema_version") {
        return Err(foreign("it belongs to another program"));
    }
    let versions = sqlx::query("SELECT name, version FROM schema_version").fetch_all(&mut *connection).await?;
    for row in versions {
        let (name, found): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if name != schema.name {
            return Err(foreign(&format!("it is a `{name}` database")));
        }
        if found > schema.version() {
            return Err(StoreError::Newer { place: place(path), found, known: schema.version() });
        }
    }
    Ok(())
}

fn place(path: &Path) -> Place {
    Place(path.display().to_string())
}

fn has_header(file: &mut File) -> io::Result<bool> {
    let mut header = [0; HEADER.len()];
    match file.read_exact(&mut header) {
        Ok(()) => Ok(&header == HEADER),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file with this ending lies beside the database and holds something.
fn beside(path: &Path, ending: &str) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    std::fs::metadata(name).is_ok_and(|metadata| metadata.len() > 0)
}

fn file_error(path: &Path, source: io::Error) -> StoreError {
    let path = path.to_owned();
    if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
        StoreError::Unwritable { path, source }
    } else {
        StoreError::File { path, source }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

/// An address as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://…{}", url.get(..scheme).unwrap_or_default(), url.get(at..).unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SCHEMA: Schema = Schema { name: "test", migrations: &[] };

    #[tokio::test]
    async fn a_new_file_is_never_left_empty_and_an_empty_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        prepare(&path, SCHEMA).await.unwrap();
        assert!(fs::metadata(&path).unwrap().len() > 0);
        prepare(&path, SCHEMA).await.unwrap();
        fs::write(&path, b"").unwrap();
        let error = prepare(&path, SCHEMA).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
