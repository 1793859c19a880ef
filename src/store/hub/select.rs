//! Lists: filters that are put together at run time, and pages.
//!
//! The text of a statement comes from constants only; everything from outside is bound.

use super::Columns as _;
use crate::api::parameters::Elsewhere;
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use std::fmt::{self, Write as _};
use uuid::Uuid;

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// At most so many.
    pub limit: u32,
    /// What follows this.
    pub after: Option<Cursor>,
}

/// A part of a list, and where it goes on.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where it goes on, if it does.
    pub next: Option<Cursor>,
}

impl<T> Paged<T> {
    /// The same page of other things.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Paged<U> {
        Paged { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

/// The place of an item in its list: what the list is ordered by, and the id for those that are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    key: i64,
    id: Uuid,
}

impl Cursor {
    /// As text. The list is named in it: a place in one list is none in another.
    pub fn text(&self, list: &str) -> String {
        STANDARD.encode(format!("{} {} {list}", self.key, self.id))
    }

    /// Reads what [`Self::text`] wrote for the same list.
    pub fn parse(text: &str, list: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let (key, rest) = std::str::from_utf8(&bytes).ok()?.split_once(' ')?;
        let (id, of) = rest.split_once(' ')?;
        if of != list {
            return None;
        }
        Some(Self { key: key.parse().ok()?, id: Uuid::try_parse(id).ok()? })
    }
}

/// A value to be bound.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    Text(String),
    Integer(i64),
}

impl From<&str> for Bound {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Bound {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<Time> for Bound {
    fn from(time: Time) -> Self {
        Self::Integer(time.ms())
    }
}

/// A `SELECT` in the making.
pub(super) struct Select {
    sql: String,
    values: Vec<Bound>,
}

impl Select {
    /// Starts with everything up to the conditions.
    pub(super) fn new(start: &'static str) -> Self {
        Self { sql: format!("{start} WHERE 1 = 1"), values: Vec::new() }
    }

    /// Adds a condition without a value.
    pub(super) fn and(&mut self, condition: &'static str) {
        let _ = write!(self.sql, " AND ({condition})");
    }

    /// Adds a condition; each `$` in it is the value.
    pub(super) fn and_value(&mut self, condition: &'static str, value: impl Into<Bound>) {
        let place = self.bind(value.into());
        let _ = write!(self.sql, " AND ({})", condition.replace('$', &place));
    }

    /// Adds a condition when there is a value.
    pub(super) fn and_maybe(&mut self, condition: &'static str, value: Option<impl Into<Bound>>) {
        if let Some(value) = value {
            self.and_value(condition, value);
        }
    }

    /// Adds a condition on an id when there is one.
    pub(super) fn and_id(&mut self, condition: &'static str, id: Option<impl fmt::Display>) {
        self.and_maybe(condition, id.map(|id| id.to_string()));
    }

    /// Lets through only these values of a column; an empty list lets nothing through.
    pub(super) fn and_any_of<T: fmt::Display>(&mut self, column: &'static str, values: Option<&[T]>) {
        let Some(values) = values else { return };
        if values.is_empty() {
            return self.and("1 = 0");
        }
        let places: Vec<String> = values.iter().map(|value| self.bind(Bound::Text(value.to_string()))).collect();
        let _ = write!(self.sql, " AND {column} IN ({})", places.join(", "));
    }

    /// Lets nothing through when one of these was given.
    pub(super) fn and_elsewhere(&mut self, filters: &[&dyn Elsewhere]) {
        if filters.iter().any(|filter| filter.is_given()) {
            self.and("1 = 0");
        }
    }

    /// Adds a condition on a text that contains another; each `$` in it is the pattern.
    ///
    /// Both sides go through the engine's own `LOWER`: engines differ in which letters they know (SQLite: ASCII only).
    pub(super) fn and_search(&mut self, condition: &'static str, search: Option<&str>) {
        let Some(search) = search else { return };
        let mut pattern = String::from("%");
        for c in search.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        self.and_value(condition, pattern);
    }

    fn bind(&mut self, value: Bound) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// A number of rows. SQLite looks at a bare `LIMIT $1` when it plans, and plans anew for each value that is bound;
    /// a sum it leaves alone.
    fn limit(&mut self, rows: i64) -> String {
        format!("{} + 0", self.bind(Bound::Integer(rows)))
    }

    /// Runs the statement with its last words.
    pub(super) async fn fetch(
        mut self,
        end: &'static str,
        connection: &mut Connection,
    ) -> Result<Vec<AnyRow>, StoreError> {
        self.sql.push_str(end);
        self.run(connection).await
    }

    /// Runs the statement with its last words, which hold one `$` for the number of rows.
    pub(super) async fn fetch_some(
        mut self,
        end: &'static str,
        limit: u32,
        connection: &mut Connection,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let place = self.limit(limit.into());
        self.sql.push_str(&end.replace('$', &place));
        self.run(connection).await
    }

    /// The same without the first rows.
    pub(super) async fn fetch_some_after(
        mut self,
        offset: u32,
        end: &'static str,
        limit: u32,
        connection: &mut Connection,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let (limit, offset) = (self.bind(Bound::Integer(limit.into())), self.bind(Bound::Integer(offset.into())));
        let _ = write!(self.sql, "{} OFFSET {offset}", end.replace('$', &limit));
        self.run(connection).await
    }

    /// Runs the statement for one page, ordered by an integer column and, where that is equal, by id.
    pub(super) async fn page(
        mut self,
        table: &'static str,
        key: &'static str,
        id: &'static str,
        page: Page,
        connection: &mut Connection,
    ) -> Result<Paged<AnyRow>, StoreError> {
        if let Some(after) = page.after {
            let (place, same) = (self.bind(Bound::Integer(after.key)), self.bind(Bound::Text(after.id.to_string())));
            let _ = write!(
                self.sql,
                " AND ({table}.{key} > {place} OR ({table}.{key} = {place} AND {table}.{id} > {same}))"
            );
        }
        let limit = self.limit(i64::from(page.limit) + 1);
        let _ = write!(self.sql, " ORDER BY {table}.{key}, {table}.{id} LIMIT {limit}");
        let mut items = self.run(connection).await?;
        let wanted = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = items.len() > wanted;
        items.truncate(wanted);
        let next = match items.last() {
            Some(last) if more => Some(Cursor { key: last.integer(key)?, id: last.id(id)? }),
            Some(_) | None => None,
        };
        Ok(Paged { items, next })
    }

    async fn run(self, connection: &mut Connection) -> Result<Vec<AnyRow>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for value in self.values {
            query = match value {
                Bound::Text(text) => query.bind(text),
                Bound::Integer(integer) => query.bind(integer),
            };
        }
        Ok(query.fetch_all(connection).await?)
    }
}

/// Turns the rows of a page into things.
pub(super) fn each<T>(
    page: &Paged<AnyRow>,
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Paged<T>, StoreError> {
    Ok(Paged { items: page.items.iter().map(read).collect::<Result<_, _>>()?, next: page.next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let cursor = Cursor { key: -5, id: Uuid::from_u128(7) };
        assert_eq!(Cursor::parse(&cursor.text("/a"), "/a"), Some(cursor));
        assert_eq!(Cursor::parse(&cursor.text("/a"), "/b"), None);
        for text in ["", "page 2", "NSA1", "////"] {
            assert_eq!(Cursor::parse(text, "/a"), None, "{text}");
        }
    }
}
