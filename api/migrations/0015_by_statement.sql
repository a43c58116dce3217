-- Rules that cost more for each row the more rows there are, looked at once for each statement. They say what they said
-- before, by the same names: the api of the landing before runs on it.

-- Whether the meters of changes of level are known: a batch has thousands of rows of a few meters. The new rule holds before
-- the old one goes. A meter is never removed and never renamed (meter_is_append_only), so that what was known when a row came stays known:
-- looking when rows come is enough, and no row of meter is locked by every batch.
create function check_meters_of_usage() returns trigger
    language plpgsql as $$
declare
    unknown text;
begin
    select f.meter into unknown from (select distinct meter from fresh) f
        where not exists (select from meter m where m.name = f.meter) limit 1;
    if found then
        raise exception 'there is no meter %', unknown
            using errcode = 'foreign_key_violation', constraint = 'usage_change_meter', table = 'usage_change';
    end if;
    return null;
end
$$;
create trigger usage_change_meters_are_known
    after insert on usage_change referencing new table as fresh
    for each statement execute function check_meters_of_usage();
alter table usage_change drop constraint usage_change_meter;

-- What statements book, read from all documents of a closing at once: for each of them alone, all orders were read again.
-- Planned each time: a plan from the day on which there were ten orders reads all of them for each line.
create function book_statements() returns trigger
    language plpgsql set plan_cache_mode = force_custom_plan as $$
begin
    insert into statement_booked (number, booking, tenant_id, month, issued_by, currency, gross_minor)
    select f.number, coalesce(b.value ->> 'budgetLine', ''), f.tenant_id, f.month, f.issued_by, f.currency,
           sum((b.value ->> 'grossMinor')::bigint)
    from fresh f cross join lateral jsonb_array_elements(f.document::jsonb #> '{totals,booked}') b
    group by 1, 2, 3, 4, 5, 6;
    insert into statement_requester (number, requester)
    select distinct l.number, o.requester
    from (select f.number, line.value #>> '{order,uid}' as uid
          from (select number, document::jsonb as document from fresh) f
          cross join lateral jsonb_array_elements((f.document -> 'lines') || (f.document -> 'corrections')) line) l
    join orders o on o.uid = l.uid
    where o.requester is not null;
    return null;
end
$$;
create trigger statements_are_booked
    after insert on statement referencing new table as fresh
    for each statement execute function book_statements();
drop trigger statement_is_booked on statement;
drop function statement_is_issued();
drop function book_statement(statement);

-- As before, and the last place and number are found at the end of their indexes, also by a plan that was made while there
-- were few documents: one that reads all of them for each one reads them a million times when a thousand are closed.
create or replace function statement_follows() returns trigger
    language plpgsql set enable_seqscan = off set enable_sort = off as $$
declare
    last record;
    last_of_series bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('siyada statements', 0));
    select s.position, s.chain into last from statement s order by s.position desc limit 1;
    select s.sequence into last_of_series from statement s where s.series = new.series
        order by s.series desc, s.sequence desc limit 1;
    if new.position <> coalesce(last.position, 0) + 1 or new.sequence <> coalesce(last_of_series, 0) + 1
       or new.number <> new.series || '-' || lpad(new.sequence::text, greatest(6, length(new.sequence::text)), '0') then
        raise exception 'number % is not the next of its series', new.number
            using errcode = 'restrict_violation', constraint = 'statement_has_the_next_number';
    end if;
    if new.chain <> encode(sha256(convert_to(coalesce(last.chain, repeat('0', 64)) || new.sha256, 'UTF8')), 'hex') then
        raise exception 'document % does not extend the chain', new.number
            using errcode = 'restrict_violation', constraint = 'statement_extends_the_chain';
    end if;
    return new;
end
$$;
