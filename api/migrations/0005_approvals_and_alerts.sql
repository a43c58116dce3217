-- Approvals, alerts, and prices that change while orders stand. Only adds: the api of the landing before runs on it.

-- An order that was asked for above a threshold of its tenant, as it was asked last. It holds nothing.
create table approval_request (
    order_uid     text   primary key,
    tenant_id     bigint not null,
    generation    bigint not null,
    requester     text,
    plan          text   not null,
    needed        jsonb  not null,
    currency      text   not null,
    instances     bigint not null,
    cpu_milli     bigint not null,
    memory_bytes  bigint not null,
    storage_bytes bigint not null,
    money_minor   bigint not null,
    asked_ms      bigint not null,
    -- The decision about exactly what is asked now; none while it waits.
    decision_id   bigint,
    constraint approval_request_order foreign key (order_uid) references orders (uid),
    constraint approval_request_tenant foreign key (tenant_id) references tenant (id)
);
create index approval_request_tenant on approval_request (tenant_id);

-- Who decided what, for ever. Whoever ordered never decides.
create table approval_decision (
    id            bigint generated always as identity primary key,
    order_uid     text    not null,
    tenant_id     bigint  not null,
    requester     text    not null,
    decided_by    text    not null,
    decided_ms    bigint  not null,
    approved      boolean not null,
    currency      text    not null,
    instances     bigint  not null,
    cpu_milli     bigint  not null,
    memory_bytes  bigint  not null,
    storage_bytes bigint  not null,
    money_minor   bigint  not null,
    comment       text,
    constraint approval_decision_order foreign key (order_uid) references orders (uid),
    constraint approval_decision_tenant foreign key (tenant_id) references tenant (id),
    constraint approval_decision_by_another check (decided_by <> requester)
);
create index approval_decision_order on approval_decision (order_uid, id);
create trigger approval_decision_is_append_only
    before update or delete or truncate on approval_decision
    for each statement execute function refuse_to_alter();
alter table approval_request add constraint approval_request_decision
    foreign key (decision_id) references approval_decision (id);

-- A limit was filled to a threshold: written by the transaction that moved the sum or the limit.
create table alert (
    id          bigint generated always as identity primary key,
    tenant_id   bigint   not null,
    at_ms       bigint   not null,
    dimension   text     not null,
    percent     smallint not null,
    held        bigint   not null,
    held_of     bigint   not null,
    currency    text,
    constraint alert_tenant foreign key (tenant_id) references tenant (id)
);
create trigger alert_is_append_only
    before update or delete or truncate on alert
    for each statement execute function refuse_to_alter();

-- Whom to tell over HTTP, until it is done or given up.
create table alert_delivery (
    alert_id bigint not null,
    target   text   not null,
    attempts integer not null default 0,
    next_ms  bigint not null,
    done_ms  bigint,
    outcome  text,
    constraint alert_delivery_key primary key (alert_id, target),
    constraint alert_delivery_alert foreign key (alert_id) references alert (id)
);
create index alert_delivery_due on alert_delivery (next_ms) where done_ms is null;

-- The list in force and those that follow. Whoever prices with them holds this lock until he commits, so that whoever
-- publishes a list, or values anew when one comes into force, waits for him and sees what he wrote.
create function price_lists_from_now() returns table (record jsonb, in_force boolean)
    language plpgsql volatile as $$
declare
    began bigint;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('siyada price lists', 0));
    select max(l.valid_from_ms) into began from price_list l where l.valid_from_ms <= ledger_now_ms();
    return query
        select l.record, l.valid_from_ms = began from price_list l
        where began is null or l.valid_from_ms >= began order by l.valid_from_ms;
end
$$;
