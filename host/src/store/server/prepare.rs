//! What an organization's part needs on a server: schemas, and the role that may only read its tables.

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{Place, REPLICATION, ReaderPassword};
use crate::store::Error;
use crate::store::tables::{literal, quoted};

/// The roles that read organizations' tables get so much.
pub(in crate::store) const READER_SETTINGS: [(&str, &str); 4] = [
    ("statement_timeout", "'60s'"),
    ("idle_in_transaction_session_timeout", "'60s'"),
    ("default_transaction_read_only", "on"),
    ("timezone", "'UTC'"),
];
const READER_CONNECTIONS: u32 = 20;

/// What [`prepare`] makes: another number with each change of that, so that parts that are there get it, too.
pub(in crate::store) const PREPARED: i64 = 1;

/// That a role may more than a reader. That isn't ours to take away: to a role that is there `nosuperuser` may
/// be said by a superuser alone, and from PostgreSQL 16 on `nocreatedb` by who has it.
pub(super) const IS_MIGHTY: &str =
    "(rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)";

/// Asks that of one role.
pub(in crate::store) fn is_mighty() -> String {
    format!("select {IS_MIGHTY} from pg_roles where rolname = $1")
}

/// Makes the role that reads, or gives it that password. A new one may nothing that isn't said.
pub(in crate::store) fn reader_role(
    role: &str,
    is_there: bool,
    password: &ReaderPassword<'_>,
) -> String {
    let verb = if is_there { "alter" } else { "create" };
    format!(
        "{verb} role {} login noinherit connection limit {READER_CONNECTIONS} password {}",
        quoted(role),
        literal(&password.verifier())
    )
}

/// Of a role that [`is_mighty`].
pub(in crate::store) fn too_mighty(role: &str) -> String {
    format!(
        "there is a role {role} that may more than read (it is a superuser, or may create databases or \
         roles, replicate or bypass row security): drop it, or take that from it"
    )
}

/// Whether all of it is there, and our own tables as this program has them.
pub(super) async fn is_ready(connection: &mut PgConnection, place: &Place) -> sqlx::Result<bool> {
    let Place { tables, internal, reader, .. } = place;
    // Tables to come are those of the role that we are now. Where it doesn't own the database, everybody's
    // right to connect isn't ours to take.
    let may_read: Option<bool> = sqlx::query_scalar(
        "select r.rolcanlogin and r.rolconnlimit = $4
           and has_schema_privilege(r.oid, t.oid, 'usage')
           and has_database_privilege(r.oid, d.oid, 'connect')
           and not (pg_get_userbyid(d.datdba) = current_user
                    and has_database_privilege('public', d.oid, 'connect'))
           and exists (select 1 from pg_db_role_setting s
                       where s.setdatabase = d.oid and s.setrole = r.oid)
           and exists (select 1 from pg_default_acl a cross join lateral aclexplode(a.defaclacl) g
                       where a.defaclnamespace = t.oid and a.defaclobjtype = 'r'
                         and pg_get_userbyid(a.defaclrole) = current_user
                         and g.grantee = r.oid and g.privilege_type = 'SELECT')
         from pg_roles r, pg_namespace t, pg_namespace i, pg_database d
         where r.rolname = $1 and t.nspname = $2 and i.nspname = $3
           and d.datname = current_database()",
    )
    .bind(reader)
    .bind(tables)
    .bind(internal)
    .bind(i64::from(READER_CONNECTIONS))
    .fetch_optional(&mut *connection)
    .await?;
    if may_read != Some(true) {
        return Ok(false);
    }
    let applied = format!(
        "select version, checksum from \"{internal}\"._sqlx_migrations where success order by version"
    );
    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(&applied).fetch_all(connection).await?;
    let known = REPLICATION.iter().map(|known| (known.version, &*known.checksum));
    Ok(applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())).eq(known))
}

/// Schemas, the reading role and what it may. Nobody else does the same meanwhile.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    place: &Place,
    password: &ReaderPassword<'_>,
) -> Result<(), Error> {
    let Place { database, tables, internal, reader } = place;
    let mut transaction = connection.begin().await?;
    let known: Option<bool> =
        sqlx::query_scalar(&is_mighty()).bind(reader).fetch_optional(&mut *transaction).await?;
    if known == Some(true) {
        return Err(Error::Refused(too_mighty(reader)));
    }
    let mut statements = vec![
        reader_role(reader, known.is_some(), password),
        format!("create schema if not exists \"{tables}\""),
        format!("create schema if not exists \"{internal}\""),
        format!("revoke all on database \"{database}\" from public"),
        format!("revoke all on schema \"{tables}\", \"{internal}\" from public"),
        format!("grant connect on database \"{database}\" to \"{reader}\""),
        format!("grant usage on schema \"{tables}\" to \"{reader}\""),
        format!("grant select on all tables in schema \"{tables}\" to \"{reader}\""),
        format!(
            "alter default privileges in schema \"{tables}\" grant select on tables to \"{reader}\""
        ),
        format!(
            "alter role \"{reader}\" in database \"{database}\" set search_path to \"{tables}\""
        ),
    ];
    statements.push(without_large_objects(reader));
    statements.extend(READER_SETTINGS.map(|(setting, value)| {
        format!("alter role \"{reader}\" in database \"{database}\" set {setting} to {value}")
    }));
    for statement in statements {
        transaction.execute(statement.as_str()).await.map_err(|error| {
            Error::Refused(format!(
                "preparing the schema {tables} of the database {database}: {error}; the role of \
                 the host must own the database and may create roles, and if there is a role \
                 {reader} that another one made, it must have that with admin option"
            ))
        })?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Takes from everybody else what PostgreSQL gives to all: to connect to the control database. Where the
/// host's role doesn't own it, hosts may live by that right, and it stays.
pub(super) async fn keep_readers_out(connection: &mut PgConnection) {
    let sql = "do $$ begin
                 if exists (select 1 from pg_database
                            where datname = current_database()
                              and pg_get_userbyid(datdba) = current_user
                              and has_database_privilege('public', oid, 'connect')) then
                   execute format('revoke all on database %I from public', current_database());
                 end if;
               end $$";
    // Another host may do the same at this moment, which PostgreSQL refuses.
    if let Err(error) = connection.execute(sql).await {
        tracing::info!(%error, "everybody may connect to the control database still");
    }
}

/// Large objects can be written in a read-only transaction before PostgreSQL 16, and later by whoever turns
/// that default off. The functions are a superuser's: where the host's role is none, they stay as they are.
fn without_large_objects(reader: &str) -> String {
    let may = format!("has_function_privilege({}, 'lo_create(oid)', 'execute')", literal(reader));
    format!(
        "do $$ begin
           if {may} and (select rolsuper from pg_roles where rolname = current_user) then
             revoke execute on function lo_create(oid), lo_creat(integer),
               lo_from_bytea(oid, bytea) from public;
           end if;
         end $$"
    )
}
