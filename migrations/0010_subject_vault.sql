-- The vault of a person: what is known of them and stands in no event. It goes with their key
-- (docs/decisions/0038).

create table event_log.subject_vault (
    tenant  uuid  not null,
    subject uuid  not null,
    item    uuid  not null,
    mark    bytea not null,
    sealed  bytea not null,
    primary key (tenant, subject, item),
    unique (tenant, subject, mark),
    foreign key (tenant, subject) references event_log.subject_key (tenant, subject)
);
comment on table event_log.subject_vault is
    'What is kept of a person beside the log, sealed with their key; emptied when they are erased.';
comment on column event_log.subject_vault.mark is
    'A keyed hash of the value: the same value is one item, and nobody can guess at it.';

-- Keeps an item and names it; the one that was there if the value is known. Null for whoever was
-- erased. An erasure that goes on at the same time comes before or after, never in between.
create function event_log.keep_in_vault(
    of_tenant uuid, of_subject uuid, proposed uuid, of_mark bytea, of_sealed bytea)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from event_log.subject_key k
      where k.tenant = of_tenant and k.subject = of_subject and k.wrapped is not null
        for share;
    if not found then
        return null;
    end if;
    insert into event_log.subject_vault (tenant, subject, item, mark, sealed)
    values (of_tenant, of_subject, proposed, of_mark, of_sealed)
        on conflict (tenant, subject, mark) do nothing;
    return (select v.item from event_log.subject_vault v
             where v.tenant = of_tenant and v.subject = of_subject and v.mark = of_mark);
end
$$;

-- As in 0005, and the vault goes with the key.
create or replace function event_log.erase_subject_key(of_tenant uuid, of_subject uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    existed boolean;
begin
    insert into event_log.subject_key as k (tenant, subject, wrapped, erased_at)
    values (of_tenant, of_subject, null, clock_timestamp())
    on conflict (tenant, subject) do update
       set wrapped = null, erased_at = coalesce(k.erased_at, excluded.erased_at)
    returning xmax <> 0 into existed;
    delete from event_log.subject_vault v where v.tenant = of_tenant and v.subject = of_subject;
    return existed;
end
$$;

revoke all on function event_log.keep_in_vault from public;
grant execute on function event_log.keep_in_vault to opscenter_service;
grant select on event_log.subject_vault to opscenter_service;
