-- Who did what: each event names the hash of the one before. Written by the transaction that does it.
create table audit_event (
    seq             bigint primary key,
    at_ms           bigint not null,
    actor           text   not null,
    action          text   not null,
    -- The tenant it concerns, with everything above it; none when it concerns all.
    tenant_id       bigint,
    object          text   not null,
    detail          jsonb  not null,
    previous_sha256 text   not null,
    sha256          text   not null,
    constraint audit_event_tenant foreign key (tenant_id) references tenant (id),
    constraint audit_event_sha256 check (sha256 ~ '^[0-9a-f]{64}$')
);
create index audit_event_of_tenant on audit_event (tenant_id, seq);
create trigger audit_event_is_append_only
    before update or delete or truncate on audit_event
    for each statement execute function refuse_to_alter();

-- No event is slipped in, left out or dated back.
create function check_audit_event() returns trigger
    language plpgsql as $$
declare
    before audit_event;
begin
    select * into before from audit_event order by seq desc limit 1;
    if new.seq <> coalesce(before.seq, 0) + 1
        or new.previous_sha256 <> coalesce(before.sha256, repeat('0', 64))
        or new.at_ms < before.at_ms then
        raise exception 'audit event % does not follow event %', new.seq, before.seq
            using errcode = 'check_violation', constraint = 'audit_event_follows';
    end if;
    return new;
end
$$;
create trigger audit_event_is_checked
    before insert on audit_event for each row execute function check_audit_event();
