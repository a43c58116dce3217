-- A ledger that was restored to a moment knows it, and what it lost is proved again or becomes a gap. Only adds: the api of the
-- landing before runs on it.

-- On which server the ledger lives, and since when. A restored database says the server that it was copied from, and runs on
-- another one or on another timeline. Its instant names an incarnation: no two of them have the same, whatever was forgotten.
create table incarnation (
    began_ms      bigint primary key,
    -- first: there was none before; failover: a standby of the same server took over; moved: a whole copy, nothing is lost;
    -- restored: what was recorded after last_known_ms is lost.
    kind          text   not null,
    system        text   not null,
    cluster       text   not null,
    timeline      text   not null,
    last_known_ms bigint,
    declared_by   text,
    constraint incarnation_kind check (kind in ('first', 'failover', 'moved', 'restored')),
    constraint incarnation_declared check ((kind in ('moved', 'restored')) = (declared_by is not null)),
    constraint incarnation_last_known check ((kind = 'restored') = (last_known_ms is not null))
);
create trigger incarnation_is_append_only
    before update or delete or truncate on incarnation
    for each statement execute function refuse_to_alter();

-- The server that answers. The name of the cluster is a setting that CloudNativePG gives to all servers of one cluster.
create function ledger_server() returns table (system text, cluster text, timeline text)
    language sql volatile as $$
    select (pg_control_system()).system_identifier::text, current_setting('cluster_name'),
           left(pg_walfile_name(pg_current_wal_lsn()), 8)
$$;

-- What a restored ledger does not know of a stream: since when, and the level before. It is stopped in the changes of level
-- meanwhile; the row goes when it is seen again.
create table lost_span (
    order_uid text   not null,
    meter     text   not null,
    since_ms  bigint not null,
    sku       text,
    quantity  bigint,
    collector text   not null,
    began_ms  bigint not null,
    constraint lost_span_key primary key (order_uid, meter),
    constraint lost_span_order foreign key (order_uid) references orders (uid),
    constraint lost_span_incarnation foreign key (began_ms) references incarnation (began_ms),
    constraint lost_span_level check ((sku is null) = (quantity is null))
);

-- The new rule holds before the old one goes.
alter table meter_gap rename constraint meter_gap_reason to meter_gap_one_of_three_reasons;
alter table meter_gap add constraint meter_gap_reason
    check (reason in ('notSeen', 'clockJumped', 'collectorAway', 'ledgerRestored')) not valid;
alter table meter_gap validate constraint meter_gap_reason;
alter table meter_gap drop constraint meter_gap_one_of_three_reasons;
