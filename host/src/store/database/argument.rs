//! What a statement's arguments may be.

use std::borrow::Cow;

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

/// What a statement's arguments may be. The type holds for null too: PostgreSQL asks for it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Argument<'q> {
    Boolean(Option<bool>),
    Integer(Option<i64>),
    Double(Option<f64>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<Cow<'q, [u8]>>),
    /// Columns of a batch. Only towards PostgreSQL.
    Booleans(Vec<Option<bool>>),
    Integers(Vec<Option<i64>>),
    Doubles(Vec<Option<f64>>),
    Texts(Vec<Option<&'q str>>),
    Bytestrings(Vec<Option<&'q [u8]>>),
}

impl Argument<'_> {
    /// Adds it to the arguments of a statement for PostgreSQL.
    pub(crate) fn add_to(&self, arguments: &mut PgArguments) -> sqlx::Result<()> {
        match self {
            Self::Boolean(value) => arguments.add(*value),
            Self::Integer(value) => arguments.add(*value),
            Self::Double(value) => arguments.add(*value),
            Self::Text(value) => arguments.add(value.as_deref()),
            Self::Bytes(value) => arguments.add(value.as_deref()),
            Self::Booleans(values) => arguments.add(values),
            Self::Integers(values) => arguments.add(values),
            Self::Doubles(values) => arguments.add(values),
            Self::Texts(values) => arguments.add(values),
            Self::Bytestrings(values) => arguments.add(values),
        }
        .map_err(sqlx::Error::Encode)
    }
}

macro_rules! argument_from {
    ($($kind:ident: $($from:ty)*, |$value:ident| $to:expr;)*) => { $($(
        impl<'q> From<$from> for Argument<'q> {
            fn from($value: $from) -> Self {
                Self::$kind($to)
            }
        }
    )*)* };
}

argument_from! {
    Boolean: bool, |value| Some(value);
    Boolean: &bool, |value| Some(*value);
    Integer: i64, |value| Some(value);
    Integer: i32 u32, |value| Some(i64::from(value));
    Integer: &i64, |value| Some(*value);
    Integer: Option<i64>, |value| value;
    Integer: &Option<i64>, |value| *value;
    Double: f64, |value| Some(value);
    Text: &'q str String, |value| Some(value.into());
    Text: &'q String, |value| Some(Cow::Borrowed(value));
    Text: Cow<'q, str>, |value| Some(value);
    Text: Option<&'q str> Option<String>, |value| value.map(Into::into);
    Text: &'q Option<String>, |value| value.as_deref().map(Cow::Borrowed);
    Bytes: Vec<u8> &'q [u8], |value| Some(value.into());
    Bytes: &'q Vec<u8>, |value| Some(Cow::Borrowed(value));
    Bytes: Option<Vec<u8>>, |value| value.map(Cow::Owned);
    Bytes: &'q Option<Vec<u8>>, |value| value.as_deref().map(Cow::Borrowed);
}
