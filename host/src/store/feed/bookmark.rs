//! How far a reader of the feed has come.

use serde::{Deserialize, Serialize};

use super::Head;

/// How far a reader has come in the feed of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bookmark {
    /// It has read nothing.
    #[default]
    Start,
    /// It reads a copy of the whole table, and then goes on in the feed behind `number`.
    #[allow(missing_docs)]
    Copying {
        epoch: String,
        number: i64,
        id: String,
        /// The last row it has. None: it has none.
        after_pk: Option<i64>,
    },
    /// It follows the feed.
    #[allow(missing_docs)]
    At { epoch: String, position: Position },
}

/// A place in the feed of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Number of a commit.
    pub number: i64,
    /// The last change in it that was read, deletions first. None: all of it was.
    pub within: Option<(bool, i64)>,
}

impl Bookmark {
    /// Behind all of a commit.
    pub fn behind(epoch: &str, number: i64) -> Self {
        Self::At { epoch: epoch.to_owned(), position: Position { number, within: None } }
    }

    /// As it is stored: the same text for the same place.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a bookmark is plain data")
    }

    /// The same if a reader can go on from there, else the beginning of a copy.
    pub(super) fn on(self, head: &Head, copy_id: &str) -> Self {
        if self.holds(head) {
            return self;
        }
        let Head { epoch, number, .. } = head.clone();
        Self::Copying { epoch, number, id: copy_id.to_owned(), after_pk: None }
    }

    /// Whether a reader can go on from there.
    pub(super) fn holds(&self, head: &Head) -> bool {
        match self {
            Self::Start => false,
            // What its feed lacks is found out behind the copy.
            Self::Copying { epoch, number, .. } => *epoch == head.epoch && *number <= head.number,
            Self::At { epoch, position: Position { number, within } } => {
                // Of a commit that was half read some tombstones are still to come.
                let whole = *number > head.floor || *number == head.floor && within.is_none();
                *epoch == head.epoch && *number <= head.number && whole
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_begins_where_the_feed_cannot_be_followed() {
        let head = Head { epoch: "e".into(), number: 9, floor: 4 };
        let within = |number| Bookmark::At {
            epoch: "e".into(),
            position: Position { number, within: Some((true, 7)) },
        };
        let copying = |epoch: &str, number| Bookmark::Copying {
            epoch: epoch.into(),
            number,
            id: "c".into(),
            after_pk: Some(3),
        };
        for (bookmark, holds) in [
            (Bookmark::Start, false),
            (Bookmark::behind("e", 9), true),
            (Bookmark::behind("e", 4), true),
            (Bookmark::behind("e", 3), false),
            (Bookmark::behind("e", 10), false),
            (Bookmark::behind("f", 9), false),
            (within(4), false),
            (within(5), true),
            (copying("e", 2), true),
            (copying("e", 10), false),
            (copying("f", 9), false),
        ] {
            let on = bookmark.clone().on(&head, "new");
            let begun = Bookmark::Copying {
                epoch: "e".into(),
                number: 9,
                id: "new".into(),
                after_pk: None,
            };
            assert_eq!(on, if holds { bookmark.clone() } else { begun }, "{bookmark:?}");
            assert_eq!(serde_json::from_str::<Bookmark>(&bookmark.text()).unwrap(), bookmark);
        }
    }
}
