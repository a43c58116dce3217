-- Double entry. What each account is for stands in model/src/ledger.rs.

create table ledger_account (
    -- The place, from the widest to the narrowest: receivable:interior.
    name text primary key,
    kind text not null,
    constraint ledger_account_kind check (kind in ('receivable', 'revenue', 'tax', 'settled', 'budget')),
    constraint ledger_account_name check (split_part(name, ':', 1) = kind and name !~ '[[:space:];()"]')
);

create table ledger_transaction (
    -- Given by its author: the same id with the same content is the same transaction.
    id             text    primary key,
    -- In the order of the commits, without holes.
    sequence       bigint  not null,
    kind           text    not null,
    effective_ms   bigint  not null,
    effective_date date    not null,
    recorded_ms    bigint  not null,
    -- How many entries it has: none can be added afterwards.
    entries        integer not null,
    content_sha256 text    not null,
    constraint ledger_transaction_sequence unique (sequence),
    constraint ledger_transaction_entries unique (id, entries),
    constraint ledger_transaction_id check (id !~ '[[:space:];()"]'),
    constraint ledger_transaction_sha256 check (content_sha256 ~ '^[0-9a-f]{64}$')
);
create index ledger_transaction_date on ledger_transaction (effective_date, sequence);

create table ledger_entry (
    transaction_id text    not null,
    seq            integer not null,
    entries        integer not null,
    account        text    not null,
    minor          bigint  not null,
    currency       text    not null,
    constraint ledger_entry_key primary key (transaction_id, seq),
    constraint ledger_entry_transaction foreign key (transaction_id, entries)
        references ledger_transaction (id, entries),
    constraint ledger_entry_is_one_of_them check (seq between 1 and entries),
    constraint ledger_entry_account foreign key (account) references ledger_account (name)
);
create index ledger_entry_account on ledger_entry (account);

create trigger ledger_account_is_append_only
    before update or delete or truncate on ledger_account
    for each statement execute function refuse_to_alter();
create trigger ledger_transaction_is_append_only
    before update or delete or truncate on ledger_transaction
    for each statement execute function refuse_to_alter();
create trigger ledger_entry_is_append_only
    before update or delete or truncate on ledger_entry
    for each statement execute function refuse_to_alter();

-- At its commit a transaction has all its entries, they sum to zero in each currency, and it follows the one before.
create function check_ledger_transaction() returns trigger
    language plpgsql as $$
declare
    found  bigint;
    uneven text;
begin
    select count(*) into found from ledger_entry where transaction_id = new.id;
    if found <> new.entries then
        raise exception 'transaction % has % of its % entries', new.id, found, new.entries
            using errcode = 'check_violation', constraint = 'ledger_transaction_is_whole';
    end if;
    select currency into uneven from ledger_entry where transaction_id = new.id
        group by currency having sum(minor) <> 0 limit 1;
    if uneven is not null then
        raise exception 'transaction % does not sum to zero in %', new.id, uneven
            using errcode = 'check_violation', constraint = 'ledger_transaction_sums_to_zero';
    end if;
    if new.sequence <> 1 and not exists (
        select from ledger_transaction where sequence = new.sequence - 1 and recorded_ms <= new.recorded_ms
    ) then
        raise exception 'transaction % does not follow the one before', new.id
            using errcode = 'check_violation', constraint = 'ledger_transaction_follows';
    end if;
    return null;
end
$$;
create constraint trigger ledger_transaction_is_checked
    after insert on ledger_transaction deferrable initially deferred
    for each row execute function check_ledger_transaction();
