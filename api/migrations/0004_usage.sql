-- Metering: changes of level, from which intervals are derived.

-- From at_ms on, the order has this level of this meter; no sku means stopped. Never altered, never removed.
create table usage_change (
    order_uid   text   not null,
    meter       text   not null,
    at_ms       bigint not null,
    sku         text,
    quantity    bigint,
    reason      text   not null,
    collector   text   not null,
    epoch       bigint not null,
    recorded_ms bigint not null,
    constraint usage_change_key primary key (order_uid, meter, at_ms),
    constraint usage_change_order foreign key (order_uid) references orders (uid),
    constraint usage_change_meter check (meter in ('compute', 'storage')),
    constraint usage_change_level check ((sku is null) = (quantity is null)),
    constraint usage_change_quantity check (quantity > 0)
);

create function refuse_to_alter() returns trigger
    language plpgsql as $$
begin
    raise exception 'rows of % are never altered or removed', tg_table_name
        using errcode = 'restrict_violation', constraint = tg_table_name || '_is_append_only';
end
$$;
create trigger usage_change_is_append_only
    before update or delete or truncate on usage_change
    for each statement execute function refuse_to_alter();

-- Who reports usage: one cluster. A higher epoch fences a lower one out.
create table collector (
    id           text   primary key,
    epoch        bigint not null,
    watermark_ms bigint,
    last_seen_ms bigint not null
);
