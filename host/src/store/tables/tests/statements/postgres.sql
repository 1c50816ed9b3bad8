-- upsert
with input ("identity", "id", "color", "notes", "data") as (select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]))
insert into "thing_v1" as old (pk, "identity", "id", "color", "notes", "data", "owner_id", "shelf", "version", "price", "made_on", "sold_at", row_created_at, row_updated_at)
select coalesce((select feed.pk from rowgate_feed as feed where feed.table_name = 'thing_v1' and feed.unique_key = input."identity" and feed.deleted), nextval('rowgate_pk')), input."identity", input."id", input."color", input."notes"::jsonb, input."data"::jsonb, $6, $7, $8, $9::numeric, $10::date, $11::timestamptz, $12::timestamptz, $13::timestamptz
from input where true
on conflict ("identity") do update set "color" = excluded."color", "notes" = coalesce(excluded."notes", old."notes"), "data" = excluded."data", "version" = excluded."version", "price" = excluded."price", "made_on" = coalesce(old."made_on", excluded."made_on"), "sold_at" = excluded."sold_at", row_updated_at = excluded.row_updated_at, "owner_id" = case when old."owner_id" = excluded."owner_id" then old."owner_id" else rowgate_another_owner(old."identity") end
where old."owner_id" <> excluded."owner_id" or (excluded."version" < old."version") is not true and (old."version" is distinct from excluded."version" or old."color" is distinct from excluded."color" or old."price" is distinct from excluded."price" or old."notes" is distinct from coalesce(excluded."notes", old."notes") or old."made_on" is distinct from coalesce(old."made_on", excluded."made_on") or old."sold_at" is distinct from excluded."sold_at" or old."data" is distinct from excluded."data")
returning pk;

-- patch
with input ("identity", "id", "color", "notes", "data") as (select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]))
insert into "thing_v1" as old (pk, "identity", "id", "color", "notes", "data", "owner_id", "shelf", "version", "price", "made_on", "sold_at", row_created_at, row_updated_at)
select coalesce((select feed.pk from rowgate_feed as feed where feed.table_name = 'thing_v1' and feed.unique_key = input."identity" and feed.deleted), nextval('rowgate_pk')), input."identity", input."id", input."color", input."notes"::jsonb, input."data"::jsonb, $6, $7, $8, $9::numeric, $10::date, $11::timestamptz, $12::timestamptz, $13::timestamptz
from input where true and exists (select 1 from "thing_v1" as live where live."identity" = input."identity" and live."owner_id" = $14)
on conflict ("identity") do update set "color" = excluded."color", "notes" = coalesce(excluded."notes", old."notes"), "data" = excluded."data", "version" = excluded."version", "price" = excluded."price", "made_on" = coalesce(old."made_on", excluded."made_on"), "sold_at" = excluded."sold_at", row_updated_at = excluded.row_updated_at, "owner_id" = case when old."owner_id" = excluded."owner_id" then old."owner_id" else rowgate_another_owner(old."identity") end
where old."owner_id" <> excluded."owner_id" or (excluded."version" < old."version") is not true and (old."version" is distinct from excluded."version" or old."color" is distinct from excluded."color" or old."price" is distinct from excluded."price" or old."notes" is distinct from coalesce(excluded."notes", old."notes") or old."made_on" is distinct from coalesce(old."made_on", excluded."made_on") or old."sold_at" is distinct from excluded."sold_at" or old."data" is distinct from excluded."data")
returning pk;

-- update, by an index
update "thing_v1" set "color" = $1, "version" = $2, row_updated_at = $3::timestamptz
where true and "owner_id" = $4 and "shelf" = $5 and "color" = $6
and ("thing_v1"."color" is distinct from $7 or "thing_v1"."version" is distinct from $8) and ($9 < "thing_v1"."version") is not true
returning pk;

-- update of what a full listing didn't show
update "thing_v1" set "color" = $1, row_updated_at = $2::timestamptz
where pk in (select pk from "thing_v1"
where true and "identity" >= $3 and "identity" < $4 and "owner_id" = $5 and "shelf" = $6
and ("thing_v1"."color" is distinct from $7)
and "thing_v1"."identity" not in (select seen.value from rowgate_bracket_keys as page, jsonb_array_elements_text(page.keys::jsonb) as seen (value) where page.bracket_id = $8)
limit $9)
returning pk;

-- delete, by the range of the key
delete from "thing_v1"
where true and "identity" >= $1 and "identity" < $2 and "owner_id" = $3 and "shelf" = $4 and "price" is not null
returning pk, "identity";

-- delete of what a full listing didn't show
delete from "thing_v1"
where pk in (select pk from "thing_v1"
where true and "identity" >= $1 and "identity" < $2 and "owner_id" = $3 and "shelf" = $4
and "thing_v1"."identity" not in (select seen.value from rowgate_bracket_keys as page, jsonb_array_elements_text(page.keys::jsonb) as seen (value) where page.bracket_id = $5)
limit $6)
returning pk, "identity";

-- lookup
select "pk" as "pk", "identity" as "identity", "owner_id" as "owner_id", "shelf" as "shelf", "id" as "id", "version" as "version", "color" as "color", "on_sale" as "on_sale", "weight" as "weight", "price"::text as "price", "notes"::text as "notes", to_char("made_on", 'YYYY-MM-DD') as "made_on", to_char("sold_at", 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "sold_at", "picture" as "picture", "channel" as "channel", "vendor" as "vendor", to_char("expires_at", 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "expires_at", "page_size" as "page_size", to_char("row_created_at", 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "row_created_at", to_char("row_updated_at", 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "row_updated_at", "data"::text as "data" from "thing_v1" where "identity" = $1 and "owner_id" = $2;
