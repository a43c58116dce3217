-- Price lists: immutable from the moment they are known. The currency of all of them is the ledger's.
create table price_list (
    name          text   primary key,
    currency      text   not null,
    valid_from_ms bigint not null,
    record        jsonb  not null,
    constraint price_list_valid_from_unique unique (valid_from_ms)
);
