-- Settings of the ledger, closings that happen by themselves, and how long the audit trail is kept. Only adds: the api of
-- the landing before runs on it.

-- What national finance set, as it was put on record; the last one counts. Columns and no document: an older api reads what a
-- newer one wrote.
create table setting_version (
    id           bigint   generated always as identity primary key,
    -- The day and the hour, in the issuer's time zone, at which the month before is closed; none: never by itself.
    closing_day  smallint,
    closing_hour smallint,
    audit_years  smallint not null,
    put_by       text     not null,
    put_ms       bigint   not null,
    constraint setting_closing_day check (closing_day between 1 and 28),
    constraint setting_closing_hour check (closing_hour between 0 and 23),
    constraint setting_closing_whole check ((closing_day is null) = (closing_hour is null)),
    constraint setting_audit_years check (audit_years between 1 and 100)
);
create trigger setting_version_is_append_only
    before update or delete or truncate on setting_version
    for each statement execute function refuse_to_alter();

-- What came of the last try to close a month by itself, while it is open. Nothing is computed from it.
create table closing_attempt (
    month    text   primary key,
    tried_ms bigint not null,
    blockers jsonb  not null,
    -- Why it could not even be said what blocks it.
    failure  text,
    constraint closing_attempt_month foreign key (month) references period (month),
    constraint closing_attempt_blockers check (jsonb_typeof(blockers) = 'array')
);

-- Where the audit trail begins: the last event that was removed. The event after it names the same hash.
create table audit_anchor (
    seq        bigint primary key,
    at_ms      bigint not null,
    sha256     text   not null,
    removed_ms bigint not null
);
create trigger audit_anchor_is_append_only
    before update or delete or truncate on audit_anchor
    for each statement execute function refuse_to_alter();
create function check_audit_anchor() returns trigger
    language plpgsql as $$
begin
    if not exists (
        select from audit_event e where e.seq = new.seq and e.at_ms = new.at_ms and e.sha256 = new.sha256
    ) then
        raise exception 'audit event % is not there or is another', new.seq
            using errcode = 'check_violation', constraint = 'audit_anchor_is_an_event';
    end if;
    return new;
end
$$;
create trigger audit_anchor_is_checked
    before insert on audit_anchor for each row execute function check_audit_anchor();

create function audit_kept_years() returns integer
    language sql stable
    return coalesce((select s.audit_years from setting_version s order by s.id desc limit 1), 10);

-- Events from this instant on are kept.
create function audit_kept_since_ms() returns bigint
    language sql volatile
    return floor(extract(epoch from
        (to_timestamp(ledger_now_ms() / 1000.0) at time zone 'UTC') - make_interval(years => audit_kept_years())
    ) * 1000)::bigint;

-- Whoever deletes, by whatever statement: only what is older than it must be kept, only the oldest without a hole, and only
-- if the anchor says where the trail begins from now on. The newest event always stays.
create or replace trigger audit_event_is_append_only
    before update or truncate on audit_event
    for each statement execute function refuse_to_alter();
create function check_removed_audit_events() returns trigger
    language plpgsql as $$
declare
    last_seq bigint;
    last_ms  bigint;
begin
    select max(r.seq), max(r.at_ms) into last_seq, last_ms from removed r;
    if last_seq is null then
        return null;
    end if;
    if last_ms >= audit_kept_since_ms() then
        raise exception 'audit events are kept for % years', audit_kept_years()
            using errcode = 'restrict_violation', constraint = 'audit_event_is_append_only';
    end if;
    if exists (select from audit_event e where e.seq < last_seq) or not exists (select from audit_event)
        or not exists (
            select from audit_anchor a join removed r on (r.seq, r.at_ms, r.sha256) = (a.seq, a.at_ms, a.sha256)
            where a.seq = last_seq
        ) then
        raise exception 'the audit trail is shortened from its beginning, up to an anchor, and never to nothing'
            using errcode = 'restrict_violation', constraint = 'audit_event_begins_after_its_anchor';
    end if;
    return null;
end
$$;
create trigger audit_event_is_kept
    after delete on audit_event referencing old table as removed
    for each statement execute function check_removed_audit_events();

-- Removes the oldest events that need not be kept, at most so many, and answers the anchor; none when nothing is that old.
-- Whoever calls it puts on the trail what he removed, in the same transaction.
create function remove_expired_audit_events(most integer) returns setof audit_anchor
    language plpgsql volatile as $$
declare
    last   audit_event;
    anchor audit_anchor;
begin
    perform pg_advisory_xact_lock(hashtextextended('siyada audit', 0));
    select e.* into last from (select * from audit_event o order by o.seq limit most) e
        where e.at_ms < audit_kept_since_ms() and exists (select from audit_event n where n.seq > e.seq)
        order by e.seq desc limit 1;
    if last.seq is null then
        return;
    end if;
    insert into audit_anchor (seq, at_ms, sha256, removed_ms)
        values (last.seq, last.at_ms, last.sha256, ledger_now_ms()) returning * into anchor;
    delete from audit_event e where e.seq <= last.seq;
    return next anchor;
end
$$;

-- For the page of health: an instant and a hash as they are written everywhere else.
create function ledger_stamp(ms bigint) returns text
    language sql stable
    return to_char(to_timestamp(ms / 1000.0) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
create function ledger_sha256(content text) returns text
    language sql stable
    return encode(sha256(convert_to(content, 'UTF8')), 'hex');
