-- Budget lines and the stages of expenditure. Only adds: the api of the landing before runs on it.

-- Who ordered, as stamped by the API server: known for as long as the order's usage is billed, and whoever it is does not
-- certify what he ordered.
alter table orders add column requester text;
update orders o set requester = r.request ->> 'requester' from reservation r where r.order_uid = o.uid;

-- Credits of a line for a fiscal year, as somebody put them on record. A change is a new version.
create table budget_line_version (
    tenant_id     bigint  not null,
    fiscal_year   integer not null,
    line          text    not null,
    version       integer not null,
    record        jsonb   not null,
    currency      text    not null,
    opened_minor  bigint  not null,
    carried_minor bigint  not null,
    decided_by    text    not null,
    decided_ms    bigint  not null,
    constraint budget_line_version_key primary key (tenant_id, fiscal_year, line, version),
    constraint budget_line_version_tenant foreign key (tenant_id) references tenant (id),
    constraint budget_line_version_from_one check (version >= 1),
    constraint budget_line_version_amounts check (opened_minor >= 0 and carried_minor >= 0)
);
create trigger budget_line_version_is_append_only
    before update or delete or truncate on budget_line_version
    for each statement execute function refuse_to_alter();

-- What each statement books on each budget line, with tax; the empty name is what is booked on none. Read from the document
-- when it is issued, so that it is not taken apart again for every stage and every view.
create table statement_booked (
    number      text   not null,
    booking     text   not null,
    tenant_id   bigint not null,
    month       text   not null,
    issued_by   text   not null,
    currency    text   not null,
    gross_minor bigint not null,
    constraint statement_booked_key primary key (number, booking),
    constraint statement_booked_statement foreign key (number) references statement (number),
    constraint statement_booked_tenant foreign key (tenant_id) references tenant (id)
);
create index statement_booked_of_tenant on statement_booked (tenant_id, month);
create trigger statement_booked_is_append_only
    before update or delete or truncate on statement_booked
    for each statement execute function refuse_to_alter();

-- Who ordered what a statement bills.
create table statement_requester (
    number    text not null,
    requester text not null,
    constraint statement_requester_key primary key (number, requester),
    constraint statement_requester_statement foreign key (number) references statement (number)
);
create trigger statement_requester_is_append_only
    before update or delete or truncate on statement_requester
    for each statement execute function refuse_to_alter();

create function book_statement(of statement) returns void
    language plpgsql as $$
declare
    document jsonb := of.document::jsonb;
begin
    insert into statement_booked (number, booking, tenant_id, month, issued_by, currency, gross_minor)
    select of.number, coalesce(b.value ->> 'budgetLine', ''), of.tenant_id, of.month, of.issued_by, of.currency,
           sum((b.value ->> 'grossMinor')::bigint)
    from jsonb_array_elements(document #> '{totals,booked}') b group by 2;
    insert into statement_requester (number, requester)
    select distinct of.number, o.requester
    from jsonb_array_elements((document -> 'lines') || (document -> 'corrections')) l
    join orders o on o.uid = l.value #>> '{order,uid}'
    where o.requester is not null;
end
$$;
select book_statement(s) from statement s;
create function statement_is_issued() returns trigger
    language plpgsql as $$
begin
    perform book_statement(new);
    return null;
end
$$;
create trigger statement_is_booked after insert on statement for each row execute function statement_is_issued();

-- The stages of what a statement books on a line, in the order of their ids. Never altered, never removed.
create table settlement (
    id               bigint generated always as identity primary key,
    statement_number text    not null,
    booking          text    not null,
    stage            text    not null,
    fiscal_year      integer not null,
    minor            bigint  not null,
    currency         text    not null,
    decided_by       text    not null,
    decided_ms       bigint  not null,
    paid_on          date,
    reference        text,
    reason           text,
    constraint settlement_statement foreign key (statement_number) references statement (number),
    constraint settlement_stage check (stage in ('certified', 'ordered', 'paid', 'rejected')),
    constraint settlement_payment
        check (stage <> 'paid' or (paid_on is not null and reference is not null)),
    constraint settlement_reason check (stage <> 'rejected' or reason is not null)
);
create index settlement_of_statement on settlement (statement_number, booking, id);
create trigger settlement_is_append_only
    before update or delete or truncate on settlement
    for each statement execute function refuse_to_alter();

-- The order of stages, the amount, and who may: whoever ordered or closed does not certify, and whoever certified neither
-- orders the payment nor pays.
create function check_settlement() returns trigger
    language plpgsql as $$
declare
    booked statement_booked;
    last   settlement;
begin
    -- Stages of one statement take turns, so that each sees the one before.
    perform pg_advisory_xact_lock(hashtextextended('siyada settlement ' || new.statement_number, 0));
    select * into booked from statement_booked where number = new.statement_number and booking = new.booking;
    if booked.number is null or (booked.gross_minor, booked.currency) is distinct from (new.minor, new.currency) then
        raise exception 'statement % does not book that amount on %', new.statement_number, new.booking
            using errcode = 'check_violation', constraint = 'settlement_amount';
    end if;
    select * into last from settlement
        where statement_number = new.statement_number and booking = new.booking order by id desc limit 1;
    if not (case new.stage
        when 'certified' then last.stage is null or last.stage = 'rejected'
        when 'ordered' then last.stage is not distinct from 'certified'
        when 'paid' then last.stage is not distinct from 'ordered'
        when 'rejected' then last.stage is null or last.stage in ('certified', 'ordered')
        else false
    end) then
        raise exception 'stage % does not follow %', new.stage, coalesce(last.stage, 'none')
            using errcode = 'check_violation', constraint = 'settlement_order';
    end if;
    if last.fiscal_year <> new.fiscal_year then
        raise exception 'stage % moves to another fiscal year', new.stage
            using errcode = 'check_violation', constraint = 'settlement_fiscal_year';
    end if;
    if new.stage = 'certified' and (booked.issued_by = new.decided_by or exists (
        select from statement_requester
        where number = new.statement_number and requester = new.decided_by
    )) then
        raise exception 'whoever ordered or closed does not certify'
            using errcode = 'check_violation', constraint = 'settlement_certified_by_another';
    end if;
    if new.stage in ('ordered', 'paid') and exists (
        select from settlement where statement_number = new.statement_number and booking = new.booking
            and stage = 'certified' and decided_by = new.decided_by
    ) then
        raise exception 'whoever certified does not order the payment or pay'
            using errcode = 'check_violation', constraint = 'settlement_paid_by_another';
    end if;
    return new;
end
$$;
create trigger settlement_is_checked
    before insert on settlement for each row execute function check_settlement();
