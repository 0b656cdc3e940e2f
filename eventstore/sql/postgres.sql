-- The log in PostgreSQL. The log's name comes first in every key; no sequences, no advisory locks, no transaction ids, and
-- the only triggers are those that refuse to change what was written.
-- migration 1
create table es_log(
    log text primary key,
    epoch bigint not null,
    owner text not null,
    until timestamptz not null, -- by the database's clock
    seq bigint not null,
    pos bigint not null,
    hash bytea not null
) with (fillfactor = 10);
create table es_segment(
    log text not null,
    seq bigint not null,
    pos bigint not null, -- of its first event
    n integer not null,
    epoch bigint not null,
    at bigint not null, -- epoch ms, for people
    codec smallint not null, -- 0 plain lines of JSON, else packed: eventstore/packing.py
    hash bytea not null,
    data bytea not null,
    primary key(log, seq)
);
alter table es_segment alter data set storage external;
create unique index es_segment_pos on es_segment(log, pos);
create function es_refuse() returns trigger language plpgsql as $$ begin raise exception 'the log is append-only'; end $$;
create trigger es_segment_append_only before update or delete on es_segment for each row execute function es_refuse();
create table es_checkpoint(
    name text not null, log text not null, pos bigint not null, primary key(name, log)
) with (fillfactor = 20);
create table es_snapshot(
    name text not null,
    log text not null,
    pos bigint not null,
    part text not null,
    data bytea not null,
    primary key(name, log, pos, part)
);
alter table es_snapshot alter data set storage external;
create table es_key(subject text primary key, key bytea); -- a null key was erased
-- migration 2: a log that stands in an archive leaves the store, and no other one does
create table es_dropped(log text primary key, pos bigint not null); -- the last position it had
create function es_refuse_delete() returns trigger language plpgsql as $$ begin
    if exists (select 1 from es_dropped where log = old.log) then return old; end if;
    raise exception 'the log is append-only';
end $$;
drop trigger es_segment_append_only on es_segment;
create trigger es_segment_append_only before update on es_segment for each row execute function es_refuse();
create trigger es_segment_no_delete before delete on es_segment for each row execute function es_refuse_delete();
-- migration 3: what was answered to requests under a key, for as long as a client may ask again
create table es_answer(
    owner text not null,
    key text not null,
    at bigint not null, -- epoch ms
    print bytea not null,
    status integer not null,
    headers text not null,
    body bytea not null,
    primary key(owner, key)
);
create index es_answer_at on es_answer(owner, at);
-- migration 4: a group that fills no more than half a page stays whole in it; in pieces beside the table it would take half as
-- much again
alter table es_segment set (toast_tuple_target = 4080);
-- migration 5: by position alone, which is all that anybody looks for: a second key cost each group an entry more
alter table es_segment drop constraint es_segment_pkey;
alter table es_segment add primary key using index es_segment_pos;
