-- Tenants and their quotas.

-- The database's clock in milliseconds since 1970: the only clock of the ledger.
create function ledger_now_ms() returns bigint
    language sql volatile
    return floor(extract(epoch from clock_timestamp()) * 1000)::bigint;

create table tenant (
    id         bigint generated always as identity primary key,
    name       text   not null,
    uid        text   not null,
    generation bigint not null,
    parent_id  bigint,
    -- Ids from the root down to this tenant, itself included: the chain whose quotas an order takes from.
    path       bigint[] not null,
    suspended  boolean not null,
    record     jsonb  not null,
    -- A deleted tenant keeps its row, because past usage was its own; a new one of that name is another row.
    deleted_ms bigint,
    constraint tenant_parent_exists foreign key (parent_id) references tenant (id),
    constraint tenant_depth check (cardinality(path) between 1 and 8),
    constraint tenant_path_ends_here check (path[cardinality(path)] = id),
    constraint tenant_path_follows_parent check (
        parent_id is not distinct from (case when cardinality(path) > 1 then path[cardinality(path) - 1] end)
    )
);
create unique index tenant_name_unique on tenant (name) where deleted_ms is null;
create index tenant_path on tenant using gin (path);
create index tenant_parent on tenant (parent_id);

-- The hot rows: limits of a tenant, and what it and everything below it holds. A limit may lie below what is held
-- (it was lowered); growth is guarded where the sums are raised.
create table tenant_quota (
    tenant_id          bigint primary key,
    limit_instances    bigint,
    limit_cpu_milli    bigint,
    limit_memory_bytes bigint,
    limit_storage_bytes bigint,
    limit_money_minor  bigint,
    limit_currency     text,
    held_instances     bigint not null default 0,
    held_cpu_milli     bigint not null default 0,
    held_memory_bytes  bigint not null default 0,
    held_storage_bytes bigint not null default 0,
    held_money_minor   bigint not null default 0,
    constraint tenant_quota_tenant foreign key (tenant_id) references tenant (id),
    constraint tenant_quota_limit check (
        limit_instances >= 0 and limit_cpu_milli >= 0 and limit_memory_bytes >= 0
        and limit_storage_bytes >= 0 and limit_money_minor >= 0
    ),
    constraint tenant_quota_currency check ((limit_money_minor is null) = (limit_currency is null)),
    constraint tenant_quota_held check (
        held_instances >= 0 and held_cpu_milli >= 0 and held_memory_bytes >= 0
        and held_storage_bytes >= 0 and held_money_minor >= 0
    )
) with (fillfactor = 50);
