create schema if not exists "theirs";
create table if not exists "theirs"."rowgate_mirrors" (
               target text primary key, table_name text not null unique, fence bigint not null,
               since text, bookmark text not null);
create table if not exists "theirs"."mirror" (
  "pk" bigint primary key,
  "identity" text collate "C" not null unique,
  "owner_id" text collate "C" not null,
  "shelf" text collate "C",
  "id" text collate "C",
  "version" bigint,
  "color" text collate "C",
  "on_sale" boolean,
  "weight" double precision,
  "price" numeric,
  "notes" jsonb,
  "made_on" date,
  "sold_at" timestamp with time zone,
  "picture" bytea,
  "channel" text collate "C",
  "vendor" text collate "C",
  "expires_at" timestamp with time zone,
  "page_size" bigint,
  "row_created_at" timestamp with time zone not null,
  "row_updated_at" timestamp with time zone not null,
  "data" jsonb not null default '{}'
);
alter table "theirs"."mirror" add column if not exists "page_size" bigint;
select target from "theirs"."rowgate_mirrors" where table_name = $1 and target <> $2;
insert into "theirs"."rowgate_mirrors" as known (target, fence, bookmark, table_name) values ($1, $2, $3, $4)
             on conflict (target) do update set fence = excluded.fence, since = null,
               bookmark = excluded.bookmark, table_name = excluded.table_name
             where known.fence <= excluded.fence;
update "theirs"."rowgate_mirrors" set fence = $2, since = $4, bookmark = $3
             where target = $1 and fence <= $2 and (bookmark = $4 or since = $4);
select fence from "theirs"."rowgate_mirrors" where target = $1;
delete from "theirs"."rowgate_mirrors" where target = $1;
delete from "theirs"."mirror" as old using unnest($1::bigint[], $2::text[]) as input (pk, key)
             where old."pk" = input.pk and old."identity" <> input.key;
delete from "theirs"."mirror" where "identity" = any($1::text[]);
insert into "theirs"."mirror" as old ("pk", "identity", "owner_id", "shelf", "id", "version", "color", "on_sale", "weight", "price", "notes", "made_on", "sold_at", "picture", "channel", "vendor", "expires_at", "page_size", "row_created_at", "row_updated_at", "data")
select input."pk", input."identity", input."owner_id", input."shelf", input."id", input."version", input."color", input."on_sale", input."weight", input."price"::numeric, input."notes"::jsonb, input."made_on"::date, input."sold_at"::timestamptz, input."picture", input."channel", input."vendor", input."expires_at"::timestamptz, input."page_size", input."row_created_at"::timestamptz, input."row_updated_at"::timestamptz, input."data"::jsonb
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::boolean[], $9::double precision[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::text[], $16::text[], $17::text[], $18::bigint[], $19::text[], $20::text[], $21::text[]) as input ("pk", "identity", "owner_id", "shelf", "id", "version", "color", "on_sale", "weight", "price", "notes", "made_on", "sold_at", "picture", "channel", "vendor", "expires_at", "page_size", "row_created_at", "row_updated_at", "data")
on conflict ("identity") do update set "pk" = excluded."pk", "owner_id" = excluded."owner_id", "shelf" = excluded."shelf", "id" = excluded."id", "version" = excluded."version", "color" = excluded."color", "on_sale" = excluded."on_sale", "weight" = excluded."weight", "price" = excluded."price", "notes" = excluded."notes", "made_on" = excluded."made_on", "sold_at" = excluded."sold_at", "picture" = excluded."picture", "channel" = excluded."channel", "vendor" = excluded."vendor", "expires_at" = excluded."expires_at", "page_size" = excluded."page_size", "row_created_at" = excluded."row_created_at", "row_updated_at" = excluded."row_updated_at", "data" = excluded."data"
where (old."pk", old."owner_id", old."shelf", old."id", old."version", old."color", old."on_sale", old."weight", old."price", old."notes", old."made_on", old."sold_at", old."picture", old."channel", old."vendor", old."expires_at", old."page_size", old."row_created_at", old."row_updated_at", old."data") is distinct from (excluded."pk", excluded."owner_id", excluded."shelf", excluded."id", excluded."version", excluded."color", excluded."on_sale", excluded."weight", excluded."price", excluded."notes", excluded."made_on", excluded."sold_at", excluded."picture", excluded."channel", excluded."vendor", excluded."expires_at", excluded."page_size", excluded."row_created_at", excluded."row_updated_at", excluded."data");
delete from "theirs"."mirror" where "pk" in (
               select old."pk" from "theirs"."mirror" as old
               where old."pk" > $1 and old."pk" <= $2
                 and not exists (select 1 from unnest($3::text[]) as kept (key)
                                 where kept.key = old."identity")
               order by old."pk" limit $4);
