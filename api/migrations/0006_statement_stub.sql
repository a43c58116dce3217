-- A stand-in for the table of statements until that is there.
create table statement (
    number    text   primary key,
    tenant_id bigint not null references tenant (id),
    document  jsonb  not null,
    closed_by text   not null
);
