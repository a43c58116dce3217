-- What the hosting body spends, by fiscal year and category, as national finance put it on record. A change is a new
-- version. Only adds: the api of the landing before runs on it.
create table cost_version (
    fiscal_year integer not null,
    category    text    not null,
    version     integer not null,
    record      jsonb   not null,
    currency    text    not null,
    minor       bigint  not null,
    put_by      text    not null,
    put_ms      bigint  not null,
    constraint cost_version_key primary key (fiscal_year, category, version),
    constraint cost_version_from_one check (version >= 1),
    constraint cost_version_amount check (minor >= 0)
);
create trigger cost_version_is_append_only
    before update or delete or truncate on cost_version
    for each statement execute function refuse_to_alter();
