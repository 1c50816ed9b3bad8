-- upsert
with input ("identity", "id", "color", "notes", "data") as (values (?, ?, ?, ?, ?), (?, ?, ?, ?, ?))
insert or fail into "thing_v1" as old (pk, "identity", "id", "color", "notes", "data", "owner_id", "shelf", "version", "price", "made_on", "sold_at", row_created_at, row_updated_at)
select (select feed.pk from rowgate_feed as feed where feed.table_name = 'thing_v1' and feed.unique_key = input."identity" and feed.deleted), input."identity", input."id", input."color", input."notes", input."data", ?, ?, ?, ?, ?, ?, ?, ?
from input where input."identity" is not null
on conflict ("identity") do update set "color" = excluded."color", "notes" = coalesce(excluded."notes", old."notes"), "data" = excluded."data", "version" = excluded."version", "price" = excluded."price", "made_on" = coalesce(old."made_on", excluded."made_on"), "sold_at" = excluded."sold_at", row_updated_at = excluded.row_updated_at, "owner_id" = case when old."owner_id" = excluded."owner_id" then old."owner_id" else (select null limit 1 offset 'another owner') end
where old."owner_id" <> excluded."owner_id" or (excluded."version" < old."version") is not true and (old."version" is distinct from excluded."version" or old."color" is distinct from excluded."color" or old."price" is distinct from excluded."price" or old."notes" is distinct from coalesce(excluded."notes", old."notes") or old."made_on" is distinct from coalesce(old."made_on", excluded."made_on") or old."sold_at" is distinct from excluded."sold_at" or old."data" is distinct from excluded."data");

-- patch
with input ("identity", "id", "color", "notes", "data") as (values (?, ?, ?, ?, ?), (?, ?, ?, ?, ?))
insert or fail into "thing_v1" as old (pk, "identity", "id", "color", "notes", "data", "owner_id", "shelf", "version", "price", "made_on", "sold_at", row_created_at, row_updated_at)
select (select feed.pk from rowgate_feed as feed where feed.table_name = 'thing_v1' and feed.unique_key = input."identity" and feed.deleted), input."identity", input."id", input."color", input."notes", input."data", ?, ?, ?, ?, ?, ?, ?, ?
from input where input."identity" is not null and exists (select 1 from "thing_v1" as live where live."identity" = input."identity" and live."owner_id" = ?)
on conflict ("identity") do update set "color" = excluded."color", "notes" = coalesce(excluded."notes", old."notes"), "data" = excluded."data", "version" = excluded."version", "price" = excluded."price", "made_on" = coalesce(old."made_on", excluded."made_on"), "sold_at" = excluded."sold_at", row_updated_at = excluded.row_updated_at, "owner_id" = case when old."owner_id" = excluded."owner_id" then old."owner_id" else (select null limit 1 offset 'another owner') end
where old."owner_id" <> excluded."owner_id" or (excluded."version" < old."version") is not true and (old."version" is distinct from excluded."version" or old."color" is distinct from excluded."color" or old."price" is distinct from excluded."price" or old."notes" is distinct from coalesce(excluded."notes", old."notes") or old."made_on" is distinct from coalesce(old."made_on", excluded."made_on") or old."sold_at" is distinct from excluded."sold_at" or old."data" is distinct from excluded."data");

-- update, by an index
update "thing_v1" set "color" = ?, "version" = ?, row_updated_at = ?
where true and +"owner_id" = ? and +"shelf" = ? and "color" = ?
and ("thing_v1"."color" is distinct from ? or "thing_v1"."version" is distinct from ?) and (? < "thing_v1"."version") is not true;

-- update of what a full listing didn't show
update "thing_v1" set "color" = ?, row_updated_at = ?
where pk in (select pk from "thing_v1"
where true and "identity" >= ? and "identity" < ? and +"owner_id" = ? and +"shelf" = ?
and ("thing_v1"."color" is distinct from ?)
and "thing_v1"."identity" not in (select seen.value from rowgate_bracket_keys as page, json_each(page.keys) as seen where page.bracket_id = ?)
limit ?);

-- delete, by the range of the key
delete from "thing_v1"
where true and "identity" >= ? and "identity" < ? and +"owner_id" = ? and +"shelf" = ? and +"price" is not null
returning pk, "identity";

-- delete of what a full listing didn't show
delete from "thing_v1"
where pk in (select pk from "thing_v1"
where true and "identity" >= ? and "identity" < ? and +"owner_id" = ? and +"shelf" = ?
and "thing_v1"."identity" not in (select seen.value from rowgate_bracket_keys as page, json_each(page.keys) as seen where page.bracket_id = ?)
limit ?)
returning pk, "identity";

-- lookup
select "pk" as "pk", "identity" as "identity", "owner_id" as "owner_id", "shelf" as "shelf", "id" as "id", "version" as "version", "color" as "color", "on_sale" as "on_sale", "weight" as "weight", "price" as "price", "notes" as "notes", "made_on" as "made_on", "sold_at" as "sold_at", "picture" as "picture", "channel" as "channel", "vendor" as "vendor", "expires_at" as "expires_at", "page_size" as "page_size", "row_created_at" as "row_created_at", "row_updated_at" as "row_updated_at", "data" as "data" from "thing_v1" where "identity" = ? and "owner_id" = ?;
