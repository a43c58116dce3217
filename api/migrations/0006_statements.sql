-- Finance: who bills whom, where it is booked, months, and the documents that close them. Only adds: the api of the
-- landing before runs on it.

-- Records are numbered in the order in which they count, so that "what was known when this closed" is one number.
create sequence record_seq;
alter table usage_change add column seq bigint not null default nextval('record_seq');
create index usage_change_seq on usage_change (seq);

-- Whoever adds to the record holds this lock until he commits; whoever closes a month waits for him, and then knows that
-- nothing with a lower number is still to come.
create function record_is_written() returns trigger
    language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('siyada record', 0));
    return null;
end
$$;
create trigger usage_change_is_recorded
    before insert on usage_change for each statement execute function record_is_written();

-- The body that bills, as finance put it on record; the last one counts from then on.
create table issuer_version (
    id     bigint generated always as identity primary key,
    record jsonb  not null,
    put_by text   not null,
    put_ms bigint not null
);
create trigger issuer_version_is_append_only
    before update or delete or truncate on issuer_version
    for each statement execute function refuse_to_alter();

-- Buyers, the same way.
create table account_version (
    id      bigint generated always as identity primary key,
    account text   not null,
    record  jsonb  not null,
    put_by  text   not null,
    put_ms  bigint not null
);
create index account_version_account on account_version (account, id);
create trigger account_version_is_append_only
    before update or delete or truncate on account_version
    for each statement execute function refuse_to_alter();

-- From at_ms on, an order's cost is booked so: shares in millionths that sum to one.
create table allocation_change (
    order_uid   text   not null,
    at_ms       bigint not null,
    shares      jsonb  not null,
    put_by      text   not null,
    recorded_ms bigint not null,
    seq         bigint not null default nextval('record_seq'),
    constraint allocation_change_key primary key (order_uid, at_ms),
    constraint allocation_change_order foreign key (order_uid) references orders (uid) on delete cascade,
    constraint allocation_change_shares check (jsonb_array_length(shares) between 1 and 20)
);
create index allocation_change_seq on allocation_change (seq);
create trigger allocation_change_is_append_only
    before update or truncate on allocation_change
    for each statement execute function refuse_to_alter();
create trigger allocation_change_is_recorded
    before insert on allocation_change for each statement execute function record_is_written();

-- What an order itself says of its cost is booked from the instant at which it says so.
create function allocation_of(billing jsonb) returns jsonb
    language sql immutable
    return jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'costCentre', nullif(left(billing ->> 'costCentre', 200), ''),
        'budgetLine', nullif(left(billing ->> 'budgetLine', 200), ''),
        'reference', nullif(left(billing ->> 'reference', 200), ''),
        'millionths', 1000000)));
create function new_orders_are_booked() returns trigger
    language plpgsql as $$
begin
    insert into allocation_change (order_uid, at_ms, shares, put_by, recorded_ms)
    select n.uid, ledger_now_ms(), allocation_of(n.billing), 'order', ledger_now_ms()
    from fresh n where allocation_of(n.billing) <> allocation_of('{}');
    return null;
end
$$;
create trigger orders_are_booked
    after insert on orders referencing new table as fresh
    for each statement execute function new_orders_are_booked();
create function changed_order_is_booked() returns trigger
    language plpgsql as $$
begin
    insert into allocation_change (order_uid, at_ms, shares, put_by, recorded_ms)
    select new.uid, greatest(ledger_now_ms(), coalesce(max(a.at_ms) + 1, 0)), allocation_of(new.billing), 'order',
           ledger_now_ms()
    from allocation_change a where a.order_uid = new.uid;
    return null;
end
$$;
create trigger orders_are_booked_anew
    after update of billing on orders for each row
    when (allocation_of(old.billing) <> allocation_of(new.billing)) execute function changed_order_is_booked();
insert into allocation_change (order_uid, at_ms, shares, put_by, recorded_ms)
select uid, ledger_now_ms(), allocation_of(billing), 'order', ledger_now_ms()
from orders where allocation_of(billing) <> allocation_of('{}');

-- Months of the issuer. Their borders never change; each begins where the one before it ends.
create table period (
    month       text   primary key,
    start_ms    bigint not null,
    end_ms      bigint not null,
    time_zone   text   not null,
    tz_database text   not null,
    opened_ms   bigint not null,
    closed_ms   bigint,
    closed_by   text,
    as_of       bigint,
    constraint period_borders check (start_ms < end_ms),
    constraint period_month check (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    constraint period_start_unique unique (start_ms),
    constraint period_end_unique unique (end_ms),
    constraint period_closed_whole check (
        (closed_ms is null) = (closed_by is null) and (closed_ms is null) = (as_of is null)
    )
);
create function period_follows() returns trigger
    language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        if (new.month, new.start_ms, new.end_ms, new.time_zone, new.tz_database, new.opened_ms)
           is distinct from (old.month, old.start_ms, old.end_ms, old.time_zone, old.tz_database, old.opened_ms)
           or old.closed_ms is not null then
            raise exception 'a period keeps its borders, and closes once'
                using errcode = 'restrict_violation', constraint = 'period_is_fixed';
        end if;
        if exists (select 1 from period p where p.start_ms < new.start_ms and p.closed_ms is null) then
            raise exception 'an earlier period is open'
                using errcode = 'restrict_violation', constraint = 'period_closes_in_order';
        end if;
    elsif exists (select 1 from period) and not exists (select 1 from period p where p.end_ms = new.start_ms) then
        raise exception 'a period begins where the last one ends'
            using errcode = 'restrict_violation', constraint = 'period_is_contiguous';
    end if;
    return new;
end
$$;
create trigger period_follows before insert or update on period for each row execute function period_follows();
create trigger period_is_kept before delete or truncate on period for each statement execute function refuse_to_alter();

-- Documents: statements and credit notes, one chain of all of them.
create table statement (
    position    bigint   primary key,
    number      text     not null,
    series      text     not null,
    sequence    bigint   not null,
    kind        text     not null,
    tenant_id   bigint   not null,
    month       text     not null,
    credits     text,
    -- What a credit note was asked with: the same once more is the same note.
    request_key text,
    issued_ms   bigint   not null,
    issued_by   text     not null,
    net_minor   bigint   not null,
    gross_minor bigint   not null,
    currency    text     not null,
    -- The canonical bytes. Text and not jsonb: they are hashed and signed as they are.
    document    text     not null,
    sha256      text     not null,
    chain       text     not null,
    -- Ed25519 over the canonical bytes, and the key's id.
    signature   bytea,
    key_id      text,
    constraint statement_number_unique unique (number),
    constraint statement_tenant foreign key (tenant_id) references tenant (id),
    constraint statement_period foreign key (month) references period (month),
    constraint statement_credits foreign key (credits) references statement (number),
    constraint statement_kind check (kind in ('statement', 'creditNote') and (kind = 'creditNote') = (credits is not null)),
    constraint statement_hash check (sha256 = encode(sha256(convert_to(document, 'UTF8')), 'hex')),
    constraint statement_signed check ((signature is null) = (key_id is null))
);
create unique index statement_once_a_month on statement (tenant_id, month) where kind = 'statement';
create index statement_tenant_position on statement (tenant_id, position);
create unique index statement_credit_once on statement (credits, request_key) where kind = 'creditNote';
create index statement_month on statement (month);

-- No hole in a series and none in the chain, whoever writes. Whoever issues holds the lock until he commits.
create function statement_follows() returns trigger
    language plpgsql as $$
declare
    last record;
    last_of_series bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('siyada statements', 0));
    select s.position, s.chain into last from statement s order by s.position desc limit 1;
    select max(s.sequence) into last_of_series from statement s where s.series = new.series;
    if new.position <> coalesce(last.position, 0) + 1 or new.sequence <> coalesce(last_of_series, 0) + 1
       or new.number <> new.series || '-' || lpad(new.sequence::text, greatest(6, length(new.sequence::text)), '0') then
        raise exception 'number % is not the next of its series', new.number
            using errcode = 'restrict_violation', constraint = 'statement_has_the_next_number';
    end if;
    if new.chain <> encode(sha256(convert_to(coalesce(last.chain, repeat('0', 64)) || new.sha256, 'UTF8')), 'hex') then
        raise exception 'document % does not extend the chain', new.number
            using errcode = 'restrict_violation', constraint = 'statement_extends_the_chain';
    end if;
    return new;
end
$$;
create index statement_series on statement (series, sequence);
create trigger statement_follows before insert on statement for each row execute function statement_follows();
create trigger statement_is_append_only
    before update or delete or truncate on statement
    for each statement execute function refuse_to_alter();
