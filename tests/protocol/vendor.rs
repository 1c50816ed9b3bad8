//! The vendor of the model: two accounts, each with shelves of things, read page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowgate::model::{
    Batch, Column, Condition, Effects, Existing, InboxId, Op, Scalar, StreamId, Unseen, Utf8,
    Values, Write,
};

/// Items of one page.
const PAGE: usize = 2;

/// Names of shelves and of things on them.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// What the vendor knows.
#[derive(Debug, Default)]
pub(crate) struct Vendor {
    /// By number of the account.
    accounts: [Account; 2],
    /// Which account a grant opens.
    pub(crate) grants: BTreeMap<InboxId, usize>,
    /// Grants up to this one are refused.
    pub(crate) revoked: InboxId,
}

#[derive(Debug, Default)]
struct Account {
    /// Moves with every change.
    version: i64,
    /// Counts changes that no list of changes shows.
    silent: i64,
    shelves: BTreeMap<String, Entry>,
    things: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: i64,
    is_alive: bool,
    changed: i64,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) effects: Effects,
    pub(crate) cursor: String,
    pub(crate) is_last: bool,
}

/// Where a listing stands.
enum Position {
    /// Of a full listing: it began at this version and has come to this name.
    Full { start: i64, after: String },
    /// All changes up to this version are known.
    Since(i64),
}

impl Vendor {
    /// Adds or removes a shelf.
    pub(crate) fn toggle_shelf(&mut self, account: usize, shelf: &str) {
        let account = &mut self.accounts[account];
        account.version += 1;
        toggle(&mut account.shelves, shelf, account.version);
    }

    /// Adds, changes or removes a thing of a shelf.
    pub(crate) fn change_thing(&mut self, account: usize, shelf: &str, id: &str, removes: bool) {
        let account = &mut self.accounts[account];
        account.version += 1;
        let things = account.things.entry(shelf.to_owned()).or_default();
        let entry = Entry { value: account.version, is_alive: !removes, changed: account.version };
        things.insert(id.to_owned(), entry);
    }

    /// Changes one of the things that are there, and tells only who reads everything.
    pub(crate) fn change_silently(&mut self, account: usize, nth: usize) {
        let account = &mut self.accounts[account];
        account.silent += 1;
        let shelves = account.shelves.iter().filter(|(_, entry)| entry.is_alive);
        let shelves: Vec<&String> = shelves.map(|(name, _)| name).collect();
        let things = account.things.iter_mut().filter(|(shelf, _)| shelves.contains(shelf));
        let things = things.flat_map(|(_, things)| things.values_mut());
        let mut things: Vec<&mut Entry> = things.filter(|thing| thing.is_alive).collect();
        if let Some(at) = nth.checked_rem(things.len()) {
            things[at].value = -account.silent;
        }
    }

    /// `shelf/id=value` of everything on shelves that are there.
    pub(crate) fn rows(&self, account: usize) -> Vec<String> {
        let account = &self.accounts[account];
        let shelves = account.shelves.iter().filter(|(_, entry)| entry.is_alive);
        let things = shelves.flat_map(|(shelf, _)| {
            let things = account.things.get(shelf).into_iter().flatten();
            things
                .filter(|(_, thing)| thing.is_alive)
                .map(move |(id, thing)| format!("{shelf}/{id}={}", thing.value))
        });
        things.collect()
    }

    /// Names of the shelves that are there.
    pub(crate) fn shelves(&self, account: usize) -> Vec<String> {
        let shelves = self.accounts[account].shelves.iter();
        shelves.filter(|(_, entry)| entry.is_alive).map(|(name, _)| name.clone()).collect()
    }

    /// A page of a stream. None: the grant is refused.
    pub(crate) fn read(
        &self,
        grant: InboxId,
        stream: &StreamId,
        cursor: Option<&str>,
    ) -> Option<Page> {
        if grant <= self.revoked {
            return None;
        }
        let account = &self.accounts[*self.grants.get(&grant)?];
        let empty = BTreeMap::new();
        let entries = match stream.service.as_str() {
            "shelf_v1" => &account.shelves,
            _ => account.things.get(&stream.key).unwrap_or(&empty),
        };
        Some(page(entries, account.version, stream, cursor))
    }
}

fn toggle(entries: &mut BTreeMap<String, Entry>, name: &str, version: i64) {
    let is_alive = entries.get(name).is_none_or(|entry| !entry.is_alive);
    entries.insert(name.to_owned(), Entry { value: version, is_alive, changed: version });
}

fn page(
    entries: &BTreeMap<String, Entry>,
    version: i64,
    stream: &StreamId,
    cursor: Option<&str>,
) -> Page {
    let mut writes = Vec::new();
    let table = stream.service.clone();
    if cursor.is_none() {
        writes.push(Write::BeginFull { table: table.clone(), scope: scope(stream) });
    }
    let (next, is_last, items): (Position, bool, Vec<(&String, &Entry)>) =
        match cursor.map_or(Position::Full { start: version, after: String::new() }, parse) {
            Position::Full { start, after } => {
                let rest = entries.iter().filter(|(name, e)| e.is_alive && **name > after);
                let items: Vec<_> = rest.take(PAGE).collect();
                let is_last = items.len() < PAGE;
                let after = items.last().map_or(after, |(name, _)| (*name).clone());
                if is_last {
                    let unseen = Unseen::Delete;
                    let (table, scope) = (table.clone(), scope(stream));
                    writes.push(Write::EndFull { table, scope, unseen });
                }
                let next = match is_last {
                    true => Position::Since(start),
                    false => Position::Full { start, after },
                };
                (next, is_last, items)
            }
            Position::Since(since) => {
                let mut items: Vec<_> =
                    entries.iter().filter(|(_, entry)| entry.changed > since).collect();
                items.sort_by_key(|(_, entry)| entry.changed);
                items.truncate(PAGE);
                let is_last = items.len() < PAGE;
                let upto = items.last().map_or(since, |(_, entry)| entry.changed);
                (Position::Since(if is_last { version } else { upto }), is_last, items)
            }
        };
    let end = writes.iter().position(|write| matches!(write, Write::EndFull { .. }));
    let end = end.map(|at| writes.remove(at));
    writes.extend(items.iter().map(|(name, entry)| write(stream, name, entry)));
    writes.extend(end);
    let cursor = match next {
        Position::Full { start, after } => format!("full {start} {after}"),
        Position::Since(since) => format!("since {since}"),
    };
    let writes = writes.into_iter().map(Arc::new).collect();
    Page { effects: Effects { writes, ..Effects::default() }, cursor, is_last }
}

fn parse(cursor: &str) -> Position {
    let mut words = cursor.split(' ');
    let kind = words.next();
    let version = words.next().and_then(|number| number.parse().ok()).expect("we wrote it");
    match kind {
        Some("full") => {
            Position::Full { start: version, after: words.next().unwrap_or_default().to_owned() }
        }
        _ => Position::Since(version),
    }
}

fn write(stream: &StreamId, name: &str, entry: &Entry) -> Write {
    let table = stream.service.clone();
    let is_shelf = table == "shelf_v1";
    if !entry.is_alive {
        let mut conditions = scope(stream);
        conditions.push(is(if is_shelf { "shelf" } else { "id" }, name));
        return Write::Delete { table, conditions };
    }
    let columns = match is_shelf {
        true => vec![text("shelf", name)],
        false => vec![
            text("shelf", &stream.key),
            text("id", name),
            column("value", Values::Integer(vec![entry.value])),
            column("gone", Values::Constant(Scalar::Boolean(false))),
        ],
    };
    Write::Upsert(Batch { table, rows: 1, columns })
}

/// The owner's row of the root table, which shows the item that wrote it.
pub(crate) fn account_row(item: InboxId) -> Write {
    let columns = vec![text("title", &item.to_string())];
    Write::Upsert(Batch { table: "account_v1".to_owned(), rows: 1, columns })
}

fn scope(stream: &StreamId) -> Vec<Condition> {
    match stream.service.as_str() {
        "shelf_v1" => Vec::new(),
        _ => vec![is("shelf", &stream.key)],
    }
}

fn is(column: &str, value: &str) -> Condition {
    let value = Scalar::Text(value.to_owned());
    Condition { column: column.to_owned(), op: Op::Equal, value }
}

fn text(name: &str, value: &str) -> Column {
    let length = u32::try_from(value.len()).expect("short");
    let data = value.as_bytes().to_vec();
    column(name, Values::Text(Utf8 { offsets: vec![0, length], data }))
}

fn column(name: &str, values: Values) -> Column {
    Column { name: name.to_owned(), validity: Vec::new(), values, existing: Existing::Replace }
}
