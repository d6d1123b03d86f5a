-- The append: order is made under one short lock, the flush to disk happens outside it.
--
--   call event_log.append(…)            one round trip, two transactions:
--     1. event_log.record_commands(…)   lock, check, write; committed without waiting for the disk
--     2. event_log.flush(…)             a tiny durable commit whose flush covers the first
--
-- Advisory transaction locks are released after the commit is visible, so the next holder sees
-- everything before it, and commit records enter the write-ahead log in lock order: what survives
-- a crash is a prefix. A routine that is "security definer" may not commit, hence the split
-- between the procedures (rights of the caller) and the functions (rights of the owner).
--
-- A function that is assigned to `ignored` is evaluated by PL/pgSQL itself; "perform" would make a
-- query of it, which costs several times as much.

-- The clock of the log, in one place so that a test can turn it.
create function event_log.clock() returns timestamptz
language sql volatile as 'select clock_timestamp()';

create table event_log.pulse (
    slot  smallint primary key,
    beats bigint not null
) with (fillfactor = 20);
comment on table event_log.pulse is
    'Written to make a commit durable where logical messages are forbidden; means nothing.';
insert into event_log.pulse select slot, 0 from generate_series(0, 15) as slot;

create function event_log.beat() returns void
language sql security definer set search_path = pg_catalog, pg_temp as
    'update event_log.pulse set beats = beats + 1 where slot = pg_backend_pid() % 16';

-- Writes something small whose durable commit covers everything committed before it.
create function event_log.flush(barrier text) returns void
language plpgsql as $$
declare
    ignored text;
begin
    if current_setting('synchronous_commit') = 'off' then
        ignored := set_config('synchronous_commit', 'on', true);
    end if;
    if barrier = 'row' then
        perform event_log.beat();
    elsif current_setting('server_version_num')::integer >= 170000
          and current_setting('synchronous_standby_names') = '' then
        -- Flushes by itself and needs no transaction id; it does not wait for a standby.
        perform pg_logical_emit_message(false, 'event_log', '', true);
    else
        ignored := pg_logical_emit_message(true, 'event_log', '');
    end if;
end
$$;

-- How the first transaction commits: without waiting when a flush follows, durably otherwise.
create function event_log.set_commit(barrier text) returns void
language plpgsql as $$
declare
    ignored text;
begin
    -- The statement after the lock must see every earlier commit: only this level does.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'an append needs the isolation level read committed, not %',
                        current_setting('transaction_isolation')
            using errcode = 'invalid_transaction_state';
    end if;
    if barrier <> 'none' then
        ignored := set_config('synchronous_commit', 'off', true);
    elsif current_setting('synchronous_commit') = 'off' then
        ignored := set_config('synchronous_commit', 'on', true);
    end if;
end
$$;

-- Waits for the turn to append and says where the log ends. Two small numbers name the lock, so
-- that it meets no lock another feature takes by one big number.
create function event_log.take_turn(out head bigint, out chain bytea, out capacity bigint,
                                    out recorded_at timestamptz)
language plpgsql as $$
declare
    before  timestamptz;
    ignored text;
begin
    ignored := pg_advisory_xact_lock(1869640547, 1);
    select b.last, b.chain, b.recorded_at, p.last into head, chain, before, capacity
      from (select max(last) as last from event_log.log_partition) p
      left join lateral (select * from event_log.log_batch order by first desc limit 1) b on true;
    if head is null then
        head := 0;
        chain := decode(repeat('00', 32), 'hex');
        before := '-infinity';
    end if;
    capacity := coalesce(capacity, 0);
    recorded_at := greatest(event_log.clock(), before + interval '1 microsecond');
end
$$;

-- Closes a batch: the chain over the hashes of its events in order, one row, one wake-up call.
create function event_log.close_batch(previous bytea, first bigint, recorded_at timestamptz,
                                      places integer[], hashes bytea[])
returns void language plpgsql as $$
declare
    events  integer := cardinality(places);
    ignored text;
begin
    insert into event_log.log_batch (first, last, recorded_at, chain)
    select first, first + events - 1, recorded_at,
           sha256(previous || int8send(first) || int4send(events)
                  || int8send((extract(epoch from recorded_at) * 1000000)::bigint)
                  || string_agg(hashes[p.e], ''::bytea order by p.nth))
      from unnest(places) with ordinality as p (e, nth);
    ignored := pg_notify('event_log', (first + events - 1)::text);
end
$$;

-- The first event of `tenant` after a position that has one of these types (any, when null) and
-- all of these tags; null when there is none. Lists are joined by the unit separator.
create function event_log.first_match(of_tenant uuid, types text, tags text, after bigint)
returns bigint language plpgsql as $$
declare
    wanted   text[] := string_to_array(tags, chr(31));
    accepted text[] := string_to_array(types, chr(31));
begin
    return (select min(t.position) from event_log.tag t
             where t.tenant = of_tenant and t.tag = wanted[1] and t.position > after
               and (accepted is null or t.type = any (accepted))
               and not exists (
                   select from unnest(wanted[2:]) as other (name)
                    where not exists (
                        select from event_log.tag o
                         where o.tenant = of_tenant and o.tag = other.name
                           and o.position = t.position)));
end
$$;

-- What stands in the way of the first command of a batch besides versions: an event that must not
-- be there (outcome 3) or a claim that somebody else holds (outcome 4).
create function event_log.obstacle(
    of_tenant uuid, absence_types text[], absence_tags text[], absence_after bigint[],
    claim_scopes text[], claim_values bytea[], claim_holders text[],
    out outcome smallint, out detail text, out number bigint)
language plpgsql as $$
begin
    outcome := 0;
    for a in 1 .. cardinality(absence_tags) loop
        number := event_log.first_match(
            of_tenant, absence_types[a], absence_tags[a], absence_after[a]);
        if number is not null then
            outcome := 3;
            return;
        end if;
    end loop;
    select c.scope || chr(31) || c.holder into detail
      from unnest(claim_scopes, claim_values, claim_holders) with ordinality
           as u (scope, value_hash, holder, i)
      join event_log.claim c
        on c.tenant = of_tenant and c.scope = u.scope and c.value_hash = u.value_hash
     where c.holder <> u.holder
     order by u.i limit 1;
    if found then
        outcome := 4;
    end if;
end
$$;

-- Records commands one after the other, each against what those before it left, and gives each its
-- outcome: 0 recorded, 1 replayed, 2 conflict, 3 condition failed, 4 claim taken, 5 command id
-- reused, 6 no room. A command that is refused writes nothing and takes no position.
--
-- The loop decides in memory, on the stream heads read once; everything is then written by one
-- statement a table. For that the caller sees to it that command ids differ within a batch and
-- that only its first command has conditions on tags or claims. Lists are flat and in command
-- order; `version_of` names the command, `version_streams` and `streams` an entry of
-- `stream_names` (none: null).
create function event_log.record_commands(
    command_ids uuid[], command_tenants uuid[], command_hashes bytea[], event_counts integer[],
    stream_names text[], version_of integer[], version_streams integer[], versions bigint[],
    absence_types text[], absence_tags text[], absence_after bigint[],
    claim_takes boolean[], claim_scopes text[], claim_values bytea[], claim_holders text[],
    tenants uuid[], streams integer[], types text[], schema_versions smallint[], event_ids uuid[],
    occurred timestamptz[], actors text[], causations uuid[], correlations uuid[], metas bytea[],
    payloads bytea[], meta_salts bytea[], payload_salts bytea[], subject_lists text[],
    event_hashes bytea[], tag_lists text[],
    out outcomes smallint[], out firsts bigint[], out lasts bigint[], out times timestamptz[],
    out details text[], out numbers bigint[], out room bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    turn     record;
    receipt  record;
    bar      record;
    repeats  boolean;
    heads    bigint[];        -- version of each stream, as the batch goes on
    ends     bigint[];        -- position of the last event this batch gave each stream
    places   integer[] := '{}';   -- events that are recorded, in order of position
    place_versions bigint[] := '{}';
    winners  integer[] := '{}';   -- commands that take effect
    offsets  integer[] := '{}';   -- where the events of each begin
    tail     bigint;
    outcome  smallint;
    s        integer;
    e        integer := 0;
    v        integer := 1;
    ignored  text;
begin
    select * into turn from event_log.take_turn();
    tail := turn.head;
    room := turn.capacity;
    firsts := array_fill(null::bigint, array[cardinality(command_ids)]);
    lasts := firsts;
    numbers := firsts;
    outcomes := firsts::smallint[];
    times := array_fill(null::timestamptz, array[cardinality(command_ids)]);
    details := firsts::text[];
    ends := array_fill(null::bigint, array[cardinality(stream_names)]);
    select exists (select from event_log.command_receipt r where r.command_id = any (command_ids)),
           array(select coalesce((select h.version from event_log.stream_head h
                                   where h.stream = u.stream), 0)
                   from unnest(stream_names) as u (stream))
      into repeats, heads;
    if repeats then
        for receipt in select r.* from event_log.command_receipt r
                        where r.command_id = any (command_ids) loop
            s := array_position(command_ids, receipt.command_id);
            outcomes[s] := 5;
            if receipt.content_hash = command_hashes[s] and receipt.tenant = command_tenants[s] then
                outcomes[s] := 1;
                firsts[s] := receipt.first;
                lasts[s] := receipt.last;
                times[s] := receipt.recorded_at;
                details[s] := receipt.event_ids::text;
            end if;
        end loop;
    end if;
    for c in 1 .. cardinality(command_ids) loop
        outcome := coalesce(outcomes[c], 0);
        while version_of[v] = c loop
            s := version_streams[v];
            if outcome = 0 and heads[s] <> versions[v] then
                outcome := 2;
                details[c] := stream_names[s];
                firsts[c] := versions[v];
                numbers[c] := heads[s];
            end if;
            v := v + 1;
        end loop;
        if c = 1 and outcome = 0 and cardinality(absence_tags) + cardinality(claim_scopes) > 0 then
            select * into bar
              from event_log.obstacle(command_tenants[c], absence_types, absence_tags,
                       absence_after, claim_scopes, claim_values, claim_holders);
            outcome := bar.outcome;
            details[c] := bar.detail;
            numbers[c] := bar.number;
        end if;
        if outcome = 0 and tail + event_counts[c] > room then
            outcome := 6;
            numbers[c] := room;
        end if;
        outcomes[c] := outcome;
        if outcome = 0 then
            firsts[c] := tail + least(event_counts[c], 1);
            winners := array_append(winners, c);
            offsets := array_append(offsets, e);
            for i in e + 1 .. e + event_counts[c] loop
                tail := tail + 1;
                places := array_append(places, i);
                s := streams[i];
                if s is null then
                    place_versions := array_append(place_versions, null);
                else
                    heads[s] := heads[s] + 1;
                    ends[s] := tail;
                    place_versions := array_append(place_versions, heads[s]);
                end if;
            end loop;
            lasts[c] := tail;
            times[c] := turn.recorded_at;
        end if;
        e := e + event_counts[c];
    end loop;
    if outcomes[1] = 0 and cardinality(claim_scopes) > 0 then
        perform event_log.change_claims(command_tenants[1], command_ids[1], claim_takes,
                                        claim_scopes, claim_values, claim_holders);
    end if;
    if cardinality(winners) > 0 then
        insert into event_log.command_receipt
        select command_ids[w.c], command_tenants[w.c], command_hashes[w.c], firsts[w.c],
               lasts[w.c], turn.recorded_at,
               case event_counts[w.c] when 1 then array[event_ids[w.e + 1]]
                    else event_ids[w.e + 1 : w.e + event_counts[w.c]] end
          from unnest(winners, offsets) as w (c, e);
    end if;
    if tail = turn.head then
        return;
    end if;
    insert into event_log.log
    select turn.head + p.nth, tenants[p.e], stream_names[streams[p.e]], p.version, types[p.e],
           schema_versions[p.e], event_ids[p.e], turn.recorded_at, occurred[p.e], actors[p.e],
           causations[p.e], correlations[p.e], metas[p.e], payloads[p.e], meta_salts[p.e],
           payload_salts[p.e], coalesce(subject_lists[p.e]::uuid[], '{}'), event_hashes[p.e]
      from unnest(places, place_versions) with ordinality as p (e, version, nth);
    if cardinality(ends) > 0 then
        insert into event_log.stream_head
        select stream_names[u.s], heads[u.s], u.position
          from unnest(ends) with ordinality as u (position, s)
         where u.position is not null
            on conflict (stream) do update
           set version = excluded.version, position = excluded.position;
    end if;
    if cardinality(tag_lists) > 0 then
        insert into event_log.tag
        select distinct tenants[p.e], t.tag, turn.head + p.nth, types[p.e]
          from unnest(places) with ordinality as p (e, nth),
               unnest(string_to_array(tag_lists[p.e], chr(31))) as t (tag);
    end if;
    ignored := event_log.close_batch(turn.chain, turn.head + 1, turn.recorded_at, places,
                                  event_hashes);
end
$$;

create function event_log.change_claims(of_tenant uuid, by_command uuid, takes boolean[],
                                        scopes text[], hashes bytea[], holders text[])
returns void language plpgsql as $$
begin
    delete from event_log.claim c
     using unnest(takes, scopes, hashes) as u (take, scope, value_hash)
     where not u.take and c.tenant = of_tenant and c.scope = u.scope
       and c.value_hash = u.value_hash;
    -- Whoever holds it already keeps it: taking twice is taking once.
    insert into event_log.claim
    select of_tenant, u.scope, u.value_hash, u.holder, by_command
      from unnest(takes, scopes, hashes, holders) as u (take, scope, value_hash, holder)
     where u.take
        on conflict do nothing;
end
$$;

create procedure event_log.append(
    barrier text,
    command_ids uuid[], command_tenants uuid[], command_hashes bytea[], event_counts integer[],
    stream_names text[], version_of integer[], version_streams integer[], versions bigint[],
    absence_types text[], absence_tags text[], absence_after bigint[],
    claim_takes boolean[], claim_scopes text[], claim_values bytea[], claim_holders text[],
    tenants uuid[], streams integer[], types text[], schema_versions smallint[], event_ids uuid[],
    occurred timestamptz[], actors text[], causations uuid[], correlations uuid[], metas bytea[],
    payloads bytea[], meta_salts bytea[], payload_salts bytea[], subject_lists text[],
    event_hashes bytea[], tag_lists text[],
    inout outcomes smallint[], inout firsts bigint[], inout lasts bigint[],
    inout times timestamptz[], inout details text[], inout numbers bigint[], inout room bigint)
language plpgsql as $$
declare
    ignored text;
begin
    -- Inside a caller's transaction this first commit fails at once, before any lock is taken.
    commit;
    ignored := event_log.set_commit(barrier);
    select * into outcomes, firsts, lasts, times, details, numbers, room
      from event_log.record_commands(
        command_ids, command_tenants, command_hashes, event_counts, stream_names, version_of,
        version_streams, versions, absence_types, absence_tags, absence_after, claim_takes,
        claim_scopes, claim_values, claim_holders, tenants, streams, types, schema_versions,
        event_ids, occurred, actors, causations, correlations, metas, payloads, meta_salts,
        payload_salts, subject_lists, event_hashes, tag_lists);
    commit;
    if barrier <> 'none' then
        ignored := event_log.flush(barrier);
    end if;
end
$$;
