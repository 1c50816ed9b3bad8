//! The reader of the change feed (R12): what changed in a table since a bookmark, in the order of
//! commits, joined with the rows as they stand.
//!
//! A commit gets its number after it is visible, by whoever reads, so no reader passes one that
//! commits late. A row stands in the feed once, at its latest change: states between may be skipped.
//! Whose bookmark can't be continued gets a copy of the whole table, in pages, and goes on behind it.

mod bookmark;
mod forget;
mod head;
mod page;
mod put_back;

pub use bookmark::{Bookmark, Position};
pub use forget::{Gone, forget_before};
pub use head::{Head, head, new_epoch, number_before};
pub use put_back::found_put_back;

use super::{Database, Error};
use crate::rows::{TableSpec, Value};

/// The latest change of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The row's number in its table.
    pub pk: i64,
    /// Its unique key as text.
    pub key: String,
    /// As the table's columns go. None: the row is gone.
    pub row: Option<Vec<Value<'static>>>,
    /// Where a reader stands who has read up to here.
    pub after: Bookmark,
}

#[cfg(test)]
impl Change {
    /// Of no feed.
    pub(crate) fn new(pk: i64, key: String, row: Option<Vec<Value<'static>>>) -> Self {
        Self { pk, key, row, after: Bookmark::Start }
    }
}

/// Changes that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In the order of the feed.
    pub changes: Vec<Change>,
    /// What the changes are part of. None: the feed.
    pub copy: Option<CopyPart>,
    /// Where the reader stands behind them.
    pub end: Bookmark,
    /// More is known to follow.
    pub more: bool,
}

/// The part of a copy of the whole table that a page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPart {
    /// The same for all pages of one copy.
    pub id: String,
    /// Pages before it had the rows up to this number. None: it is the first.
    pub after_pk: Option<i64>,
    /// What hasn't been in one of its pages isn't in the table.
    pub last: bool,
}

impl CopyPart {
    /// No page came before it.
    pub fn is_first(&self) -> bool {
        self.after_pk.is_none()
    }
}

/// How much a page may hold.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct PageLimits {
    pub rows: usize,
    /// Of values; a single row may have more.
    pub bytes: usize,
}

/// The page behind a bookmark. `copy_id` names a copy that has to begin.
pub async fn read(
    database: &Database,
    spec: &TableSpec,
    bookmark: &Bookmark,
    limits: PageLimits,
    copy_id: &str,
) -> Result<Page, Error> {
    let mut bookmark = bookmark.clone();
    loop {
        let head = head(database).await?;
        bookmark = bookmark.on(&head, copy_id);
        let page = page(database, spec, &bookmark, &head, limits).await?;
        // Tombstones that were taken away meanwhile may be missing in the page.
        if bookmark.holds(&head::known(database).await?) {
            return Ok(page);
        }
    }
}

/// The page behind a bookmark that is on this head. What it shows is on disk: whoever goes on behind it
/// won't come back for what a loss of power brings back.
async fn page(
    database: &Database,
    spec: &TableSpec,
    bookmark: &Bookmark,
    head: &Head,
    limits: PageLimits,
) -> Result<Page, Error> {
    let page = match bookmark {
        Bookmark::Start => unreachable!("a bookmark on a head is somewhere"),
        Bookmark::Copying { epoch, number, id, after_pk, .. } => {
            let copying = page::Copying { epoch, number: *number, id, after_pk: *after_pk };
            page::copied(database, spec, &copying, limits).await?
        }
        Bookmark::At { epoch, position } => {
            page::changed(database, spec, epoch, position, head, limits).await?
        }
    };
    database.sync().await?;
    Ok(page)
}

#[cfg(test)]
mod tests;
