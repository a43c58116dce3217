-- Meters are data, and counters are read. Only adds: the api of the landing before runs on it, and knows two meters.

-- What is measured. A level holds until it changes and is billed by its time; a counter is an absolute value that is read
-- and only rises.
create table meter (
    name         text  primary key,
    base_unit    text  not null,
    kind         text  not null,
    display_name jsonb not null,
    constraint meter_name check (name ~ '^[a-z0-9]([-a-z0-9]{0,22}[a-z0-9])?$'),
    constraint meter_base_unit check (base_unit ~ '^[A-Za-z]{1,20}$'),
    constraint meter_kind check (kind in ('level', 'counter')),
    constraint meter_display_name check (display_name ?& array['fr', 'ar', 'en'])
);
-- What is on record keeps its meaning: only how a meter is called in a language may be corrected.
create trigger meter_is_append_only
    before update of name, base_unit, kind or delete or truncate on meter
    for each statement execute function refuse_to_alter();

insert into meter (name, base_unit, kind, display_name) values
    ('compute', 'instance', 'level', '{"fr": "Calcul", "ar": "الحوسبة", "en": "Compute"}'),
    ('storage', 'MiB', 'level', '{"fr": "Stockage", "ar": "التخزين", "en": "Storage"}'),
    ('standby', 'instance', 'level', '{"fr": "Instances de secours", "ar": "الخوادم الاحتياطية", "en": "Standby"}'),
    ('backup', 'MiB', 'level', '{"fr": "Sauvegardes", "ar": "النسخ الاحتياطي", "en": "Backup"}'),
    ('transactions', 'transaction', 'counter', '{"fr": "Transactions", "ar": "المعاملات", "en": "Transactions"}'),
    ('requests', 'request', 'counter', '{"fr": "Requêtes", "ar": "الطلبات", "en": "Requests"}'),
    ('egress', 'byte', 'counter', '{"fr": "Trafic sortant", "ar": "البيانات الصادرة", "en": "Egress"}');

-- The new rule holds before the old one goes. Both have one name: the code knows it.
alter table usage_change rename constraint usage_change_meter to usage_change_one_of_two_meters;
alter table usage_change
    add constraint usage_change_meter foreign key (meter) references meter (name) not valid;
alter table usage_change validate constraint usage_change_meter;
alter table usage_change drop constraint usage_change_one_of_two_meters;

-- A counter of an order stood at value at the end of a window; within one reset id it never falls. Never altered.
create table counter_reading (
    order_uid     text   not null,
    meter         text   not null,
    window_end_ms bigint not null,
    reset_id      text   not null,
    value         bigint not null,
    collector     text   not null,
    epoch         bigint not null,
    recorded_ms   bigint not null,
    constraint counter_reading_key primary key (order_uid, meter, window_end_ms),
    constraint counter_reading_order foreign key (order_uid) references orders (uid),
    constraint counter_reading_meter foreign key (meter) references meter (name),
    constraint counter_reading_value check (value >= 0),
    constraint counter_reading_reset_id check (reset_id ~ '^[!-~]{1,80}$')
);
create trigger counter_reading_is_append_only
    before update or delete or truncate on counter_reading
    for each statement execute function refuse_to_alter();

-- Whoever adds readings of an order holds the order, so that each sees the one before.
create function check_counter_reading() returns trigger
    language plpgsql as $$
begin
    if new.value < (select value from counter_reading
                    where (order_uid, meter, reset_id) = (new.order_uid, new.meter, new.reset_id)
                        and window_end_ms < new.window_end_ms order by window_end_ms desc limit 1)
        or new.value > (select value from counter_reading
                        where (order_uid, meter, reset_id) = (new.order_uid, new.meter, new.reset_id)
                            and window_end_ms > new.window_end_ms order by window_end_ms limit 1) then
        raise exception 'counter % of order % falls within a reset id', new.meter, new.order_uid
            using errcode = 'check_violation', constraint = 'counter_reading_never_falls';
    end if;
    return new;
end
$$;
create trigger counter_reading_is_checked
    before insert on counter_reading for each row execute function check_counter_reading();
