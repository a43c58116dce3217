-- Whether the meter of a change of level is known is looked up once for each statement, not once for each row: a batch has
-- thousands of rows of a few meters. Only adds a rule that holds before the old one goes; the api of the landing before runs
-- on it and sees the same refusal by the same name.

-- A meter is never removed and never renamed (meter_is_append_only), so that what was known when a row came stays known:
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
