//! A guest made with the SDK. A post links its owner; then a stream counts in a cursor that is an
//! enum, up to its page limit, and writes the number down. For an owner whose id begins with `panic`
//! it panics instead.

use rowgate_plugin::{Batch, Context, Plugin, Result, Step, StreamId, Webhook, owners};
use serde::{Deserialize, Serialize};

mod manifest {
    rowgate_plugin::include_manifest!();
}

use manifest::services::SDK_MADE_V1;
use manifest::tables::{Account, AccountRow};

/// The plugin.
#[derive(Debug)]
pub struct SdkMade;

rowgate_plugin::export!(SdkMade);

/// Where the counting stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// Under way.
    At(u32),
    /// Done.
    End,
}

impl Plugin for SdkMade {
    type Cursor = Cursor;

    fn receive(_: &Context, _: &Webhook) -> Result<()> {
        write(0)?;
        owners::link();
        Ok(())
    }

    fn sync(
        cx: &Context,
        _: &StreamId,
        cursor: Option<Cursor>,
        page_limit: u32,
    ) -> Result<Step<Cursor>> {
        if cx.owner.as_deref().is_some_and(|owner| owner.starts_with("panic")) {
            panic!("a planted panic");
        }
        let number = match cursor {
            None => 1,
            Some(Cursor::At(number)) => number + 1,
            Some(Cursor::End) => return Ok(Step::done(Cursor::End)),
        };
        write(number.into())?;
        Ok(if number < page_limit {
            Step::more(Cursor::At(number))
        } else {
            Step::done(Cursor::End)
        })
    }
}

fn write(last: i64) -> Result<()> {
    let mut accounts = Batch::<Account>::new(SDK_MADE_V1);
    accounts.push(&AccountRow::default().last(last).data("{}"));
    accounts.upsert()
}
