create schema if not exists "theirs";
create table if not exists "theirs"."rowgate_mirrors" (
               target text primary key, table_name text not null unique, fence bigint not null,
               since text, bookmark text not null);
create table if not exists "theirs"."mirror" (
  "pk" bigint primary key,
  "owner_id" text collate "C" not null,
  "number" bigint not null unique,
  "title" text collate "C",
  "row_created_at" timestamp with time zone not null,
  "row_updated_at" timestamp with time zone not null,
  "data" jsonb not null default '{}'
);
alter table "theirs"."mirror" add column if not exists "title" text collate "C";
select target from "theirs"."rowgate_mirrors" where table_name = $1 and target <> $2;
insert into "theirs"."rowgate_mirrors" as known (target, fence, bookmark, table_name) values ($1, $2, $3, $4)
             on conflict (target) do update set fence = excluded.fence, since = null,
               bookmark = excluded.bookmark, table_name = excluded.table_name
             where known.fence <= excluded.fence;
update "theirs"."rowgate_mirrors" set fence = $2, since = $4, bookmark = $3
             where target = $1 and fence <= $2 and (bookmark = $4 or since = $4);
select fence from "theirs"."rowgate_mirrors" where target = $1;
delete from "theirs"."rowgate_mirrors" where target = $1;
delete from "theirs"."mirror" as old using unnest($1::bigint[], $2::bigint[]) as input (pk, key)
             where old."pk" = input.pk and old."number" <> input.key;
delete from "theirs"."mirror" where "number" = any($1::bigint[]);
insert into "theirs"."mirror" as old ("pk", "owner_id", "number", "title", "row_created_at", "row_updated_at", "data")
select input."pk", input."owner_id", input."number", input."title", input."row_created_at"::timestamptz, input."row_updated_at"::timestamptz, input."data"::jsonb
from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[]) as input ("pk", "owner_id", "number", "title", "row_created_at", "row_updated_at", "data")
on conflict ("number") do update set "pk" = excluded."pk", "owner_id" = excluded."owner_id", "title" = excluded."title", "row_created_at" = excluded."row_created_at", "row_updated_at" = excluded."row_updated_at", "data" = excluded."data"
where (old."pk", old."owner_id", old."title", old."row_created_at", old."row_updated_at", old."data") is distinct from (excluded."pk", excluded."owner_id", excluded."title", excluded."row_created_at", excluded."row_updated_at", excluded."data");
delete from "theirs"."mirror" where "pk" in (
               select old."pk" from "theirs"."mirror" as old
               where old."pk" > $1 and old."pk" <= $2
                 and not exists (select 1 from unnest($3::bigint[]) as kept (key)
                                 where kept.key = old."number")
               order by old."pk" limit $4);
