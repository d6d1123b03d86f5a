-- A command that is alone. While nobody waits behind it, nothing is gained by giving the lock back
-- before the disk has it: one call of one function records it and commits durably, one transaction
-- in place of three and single rows in place of lists (docs/decisions/0025).
--
-- Null says that this is not the way: the log is empty, or the session is not set up for it. An
-- error says that something else stands in the way: the command was seen before, a version is
-- another one, a partition is missing. Nothing was written then; event_log.append tells what it is.

-- Streams are named once: `expected` is the version each must have, `stream_ends` the number of
-- its last event among those of the command (0: relied on only), `streams` the stream of each
-- event (none: null). `tip` is the first position of what may be the last batch: most often it is,
-- and otherwise it is looked up. The answer: first and last position, and the microseconds since
-- 1970 at which they were recorded.
--
-- The rights are the owner's, and giving the function a search path of its own would cost a sixth
-- of it. So the session has to have that path, the first thing done here refuses every other, in
-- names that mean the same under any, and no type is named without its schema.
create function event_log.append_alone(
    tip bigint, command uuid, of_tenant uuid, command_hash bytea,
    stream_names text[], expected bigint[], stream_ends integer[],
    tenants uuid[], streams integer[], types text[], schema_versions smallint[], event_ids uuid[],
    occurred timestamptz[], actors text[], causations uuid[], correlations uuid[], metas bytea[],
    payloads bytea[], meta_salts bytea[], payload_salts bytea[], subject_lists text[],
    event_hashes bytea[])
returns bigint[]
language plpgsql security definer as $$
declare
    ignored  pg_catalog.text;
    events   integer;
    began    timestamp with time zone;
    moment   timestamp with time zone;
    previous bigint := tip;
    before   bigint;       -- position of the last event before these
    heads    bigint[] := expected;
begin
    if pg_catalog.current_setting('search_path') operator(pg_catalog.<>) 'pg_catalog,pg_temp'
       or pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.<>)
          'read committed' then
        return null;
    end if;
    if current_setting('synchronous_commit') = 'off' then
        ignored := set_config('synchronous_commit', 'on', true);
    end if;
    ignored := pg_advisory_xact_lock(1869640547, 1);
    began := event_log.clock();
    events := cardinality(types);
    -- Closes the batch first: that it follows the one before shows where the log ends.
    for attempt in 1 .. 2 loop
        insert into event_log.log_batch as made (first, last, recorded_at, chain)
        select b.last + 1, b.last + events, b.next,
               sha256(b.chain || int8send(b.last + 1) || int4send(events)
                      || int8send((extract(epoch from b.next) * 1000000)::bigint)
                      || case events when 1 then event_hashes[1]
                              else (select string_agg(u.hash, ''::bytea order by u.e)
                                      from unnest(event_hashes) with ordinality as u (hash, e)) end)
          from (select last, chain,
                       greatest(began, recorded_at + interval '1 microsecond') as next
                  from event_log.log_batch
                 where first = previous) b
            on conflict (first) do nothing
        returning made.first - 1, made.recorded_at into before, moment;
        exit when found;
        previous := (select b.first from event_log.log_batch b order by b.first desc limit 1);
    end loop;
    if before is null then
        return null;
    end if;
    insert into event_log.command_receipt
    values (command, of_tenant, command_hash, before + 1, before + events, moment, event_ids);
    for e in 1 .. events loop
        if streams[e] is not null then
            heads[streams[e]] := heads[streams[e]] + 1;
        end if;
        insert into event_log.log
        values (before + e, tenants[e], stream_names[streams[e]], heads[streams[e]], types[e],
                schema_versions[e], event_ids[e], moment, occurred[e], actors[e], causations[e],
                correlations[e], metas[e], payloads[e], meta_salts[e], payload_salts[e],
                coalesce(subject_lists[e]::uuid[], '{}'), event_hashes[e]);
    end loop;
    for s in 1 .. cardinality(stream_names) loop
        if stream_ends[s] = 0 then
            perform from event_log.stream_head h
              where h.stream = stream_names[s] and h.version = expected[s];
        elsif expected[s] = 0 then
            insert into event_log.stream_head
            values (stream_names[s], heads[s], before + stream_ends[s])
                on conflict (stream) do nothing;
        else
            update event_log.stream_head h
               set version = heads[s], position = before + stream_ends[s]
             where h.stream = stream_names[s] and h.version = expected[s];
        end if;
        if not found then
            raise exception '% is not at version % any more', stream_names[s], expected[s]
                using errcode = 'serialization_failure';
        end if;
    end loop;
    ignored := pg_notify('event_log', (before + events)::text);
    return array[before + 1, before + events, (extract(epoch from moment) * 1000000)::bigint];
end
$$;

revoke all on function event_log.append_alone from public;
grant execute on function event_log.append_alone to opscenter_service;
