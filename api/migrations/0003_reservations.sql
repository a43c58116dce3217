-- Orders and what they hold.

-- What is known of an order. It outlives the reservation: its usage is billed later.
create table orders (
    uid       text   primary key,
    tenant_id bigint not null,
    namespace text   not null,
    name      text   not null,
    kind      text   not null,
    plan      text   not null,
    billing   jsonb  not null,
    -- When a collector last saw it as it is on record.
    last_seen_ms bigint,
    constraint orders_tenant foreign key (tenant_id) references tenant (id)
) with (fillfactor = 70);
create index orders_tenant on orders (tenant_id);

create table reservation (
    order_uid     text    primary key,
    tenant_id     bigint  not null,
    generation    bigint  not null,
    retained      boolean not null,
    request       jsonb   not null,
    instances     bigint  not null,
    cpu_milli     bigint  not null,
    memory_bytes  bigint  not null,
    storage_bytes bigint  not null,
    money_minor   bigint  not null,
    price_list    text    not null,
    held_since_ms bigint  not null,
    constraint reservation_order foreign key (order_uid) references orders (uid),
    constraint reservation_tenant foreign key (tenant_id) references tenant (id),
    constraint reservation_price_list foreign key (price_list) references price_list (name),
    constraint reservation_amounts check (
        instances >= 0 and cpu_milli >= 0 and memory_bytes >= 0 and storage_bytes >= 0 and money_minor >= 0
    )
);
create index reservation_tenant on reservation (tenant_id);
create index reservation_price_list on reservation (price_list);

-- What each tenant should hold, counted afresh. Equal to tenant_quota.held_* at every commit.
create view quota_recount as
select above.id as tenant_id,
       count(r.order_uid)                          as reservations,
       coalesce(sum(r.instances), 0)::bigint       as instances,
       coalesce(sum(r.cpu_milli), 0)::bigint       as cpu_milli,
       coalesce(sum(r.memory_bytes), 0)::bigint    as memory_bytes,
       coalesce(sum(r.storage_bytes), 0)::bigint   as storage_bytes,
       coalesce(sum(r.money_minor), 0)::bigint     as money_minor
from tenant above
left join tenant below on below.path @> array[above.id]
left join reservation r on r.tenant_id = below.id
where above.deleted_ms is null
group by above.id;
