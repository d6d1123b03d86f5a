-- Usage in bulk: up to a thousand records of one source in one call, each counted once for ever.
--
-- The identity (organization, source, usage id) is checked under the append lock against
-- usage_identity; why it is kept there stands in docs/decisions/0002-usage-identity.md.

-- The number of a source, given when it is first seen. Called under the append lock only.
create function event_log.usage_source_number(of_tenant uuid, of_source text) returns integer
language plpgsql as $$
declare
    number integer;
begin
    select s.id into number from event_log.usage_source s
     where s.tenant = of_tenant and s.source = of_source;
    if not found then
        insert into event_log.usage_source (tenant, source) values (of_tenant, of_source)
            returning id into number;
    end if;
    return number;
end
$$;

-- Records what is new among `usage_ids` (each at most once in the list). `positions` says where
-- every record stands and `standing` with what content; `first` to `last` is what this batch
-- recorded, null when it recorded nothing. `outcome`: 0 recorded, 1 replayed, 5 command id reused,
-- 6 no room.
create function event_log.record_usage(
    of_tenant uuid, of_source text, command uuid, command_hash bytea,
    usage_ids text[], contents uuid[],
    types text[], schema_versions smallint[], event_ids uuid[], occurred timestamptz[],
    actors text[], causations uuid[], correlations uuid[], metas bytea[], payloads bytea[],
    meta_salts bytea[], payload_salts bytea[], subject_lists text[], event_hashes bytea[],
    out outcome smallint, out positions bigint[], out standing uuid[], out first bigint,
    out last bigint, out recorded_at timestamptz, out room bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    turn    record;
    receipt record;
    number  integer;
    places  integer[];     -- records that are new, in order of position
    ignored text;
begin
    select * into turn from event_log.take_turn();
    outcome := 0;
    room := turn.capacity;
    recorded_at := turn.recorded_at;
    number := event_log.usage_source_number(of_tenant, of_source);
    standing := contents;
    places := array(select generate_series(1, cardinality(usage_ids)));
    -- Each identity is looked up by itself ("offset 0" keeps the planner from turning it round):
    -- the cost is that of the batch, however many records the source has.
    if exists (select from generate_series(1, cardinality(usage_ids)) as u (i),
                      lateral (select from event_log.usage_identity k
                                where k.source_id = number and k.usage_id = usage_ids[u.i]
                               offset 0) as known) then
        select array_agg(k.position order by u.i),
               array_agg(coalesce(k.content, contents[u.i]) order by u.i),
               coalesce(array_agg(u.i order by u.i) filter (where k.position is null), '{}')
          into positions, standing, places
          from generate_series(1, cardinality(usage_ids)) as u (i)
          left join lateral (select k.position, k.content from event_log.usage_identity k
                              where k.source_id = number and k.usage_id = usage_ids[u.i]
                             offset 0) as k on true;
    end if;
    if command is not null then
        select * into receipt from event_log.command_receipt r where r.command_id = command;
        if found then
            outcome := case when receipt.content_hash = command_hash
                             and receipt.tenant = of_tenant then 1 else 5 end;
            if cardinality(receipt.event_ids) > 0 then
                first := receipt.first;
                last := receipt.last;
            end if;
            recorded_at := receipt.recorded_at;
            return;
        end if;
    end if;
    if turn.head + cardinality(places) > turn.capacity then
        outcome := 6;
        return;
    end if;
    if command is not null then
        insert into event_log.command_receipt
        select command, of_tenant, command_hash, turn.head + least(cardinality(places), 1),
               turn.head + cardinality(places), turn.recorded_at,
               array(select event_ids[p.e] from unnest(places) with ordinality as p (e, nth)
                      order by p.nth);
    end if;
    if cardinality(places) = 0 then
        return;
    end if;
    first := turn.head + 1;
    last := turn.head + cardinality(places);
    if positions is null then
        positions := array(select generate_series(first, last));
    else
        for nth in 1 .. cardinality(places) loop
            positions[places[nth]] := turn.head + nth;
        end loop;
    end if;
    insert into event_log.log
    select turn.head + p.nth, of_tenant, null, null, types[p.e], schema_versions[p.e],
           event_ids[p.e], turn.recorded_at, occurred[p.e], actors[p.e], causations[p.e],
           correlations[p.e], metas[p.e], payloads[p.e], meta_salts[p.e], payload_salts[p.e],
           coalesce(subject_lists[p.e]::uuid[], '{}'), event_hashes[p.e]
      from unnest(places) with ordinality as p (e, nth);
    insert into event_log.usage_identity
    select number, usage_ids[p.e], contents[p.e], turn.head + p.nth
      from unnest(places) with ordinality as p (e, nth);
    ignored := event_log.close_batch(turn.chain, first, turn.recorded_at, places, event_hashes);
end
$$;

create procedure event_log.append_usage(
    barrier text,
    of_tenant uuid, of_source text, command uuid, command_hash bytea,
    usage_ids text[], contents uuid[],
    types text[], schema_versions smallint[], event_ids uuid[], occurred timestamptz[],
    actors text[], causations uuid[], correlations uuid[], metas bytea[], payloads bytea[],
    meta_salts bytea[], payload_salts bytea[], subject_lists text[], event_hashes bytea[],
    inout outcome smallint, inout positions bigint[], inout standing uuid[], inout first bigint,
    inout last bigint, inout recorded_at timestamptz, inout room bigint)
language plpgsql as $$
declare
    ignored text;
begin
    -- Inside a caller's transaction this first commit fails at once, before any lock is taken.
    commit;
    ignored := event_log.set_commit(barrier);
    select * into outcome, positions, standing, first, last, recorded_at, room
      from event_log.record_usage(
        of_tenant, of_source, command, command_hash, usage_ids, contents, types, schema_versions,
        event_ids, occurred, actors, causations, correlations, metas, payloads, meta_salts,
        payload_salts, subject_lists, event_hashes);
    commit;
    if barrier <> 'none' then
        ignored := event_log.flush(barrier);
    end if;
end
$$;
