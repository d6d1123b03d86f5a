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
begin
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if barrier = 'row' then
        perform event_log.beat();
    elsif current_setting('server_version_num')::integer >= 170000
          and current_setting('synchronous_standby_names') = '' then
        -- Flushes by itself and needs no transaction id; it does not wait for a standby.
        perform pg_logical_emit_message(false, 'event_log', '', true);
    else
        perform pg_logical_emit_message(true, 'event_log', '');
    end if;
end
$$;

-- How the first transaction commits: without waiting when a flush follows, durably otherwise.
create function event_log.set_commit(barrier text) returns void
language plpgsql as $$
begin
    -- The statement after the lock must see every earlier commit: only this level does.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'an append needs the isolation level read committed, not %',
                        current_setting('transaction_isolation')
            using errcode = 'invalid_transaction_state';
    end if;
    if barrier <> 'none' then
        perform set_config('synchronous_commit', 'off', true);
    elsif current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
end
$$;

-- Waits for the turn to append and says where the log ends. Two small numbers name the lock, so
-- that it meets no lock another feature takes by one big number.
create function event_log.take_turn(out head bigint, out chain bytea, out capacity bigint,
                                    out recorded_at timestamptz)
language plpgsql as $$
declare
    before timestamptz;
begin
    perform pg_advisory_xact_lock(1869640547, 1);
    select b.last, b.chain, b.recorded_at into head, chain, before
      from event_log.log_batch b order by b.first desc limit 1;
    if not found then
        head := 0;
        chain := decode(repeat('00', 32), 'hex');
        before := '-infinity';
    end if;
    select coalesce(max(p.last), 0) into capacity from event_log.log_partition p;
    recorded_at := greatest(event_log.clock(), before + interval '1 microsecond');
end
$$;

-- Closes a batch: the chain over its events in order, one row, one wake-up call.
create function event_log.close_batch(previous bytea, first bigint, recorded_at timestamptz,
                                      hashes bytea[])
returns void language plpgsql as $$
declare
    events integer := cardinality(hashes);
    joined bytea;
begin
    select string_agg(h, ''::bytea order by i) into joined
      from unnest(hashes) with ordinality as u (h, i);
    insert into event_log.log_batch (first, last, recorded_at, chain)
    values (first, first + events - 1, recorded_at,
            sha256(previous || int8send(first) || int4send(events)
                   || int8send((extract(epoch from recorded_at) * 1000000)::bigint) || joined));
    perform pg_notify('event_log', (first + events - 1)::text);
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

-- Records commands one after the other, each against what those before it left, and gives each its
-- outcome: 0 recorded, 1 replayed, 2 conflict, 3 condition failed, 4 claim taken, 5 command id
-- reused, 6 no room. A command that is refused writes nothing and takes no position.
-- Conditions, claims and events come as flat lists in command order; `…_of` names the command.
create function event_log.record_commands(
    command_ids uuid[], command_tenants uuid[], command_hashes bytea[], event_counts integer[],
    version_of integer[], version_streams text[], versions bigint[],
    absence_of integer[], absence_types text[], absence_tags text[], absence_after bigint[],
    claim_of integer[], claim_takes boolean[], claim_scopes text[], claim_values bytea[],
    claim_holders text[],
    tenants uuid[], streams text[], types text[], schema_versions smallint[], event_ids uuid[],
    occurred timestamptz[], actors text[], causations uuid[], correlations uuid[], metas bytea[],
    payloads bytea[], meta_salts bytea[], payload_salts bytea[], subject_lists text[],
    event_hashes bytea[], tag_lists text[],
    out outcomes smallint[], out firsts bigint[], out lasts bigint[], out times timestamptz[],
    out details text[], out numbers bigint[], out room bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    turn    record;
    receipt record;
    hashes  bytea[] := '{}';
    ids     uuid[];
    tail    bigint;          -- the last position taken so far
    version bigint;
    held    text;
    outcome smallint;
    e integer := 0;          -- events, conditions and claims already dealt with
    v integer := 1;
    a integer := 1;
    k integer := 1;
    taken   integer;
begin
    select * into turn from event_log.take_turn();
    tail := turn.head;
    room := turn.capacity;
    for c in 1 .. cardinality(command_ids) loop
        outcome := 0;
        taken := k;
        select * into receipt from event_log.command_receipt r where r.command_id = command_ids[c];
        if found then
            outcome := 5;
            if receipt.content_hash = command_hashes[c] and receipt.tenant = command_tenants[c] then
                outcome := 1;
                firsts[c] := receipt.first;
                lasts[c] := receipt.last;
                times[c] := receipt.recorded_at;
                details[c] := receipt.event_ids::text;
            end if;
        end if;
        while version_of[v] = c loop
            if outcome = 0 then
                select h.version into version from event_log.stream_head h
                 where h.stream = version_streams[v];
                version := coalesce(version, 0);
                if version <> versions[v] then
                    outcome := 2;
                    details[c] := version_streams[v];
                    firsts[c] := versions[v];
                    numbers[c] := version;
                end if;
            end if;
            v := v + 1;
        end loop;
        while absence_of[a] = c loop
            if outcome = 0 then
                numbers[c] := event_log.first_match(
                    command_tenants[c], absence_types[a], absence_tags[a], absence_after[a]);
                if numbers[c] is not null then
                    outcome := 3;
                end if;
            end if;
            a := a + 1;
        end loop;
        while claim_of[k] = c loop
            if outcome = 0 then
                select t.holder into held from event_log.claim t
                 where t.tenant = command_tenants[c] and t.scope = claim_scopes[k]
                   and t.value_hash = claim_values[k];
                if found and held <> claim_holders[k] then
                    outcome := 4;
                    details[c] := claim_scopes[k] || chr(31) || held;
                end if;
            end if;
            k := k + 1;
        end loop;
        if outcome = 0 and tail + event_counts[c] > turn.capacity then
            outcome := 6;
            numbers[c] := turn.capacity;
        end if;
        outcomes[c] := outcome;
        if outcome <> 0 then
            e := e + event_counts[c];
            continue;
        end if;
        perform event_log.change_claims(command_tenants[c], command_ids[c], claim_takes[taken:k - 1],
            claim_scopes[taken:k - 1], claim_values[taken:k - 1], claim_holders[taken:k - 1])
          where taken < k;
        firsts[c] := case when event_counts[c] = 0 then tail else tail + 1 end;
        ids := '{}';
        for i in e + 1 .. e + event_counts[c] loop
            tail := tail + 1;
            version := null;
            if streams[i] is not null then
                insert into event_log.stream_head as h values (streams[i], 1, tail)
                    on conflict (stream) do update
                    set version = h.version + 1, position = excluded.position
                    returning h.version into version;
            end if;
            insert into event_log.log values (
                tail, tenants[i], streams[i], version, types[i], schema_versions[i], event_ids[i],
                turn.recorded_at, occurred[i], actors[i], causations[i], correlations[i], metas[i],
                payloads[i], meta_salts[i], payload_salts[i],
                coalesce(subject_lists[i]::uuid[], '{}'), event_hashes[i]);
            if tag_lists[i] is not null then
                insert into event_log.tag
                select distinct tenants[i], t, tail, types[i]
                  from unnest(string_to_array(tag_lists[i], chr(31))) as t;
            end if;
            ids := ids || event_ids[i];
            hashes := array_append(hashes, event_hashes[i]);
        end loop;
        e := e + event_counts[c];
        lasts[c] := tail;
        times[c] := turn.recorded_at;
        insert into event_log.command_receipt values (
            command_ids[c], command_tenants[c], command_hashes[c], firsts[c], tail,
            turn.recorded_at, ids);
    end loop;
    if tail > turn.head then
        perform event_log.close_batch(turn.chain, turn.head + 1, turn.recorded_at, hashes);
    end if;
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
    version_of integer[], version_streams text[], versions bigint[],
    absence_of integer[], absence_types text[], absence_tags text[], absence_after bigint[],
    claim_of integer[], claim_takes boolean[], claim_scopes text[], claim_values bytea[],
    claim_holders text[],
    tenants uuid[], streams text[], types text[], schema_versions smallint[], event_ids uuid[],
    occurred timestamptz[], actors text[], causations uuid[], correlations uuid[], metas bytea[],
    payloads bytea[], meta_salts bytea[], payload_salts bytea[], subject_lists text[],
    event_hashes bytea[], tag_lists text[],
    inout outcomes smallint[], inout firsts bigint[], inout lasts bigint[],
    inout times timestamptz[], inout details text[], inout numbers bigint[], inout room bigint)
language plpgsql as $$
begin
    -- Inside a caller's transaction this first commit fails at once, before any lock is taken.
    commit;
    perform event_log.set_commit(barrier);
    select * into outcomes, firsts, lasts, times, details, numbers, room
      from event_log.record_commands(
        command_ids, command_tenants, command_hashes, event_counts, version_of, version_streams,
        versions, absence_of, absence_types, absence_tags, absence_after, claim_of, claim_takes,
        claim_scopes, claim_values, claim_holders, tenants, streams, types, schema_versions,
        event_ids, occurred, actors, causations, correlations, metas, payloads, meta_salts,
        payload_salts, subject_lists, event_hashes, tag_lists);
    commit;
    if barrier <> 'none' then
        perform event_log.flush(barrier);
    end if;
end
$$;
