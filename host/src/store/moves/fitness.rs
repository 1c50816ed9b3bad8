//! Whether tables can go to a database, by what it says of itself.

use sqlx::FromRow;

use super::{INTERNAL, TABLES};
use crate::model::OrganizationId;
use crate::store::tables::literal;

/// What is first needed of a server. (`xid8`, `gen_random_uuid`)
const VERSION_MIN: i64 = 130_000;

/// A database as it says it is.
#[derive(Debug, FromRow)]
pub(super) struct Seen {
    pub(super) version: i64,
    pub(super) encoding: String,
    pub(super) may_create: bool,
    pub(super) is_standby: bool,
    pub(super) role: String,
    pub(super) makes_roles: bool,
    pub(super) has_mark: bool,
    pub(super) has_internal: bool,
    /// Something in the schema of tables that belongs to no extension.
    pub(super) stranger: Option<String>,
}

pub(super) fn look() -> String {
    let (tables, internal) = (literal(TABLES), literal(INTERNAL));
    format!(
        "select current_setting('server_version_num')::bigint as version,
           getdatabaseencoding()::text as encoding,
           has_database_privilege(current_database(), 'create')
             and case when to_regnamespace({tables}) is null then true
                      else has_schema_privilege({tables}, 'create') end as may_create,
           pg_is_in_recovery() as is_standby,
           current_user::text as role,
           coalesce((select rolsuper or rolcreaterole from pg_roles where rolname = current_user),
                    false) as makes_roles,
           to_regclass('{INTERNAL}.rowgate_moved') is not null as has_mark,
           to_regnamespace({internal}) is not null as has_internal,
           (select min(c.relname::text) from pg_class c
            where c.relnamespace = to_regnamespace({tables})
              and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
              and not exists (select 1 from pg_depend d
                              where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                and d.deptype = 'e')) as stranger"
    )
}

/// What the control database knows of the move that a database is marked with.
#[derive(Debug, FromRow)]
pub(super) struct Marked {
    pub(super) organization_id: OrganizationId,
    pub(super) state: String,
    pub(super) is_current: bool,
}

/// What a database is good for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Empty,
    /// What a move that failed left there goes first.
    LeftOver,
    /// The organization's tables lie there.
    Ours,
}

/// Says what is wrong with it.
pub(super) fn verdict(
    seen: &Seen,
    marked: Option<&Marked>,
    of: OrganizationId,
) -> Result<Verdict, String> {
    if seen.version < VERSION_MIN {
        return Err("must lead to PostgreSQL 13 or later".into());
    }
    if seen.encoding != "UTF8" {
        return Err(format!("must lead to a database in UTF8, not in {}", seen.encoding));
    }
    if seen.is_standby {
        return Err("must lead to a server that takes writes, not to a standby".into());
    }
    if !seen.may_create {
        return Err(format!(
            "must be of a role that may create schemas in the database, and tables in its schema \
             {TABLES}: make it the database's owner"
        ));
    }
    match marked {
        Some(marked) if marked.organization_id == of && marked.is_current => Ok(Verdict::Ours),
        Some(marked) if marked.organization_id == of && marked.state == "failed" => {
            Ok(Verdict::LeftOver)
        }
        Some(_) => Err("leads to a database that holds other tables of this host".into()),
        None if seen.has_internal => Err(format!(
            "leads to a database with a schema {INTERNAL}, that of another host or from before: drop \
             it, and the tables, or give an empty database"
        )),
        None => match &seen.stranger {
            Some(name) => {
                Err(format!("must lead to an empty database: its schema {TABLES} has a {name}"))
            }
            None => Ok(Verdict::Empty),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            version: 150_000,
            encoding: "UTF8".into(),
            may_create: true,
            is_standby: false,
            role: "r".into(),
            makes_roles: true,
            has_mark: false,
            has_internal: false,
            stranger: None,
        }
    }

    #[test]
    fn only_what_is_empty_or_ours_is_taken() {
        let mark = |organization_id, state: &str, is_current| {
            Some(Marked { organization_id, state: state.into(), is_current })
        };
        let internal = || Seen { has_internal: true, stranger: Some("t".into()), ..seen() };
        for (seen, marked, expected) in [
            (seen(), None, Ok(Verdict::Empty)),
            (internal(), mark(7, "done", true), Ok(Verdict::Ours)),
            (internal(), mark(7, "failed", false), Ok(Verdict::LeftOver)),
            (internal(), mark(7, "copying", false), Err("other tables of this host")),
            (internal(), mark(7, "done", false), Err("other tables of this host")),
            (internal(), mark(8, "failed", false), Err("other tables of this host")),
            (internal(), None, Err("a schema rowgate")),
            (Seen { stranger: Some("t".into()), ..seen() }, None, Err("has a t")),
            (Seen { version: 120_000, ..seen() }, None, Err("PostgreSQL 13")),
            (Seen { encoding: "LATIN1".into(), ..seen() }, None, Err("UTF8")),
            (Seen { is_standby: true, ..seen() }, None, Err("standby")),
            (Seen { may_create: false, ..seen() }, None, Err("may create schemas")),
        ] {
            let found = verdict(&seen, marked.as_ref(), 7);
            match expected {
                Ok(verdict) => assert_eq!(found, Ok(verdict)),
                Err(part) => assert!(found.unwrap_err().contains(part), "{part}"),
            }
        }
    }
}
