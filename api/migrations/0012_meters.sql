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
