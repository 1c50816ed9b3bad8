//! What differs between the kinds of targets in what is asked and shown.

use crate::api::call::Call;
use crate::api::endpoint::Json::{Flag, Integer, IntegerOrNull, Text, TextOrNull};
use crate::api::endpoint::{Field, Kind, Param, Shape, field};
use crate::app::targets::AskedTo;
use crate::store::targets::Kind as TargetKind;

/// A kind of target.
pub(super) trait Of {
    const KIND: TargetKind;
    const TARGET: &'static [Field];
    /// The same of one that was just made.
    const MADE: &'static [Field];
    const ONE: &'static [(u16, Shape)] = &[(200, Shape::Single(Self::TARGET))];
    const JUST_MADE: &'static [(u16, Shape)] = &[(200, Shape::Single(Self::MADE))];
    const ALL: &'static [(u16, Shape)] = &[(200, Shape::Collection(Self::TARGET))];
    /// Told where there are none.
    const MAKE_ONE: &'static str;
    const CREATES: &'static str;
    const ASKED: &'static [Param];
    const CHANGED: &'static [Param];

    const LIST: &'static str;
    const CREATE: &'static str;
    const UPDATE: &'static str;
    const UPDATE_CREDENTIALS: &'static str;
    const DELETE: &'static str;
    const SYNC: &'static str;
    const REWIND: &'static str;
    const PAUSE: &'static str;
    const RESUME: &'static str;

    fn to<'a>(call: &'a Call, schema: &'a str, table: &'a str) -> AskedTo<'a>;
}

pub(super) struct Http;
pub(super) struct Db;

/// A path of targets of a kind.
macro_rules! of {
    ($kind:literal, $path:literal) => {
        concat!("/v1/organizations/{org}/sync_targets/", $kind, $path)
    };
}

macro_rules! paths {
    ($kind:literal) => {
        const LIST: &'static str = of!($kind, "");
        const CREATE: &'static str = of!($kind, "/create");
        const UPDATE: &'static str = of!($kind, "/{t}/update");
        const UPDATE_CREDENTIALS: &'static str = of!($kind, "/{t}/update_credentials");
        const DELETE: &'static str = of!($kind, "/{t}/delete");
        const SYNC: &'static str = of!($kind, "/{t}/sync");
        const REWIND: &'static str = of!($kind, "/{t}/rewind");
        const PAUSE: &'static str = of!($kind, "/{t}/pause");
        const RESUME: &'static str = of!($kind, "/{t}/resume");
    };
}

/// Receivers alone have one.
pub(super) const SIGNING_SECRET_PATH: &str = of!("http", "/{t}/secret");
pub(super) const SIGNING_SECRET: Field = field("signing_secret", "Signing secret", Text);

/// What is shown of a target: where it is, what its kind has, how it is.
macro_rules! target {
    ($($own:expr),+) => {
        &[
            field("opaque_id", "Id", Text),
            field("associated_type", "", Text),
            field("associated_id", "", Text),
            field("associated_object_display", "Table", Text),
            field("connection_url", "Url", Text),
            field("period_seconds", "Period", Integer),
            $($own,)+
            field("state", "State", Text),
            field("reason", "Reason", Text),
            field("attempts", "", Integer),
            field("next_at", "", TextOrNull),
            field("last_synced_at", "", TextOrNull),
            field("last_synced_at_formatted", "Last sync", Text),
            field("latency", "", IntegerOrNull),
            field("latency_formatted", "Latency", Text),
            field("created_at", "", TextOrNull),
        ]
    };
}

const INTEGRATION: Param = Param::text("service_integration_identifier", "Id, table or service")
    .asked("Integration, by id, table or service:");
const PERIOD: Param =
    Param::text("period_seconds", "At most so many seconds without a delivery").of(Kind::Integer);
const PAGE_SIZE: Param = Param::text("page_size", "Rows of a delivery").of(Kind::Integer);
const DELETIONS: Param =
    Param::text("deletions", "Deliveries tell of deleted rows too").of(Kind::Flag);

const PAGE_SIZE_SHOWN: Field = field("page_size", "Page size", Integer);
const DELETIONS_SHOWN: Field = field("deletions", "", Flag);

impl Of for Http {
    paths!("http");

    const KIND: TargetKind = TargetKind::Http;
    const TARGET: &'static [Field] = target!(PAGE_SIZE_SHOWN, DELETIONS_SHOWN);
    const MADE: &'static [Field] = target!(PAGE_SIZE_SHOWN, DELETIONS_SHOWN, SIGNING_SECRET);
    const MAKE_ONE: &'static str =
        "There are no targets yet. Make one: httpsync create INTEGRATION";
    const CREATES: &'static str =
        "Let a table's changes be posted to a URL, once its receiver has answered a test";
    const ASKED: &'static [Param] = &[
        INTEGRATION,
        Param::text("connection_url", "https, with user and password")
            .asked("Paste the URL to post to, like https://user:password@example.com/:")
            .hidden(),
        PERIOD,
        PAGE_SIZE,
        DELETIONS,
    ];
    const CHANGED: &'static [Param] = &[PERIOD, PAGE_SIZE, DELETIONS];

    fn to<'a>(call: &'a Call, _: &'a str, _: &'a str) -> AskedTo<'a> {
        let deletions = call.values.flag("deletions");
        AskedTo::Receiver { page_size: call.values.integer("page_size"), deletions }
    }
}

impl Of for Db {
    paths!("db");

    const KIND: TargetKind = TargetKind::Db;
    const TARGET: &'static [Field] =
        target!(field("schema", "Schema", Text), field("table", "Mirror", Text));
    const MADE: &'static [Field] = Self::TARGET;
    const MAKE_ONE: &'static str = "There are no targets yet. Make one: dbsync create INTEGRATION";
    const CREATES: &'static str =
        "Let a table be mirrored in a PostgreSQL database, once that has answered";
    const ASKED: &'static [Param] = &[
        INTEGRATION,
        Param::text("connection_url", "postgres://user:password@host:5432/database")
            .asked("Paste the database's URL, like postgres://user:password@example.com/database:")
            .hidden(),
        PERIOD,
        Param::text("schema", "Where the mirror stands; `public` if empty"),
        Param::text("table", "The mirror's name; the table's if empty"),
    ];
    const CHANGED: &'static [Param] = &[
        PERIOD,
        Param::text("schema", "Where the mirror stands, or empty; it can't be changed"),
        Param::text("table", "The mirror's name, or empty; it can't be changed"),
    ];

    fn to<'a>(_: &'a Call, schema: &'a str, table: &'a str) -> AskedTo<'a> {
        AskedTo::Database { schema, table }
    }
}
