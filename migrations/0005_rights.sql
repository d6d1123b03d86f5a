-- What the service may do: read everything, write history through the append only, and keep its
-- own bookkeeping (checkpoints, timers, snapshots, keys).

-- Keeps a person's key, unless there is one already or the person was erased: answers what holds.
create function event_log.keep_subject_key(of_tenant uuid, of_subject uuid, proposed bytea)
returns bytea language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into event_log.subject_key (tenant, subject, wrapped)
    values (of_tenant, of_subject, proposed) on conflict do nothing;
    return (select k.wrapped from event_log.subject_key k
             where k.tenant = of_tenant and k.subject = of_subject);
end
$$;

-- Destroys a person's key for good. The row stays, so that no new key can take its place.
create function event_log.erase_subject_key(of_tenant uuid, of_subject uuid)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    existed boolean;
begin
    insert into event_log.subject_key as k (tenant, subject, wrapped, erased_at)
    values (of_tenant, of_subject, null, clock_timestamp())
    on conflict (tenant, subject) do update
       set wrapped = null, erased_at = coalesce(k.erased_at, excluded.erased_at)
    returning xmax <> 0 into existed;
    return existed;
end
$$;

revoke all on all routines in schema event_log from public;
grant usage on schema event_log to opscenter_service;
grant select on all tables in schema event_log to opscenter_service;
grant insert, update, delete on event_log.consumer, event_log.timer, event_log.snapshot
    to opscenter_service;
grant execute on procedure event_log.append, event_log.append_usage to opscenter_service;
grant execute on function
    event_log.set_commit, event_log.record_commands, event_log.record_usage, event_log.flush,
    event_log.beat, event_log.keep_partitions_ahead, event_log.keep_subject_key,
    event_log.erase_subject_key, event_log.readable
    to opscenter_service;
