//! A change of the key: every sealed value is sealed again with the key that is first now, a slice of a
//! table at a time, beside hosts that write.

mod columns;

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Argument, Error, Row, Store, query, query_as};
use crate::failpoint;
use crate::secrets::{KeyId, Keyring};
use columns::{COLUMNS, Part, SealedColumn, Shape};

/// Rows that are looked at, and written in one transaction.
const SLICE: i64 = 500;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Table and column.
    pub of: (&'static str, &'static str),
    /// Values of it that were sealed again, in this run.
    pub resealed: u64,
}

/// What is left of other keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Values by the key that they are sealed with.
    pub by_key: BTreeMap<KeyId, u64>,
    /// Where one of them is.
    pub example: Option<String>,
}

/// A row with a sealed value, or several in a JSON object.
struct Sealed {
    key: Vec<Part>,
    /// As it is stored.
    stored: Stored,
}

#[derive(Clone, PartialEq)]
enum Stored {
    Value(Vec<u8>),
    /// By name, in base64.
    Map(String),
}

impl Store {
    /// Returns when every transaction that may have sealed with an older key is over, on SQLite: who
    /// begins one now sees the key file as it is.
    pub async fn await_writers(&self) -> Result<(), Error> {
        self.control.write(|_| Box::pin(async { Ok(()) })).await
    }

    /// Seals again, with the first key, whatever another one has sealed; answers how many values. One
    /// that was ended goes on where it stood. A value that changes meanwhile was sealed by whoever
    /// changed it. The inbox comes before the owners' secrets, to which its values move.
    pub async fn seal_again(&self, mut told: impl FnMut(Progress)) -> Result<u64, Error> {
        let newest = self.keyring.newest();
        let (first, mut after) = self.rotation_stands_at(newest).await?;
        let mut all = 0;
        for (step, column) in COLUMNS.iter().enumerate().skip(first) {
            if !column.is_in(self.control.dialect()) {
                continue;
            }
            let mut resealed = 0;
            loop {
                let rows = self.sealed_rows(column, after.as_deref()).await?;
                let Some(last) = rows.last() else { break };
                let (position, is_last) = (last.key.clone(), (rows.len() as i64) < SLICE);
                let work = Work { column, step, newest, after: position.clone() };
                resealed += self.reseal(work, rows).await?;
                failpoint::reach("secrets_resealed");
                after = Some(position);
                if is_last {
                    break;
                }
            }
            after = None;
            all += resealed;
            told(Progress { of: (column.table, column.column), resealed });
        }
        self.control.execute(query("delete from key_rotation")).await?;
        Ok(all)
    }

    /// Counts the values that another key than the first has sealed.
    pub async fn sealed_with_others(&self) -> Result<Left, Error> {
        let (newest, mut left) = (self.keyring.newest(), Left::default());
        for column in COLUMNS.iter().filter(|column| column.is_in(self.control.dialect())) {
            let mut after = None;
            loop {
                let rows = self.sealed_rows(column, after.as_deref()).await?;
                for row in &rows {
                    for (name, sealed) in row.stored.values()? {
                        let Some(id) = KeyId::of(&sealed).filter(|id| *id != newest) else {
                            continue;
                        };
                        *left.by_key.entry(id).or_default() += 1;
                        left.example.get_or_insert_with(|| column.place(&row.key, &name));
                    }
                }
                if (rows.len() as i64) < SLICE {
                    break;
                }
                after = rows.last().map(|row| row.key.clone());
            }
        }
        Ok(left)
    }

    /// Column and row from which to go on; from the beginning, if another key was new then.
    async fn rotation_stands_at(&self, newest: KeyId) -> Result<(usize, Option<Vec<Part>>), Error> {
        let stands: Option<(i64, String)> =
            query_as("select step, after from key_rotation where key_id = $1")
                .bind(newest.to_string())
                .fetch_optional(self.control.readers())
                .await?;
        let Some((step, after)) = stands else { return Ok((0, None)) };
        let after = serde_json::from_str(&after)
            .map_err(|error| Error::Inconsistent(format!("key_rotation: {error}")))?;
        Ok((usize::try_from(step).unwrap_or(0), Some(after)))
    }

    async fn sealed_rows(
        &self,
        column: &SealedColumn,
        after: Option<&[Part]>,
    ) -> Result<Vec<Sealed>, Error> {
        let mut statement = query(column.select(after.is_some()));
        for part in after.into_iter().flatten().take(column.key.len()) {
            statement = statement.bind(part.argument());
        }
        let rows = statement.bind(SLICE).fetch_all(self.control.readers()).await?;
        Ok(rows.iter().map(|row| sealed(column, row)).collect())
    }

    async fn reseal(&self, work: Work<'_>, rows: Vec<Sealed>) -> Result<u64, Error> {
        let (mut writes, mut values) = (Vec::new(), HashMap::new());
        for row in rows {
            let (fresh, count) = self.sealed_again(&work, &row)?;
            if let Some(fresh) = fresh {
                values.insert(writes.len(), count);
                writes.push(work.column.update(&row.key, fresh.argument(), row.stored.argument()));
            }
        }
        let Work { step, newest, after, .. } = work;
        let after = serde_json::to_string(&after)
            .map_err(|error| Error::Inconsistent(format!("key_rotation: {error}")))?;
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let written = self.control.write(move |connection| {
            Box::pin(async move {
                let mut resealed = 0;
                for (nth, write) in writes.into_iter().enumerate() {
                    let done = write.execute(&mut *connection).await?;
                    resealed += done.rows_affected() * values[&nth];
                }
                query(
                    "insert into key_rotation (key_id, step, after) values ($1, $2, $3)
                     on conflict (key_id) do update set step = excluded.step, after = excluded.after",
                )
                .bind(newest.to_string())
                .bind(step)
                .bind(after)
                .execute(connection)
                .await?;
                Ok(resealed)
            })
        });
        written.await
    }

    /// The row's value sealed with the first key, and how many values of it weren't; none if all were,
    /// or can't be opened: those stay, and are counted in the end.
    fn sealed_again(&self, work: &Work<'_>, row: &Sealed) -> Result<(Option<Stored>, u64), Error> {
        let (mut fresh, mut count) = (BTreeMap::new(), 0);
        for (name, sealed) in row.stored.values()? {
            let place = work.column.place(&row.key, &name);
            let again = match KeyId::of(&sealed) {
                Some(id) if id != work.newest => again(&self.keyring, &place, &sealed),
                _ => None,
            };
            count += u64::from(again.is_some());
            fresh.insert(name, again.unwrap_or(sealed));
        }
        if count == 0 {
            return Ok((None, 0));
        }
        Ok((Some(Stored::of(&row.stored, fresh)?), count))
    }
}

/// What a slice is part of.
struct Work<'c> {
    column: &'c SealedColumn,
    step: usize,
    newest: KeyId,
    /// Primary key of its last row.
    after: Vec<Part>,
}

fn again(keyring: &Keyring, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    match keyring.open(place, sealed) {
        Ok(secret) => Some(keyring.seal(place, &secret)),
        Err(error) => {
            tracing::warn!("can't be sealed again: {error:#}");
            None
        }
    }
}

fn sealed(column: &SealedColumn, row: &Row) -> Sealed {
    let stored = match column.shape {
        Shape::Value => Stored::Value(row.get("sealed_value")),
        Shape::Map => Stored::Map(row.get("sealed_value")),
    };
    Sealed { key: column.parts(row), stored }
}

impl Stored {
    /// Each value by its name; the only one has none.
    fn values(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let broken = |error: String| Error::Inconsistent(format!("sealed fields: {error}"));
        match self {
            Self::Value(value) => Ok(vec![(String::new(), value.clone())]),
            Self::Map(text) => {
                let map: BTreeMap<String, String> =
                    serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
                let values = map.into_iter().map(|(name, value)| {
                    let value = BASE64_STANDARD.decode(value);
                    Ok((name, value.map_err(|error| broken(error.to_string()))?))
                });
                values.collect()
            }
        }
    }

    /// Other values in the same shape.
    fn of(like: &Self, mut values: BTreeMap<String, Vec<u8>>) -> Result<Self, Error> {
        match like {
            Self::Value(_) => Ok(Self::Value(values.remove("").unwrap_or_default())),
            Self::Map(_) => {
                let map: BTreeMap<String, String> = values
                    .into_iter()
                    .map(|(name, value)| (name, BASE64_STANDARD.encode(value)))
                    .collect();
                let text = serde_json::to_string(&map);
                text.map(Self::Map)
                    .map_err(|error| Error::Inconsistent(format!("sealed fields: {error}")))
            }
        }
    }

    fn argument(self) -> Argument<'static> {
        match self {
            Self::Value(value) => value.into(),
            Self::Map(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests;
