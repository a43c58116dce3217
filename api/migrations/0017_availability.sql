-- Availability: whether somebody could log in, told when it changes, and until when whoever told it was at work. No meter: it
-- has no price, nobody decides about it, and the api of the landing before, which runs on this schema, bills every meter.

-- From at_ms on, the order was found to be so; clock_ms is the same instant by the collector's own clock, by which what comes
-- again is known.
create table availability_change (
    order_uid   text   not null,
    at_ms       bigint not null,
    state       text   not null,
    clock_ms    bigint not null,
    collector   text   not null,
    epoch       bigint not null,
    recorded_ms bigint not null,
    seq         bigint not null default nextval('record_seq'),
    constraint availability_change_key primary key (order_uid, at_ms),
    constraint availability_change_order foreign key (order_uid) references orders (uid),
    constraint availability_change_state check (state in ('up', 'down', 'unobserved'))
);
create trigger availability_change_is_append_only
    before update or delete or truncate on availability_change
    for each statement execute function refuse_to_alter();
create trigger availability_change_is_recorded
    before insert on availability_change for each statement execute function record_is_written();

-- With this epoch a collector has told all that it found until then. A row for each checkpoint, so that what was known when a
-- month closed stays known: some 100,000 a year and cluster, however many orders there are.
create table availability_proof (
    collector text   not null,
    epoch     bigint not null,
    until_ms  bigint not null,
    seq       bigint not null default nextval('record_seq'),
    constraint availability_proof_key primary key (collector, epoch, until_ms)
);
create trigger availability_proof_is_append_only
    before update or delete or truncate on availability_proof
    for each statement execute function refuse_to_alter();
create trigger availability_proof_is_recorded
    before insert on availability_proof for each statement execute function record_is_written();
