-- Gaps of measurement: time that no observation proves, and what a named person decides of it. Only adds: the api of the
-- landing before runs on it.

-- Milliseconds that went by on a collector's own clock since its watermark was raised.
alter table collector add column ran_ms bigint not null default 0;

-- Before the gap the order had this level of the meter. In the changes of level it is stopped meanwhile.
create table meter_gap (
    id          bigint generated always as identity primary key,
    order_uid   text   not null,
    meter       text   not null,
    start_ms    bigint not null,
    end_ms      bigint not null,
    sku         text   not null,
    quantity    bigint not null,
    reason      text   not null,
    collector   text   not null,
    epoch       bigint not null,
    recorded_ms bigint not null,
    seq         bigint not null default nextval('record_seq'),
    constraint meter_gap_once unique (order_uid, meter, start_ms),
    constraint meter_gap_order foreign key (order_uid) references orders (uid),
    constraint meter_gap_time check (start_ms < end_ms),
    constraint meter_gap_quantity check (quantity > 0),
    constraint meter_gap_reason check (reason in ('notSeen', 'clockJumped', 'collectorAway'))
);
create index meter_gap_time on meter_gap (end_ms, start_ms);
create trigger meter_gap_is_append_only
    before update or delete or truncate on meter_gap
    for each statement execute function refuse_to_alter();
create trigger meter_gap_is_recorded
    before insert on meter_gap for each statement execute function record_is_written();

-- The last one counts.
create table gap_decision (
    gap_id     bigint  not null,
    seq        bigint  not null default nextval('record_seq'),
    billed     boolean not null,
    evidence   text    not null,
    decided_by text    not null,
    decided_ms bigint  not null,
    constraint gap_decision_key primary key (gap_id, seq),
    constraint gap_decision_gap foreign key (gap_id) references meter_gap (id),
    constraint gap_decision_evidence check (length(evidence) between 1 and 200)
);
create index gap_decision_seq on gap_decision (seq);
create trigger gap_decision_is_append_only
    before update or delete or truncate on gap_decision
    for each statement execute function refuse_to_alter();
create trigger gap_decision_is_recorded
    before insert on gap_decision for each statement execute function record_is_written();

-- Whoever ordered does not decide whether it is billed.
create function gap_is_decided_by_another() returns trigger
    language plpgsql as $$
begin
    if exists (select from meter_gap g join orders o on o.uid = g.order_uid
               where g.id = new.gap_id and o.requester = new.decided_by) then
        raise exception 'whoever ordered does not decide about a gap'
            using errcode = 'check_violation', constraint = 'gap_decision_by_another';
    end if;
    return new;
end
$$;
create trigger gap_is_decided_by_another
    before insert on gap_decision for each row execute function gap_is_decided_by_another();
