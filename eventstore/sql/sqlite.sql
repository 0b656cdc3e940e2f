-- The log in SQLite. One statement block per migration; `user_version` says how many have run.
-- migration 1
create table es_log(
    log text primary key,
    epoch integer not null,
    owner text not null,
    until integer not null, -- epoch ms: one host, one clock
    seq integer not null,
    pos integer not null,
    hash blob not null
) without rowid;
create table es_segment(
    log text not null,
    seq integer not null,
    pos integer not null, -- of its first event
    n integer not null,
    epoch integer not null,
    at integer not null, -- epoch ms, for people
    codec integer not null, -- 0 plain lines of JSON, else packed: eventstore/packing.py
    hash blob not null,
    data blob not null,
    primary key(log, seq)
);
create unique index es_segment_pos on es_segment(log, pos);
create trigger es_segment_no_update before update on es_segment begin select raise(abort, 'the log is append-only'); end;
create trigger es_segment_no_delete before delete on es_segment begin select raise(abort, 'the log is append-only'); end;
create table es_checkpoint(name text not null, log text not null, pos integer not null, primary key(name, log)) without rowid;
create table es_snapshot(
    name text not null,
    log text not null,
    pos integer not null,
    part text not null,
    data blob not null,
    primary key(name, log, pos, part)
) without rowid;
create table es_key(subject text primary key, key blob) without rowid; -- a null key was erased
-- migration 2: a log that stands in an archive leaves the store, and no other one does
create table es_dropped(log text primary key, pos integer not null) without rowid; -- the last position it had
drop trigger es_segment_no_delete;
create trigger es_segment_no_delete before delete on es_segment
when not exists (select 1 from es_dropped where log = old.log)
begin select raise(abort, 'the log is append-only'); end;
-- migration 3: what was answered to requests under a key, for as long as a client may ask again
create table es_answer(
    owner text not null,
    key text not null,
    at integer not null, -- epoch ms
    print blob not null,
    status integer not null,
    headers text not null,
    body blob not null,
    primary key(owner, key)
) without rowid;
create index es_answer_at on es_answer(owner, at);
-- migration 4: small groups are packed with a dictionary, which an older program doesn't know
-- migration 5: by position alone, which is all that anybody looks for: a second key cost each commit a page
create table es_segment_by_pos(
    log text not null,
    seq integer not null,
    pos integer not null, -- of its first event
    n integer not null,
    epoch integer not null,
    at integer not null, -- epoch ms, for people
    codec integer not null, -- 0 plain lines of JSON, else packed: eventstore/packing.py
    hash blob not null,
    data blob not null,
    primary key(log, pos)
);
insert into es_segment_by_pos select * from es_segment order by rowid;
drop table es_segment;
alter table es_segment_by_pos rename to es_segment;
create trigger es_segment_no_update before update on es_segment begin select raise(abort, 'the log is append-only'); end;
create trigger es_segment_no_delete before delete on es_segment
when not exists (select 1 from es_dropped where log = old.log)
begin select raise(abort, 'the log is append-only'); end;
