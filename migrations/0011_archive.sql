-- Sealing full partitions, and letting their bodies go to an archive outside the database.
--
-- An archived partition keeps the headers and hashes of its events: positions, streams, ids, and
-- the commitments of the bodies that lie in a bundle. So lookups, order, the tree and every proof
-- go on as before, and a body that comes back from a bundle is compared with what the table commits
-- to. Only the owner does this; the service reads which bundle holds what
-- (docs/decisions/0029-partitions-let-their-bodies-go.md).

create table event_log.archive (
    number      integer primary key references event_log.log_partition (number),
    sealed_at   timestamptz not null default clock_timestamp(),
    file        text collate "C",
    bytes       bigint,
    digest      bytea,
    proved_by   bigint,
    written_at  timestamptz,
    archived_at timestamptz
);
comment on table event_log.archive is 'Which partitions are sealed, and which bundles hold them.';
comment on column event_log.archive.file is 'The bundle''s name in the folder of archives.';
comment on column event_log.archive.digest is 'SHA-256 of the bundle when it was re-read.';
comment on column event_log.archive.proved_by is 'The size of the checkpoint in the bundle.';
comment on column event_log.archive.archived_at is
    'Since when the bodies are in the bundle only; null while they are in the table.';

-- Bodies that the database itself reads or may have to purge stay in the table.
create function event_log.stays(stream text, type text)
returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(stays.stream like 'retention/%', false)
        or exists (select from event_log.purgeable p where p.type = stays.type)
$$;

-- How often anything about retention was recorded: a purge in between is seen by it.
create function event_log.retention_version() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(sum(h.version), 0)::bigint from event_log.stream_head h
     where h.stream >= 'retention/' and h.stream < 'retention0'
$$;

-- Seals a partition: it is full, nothing is missing, and a signed checkpoint covers it.
create function event_log.seal_partition(of_number integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    part  event_log.log_partition;
    found_ bigint;
begin
    select * into part from event_log.log_partition p where p.number = of_number;
    if not found then
        raise exception 'there is no partition %', of_number using errcode = 'no_data_found';
    end if;
    if part.last > coalesce((select max(c.size) from event_log.checkpoint c), 0) then
        raise exception 'partition % is not full, or not signed to its end', of_number
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    select count(*) into found_ from event_log.log l
     where l.position between part.first and part.last;
    if found_ <> part.last - part.first + 1 then
        raise exception 'partition % has % of % events',
            of_number, found_, part.last - part.first + 1 using errcode = 'data_corrupted';
    end if;
    insert into event_log.archive (number) values (of_number) on conflict do nothing;
end
$$;

-- The name of the table that holds a partition, or that will: with its bodies, or without.
create function event_log.partition_table(of_number integer, is_slim boolean) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select format(case when is_slim then 'log_a%s' else 'log_p%s' end,
                  lpad(of_number::text, 5, '0'))
$$;

-- Makes the other form of a partition as a table of its own: without bodies from the one with, or
-- with bodies from the one without and the rows of `pg_temp.archived_body`.
create function event_log.draft_partition(of_number integer, is_slim boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    part   event_log.log_partition;
    draft  text := event_log.partition_table(of_number, is_slim);
    made   bigint;
    gone   bigint;
begin
    select * into strict part from event_log.log_partition p where p.number = of_number;
    execute format('drop table if exists event_log.%I', draft); -- unused: a draft that was given up
    execute format('create table event_log.%I (like event_log.log including all)', draft);
    if is_slim then
        execute format(
            'insert into event_log.%I (position, tenant, stream, stream_version, type,
                 schema_version, event_id, recorded_at, occurred_at, actor, causation, correlation,
                 subjects, event_hash, meta, payload, meta_salt, payload_salt, meta_commit,
                 payload_commit)
             select l.position, l.tenant, l.stream, l.stream_version, l.type, l.schema_version,
                    l.event_id, l.recorded_at, l.occurred_at, l.actor, l.causation, l.correlation,
                    l.subjects, l.event_hash,
                    case when k.stays then l.meta else '''' end,
                    case when k.stays then l.payload else '''' end,
                    case when k.stays then l.meta_salt else '''' end,
                    case when k.stays then l.payload_salt else '''' end,
                    case when k.stays or l.meta_commit is not null then l.meta_commit
                         else sha256(''\x03''::bytea || l.meta_salt || l.meta) end,
                    case when k.stays or l.payload_commit is not null then l.payload_commit
                         else sha256(''\x02''::bytea || l.payload_salt || l.payload) end
               from event_log.log l,
                    lateral (select event_log.stays(l.stream, l.type) as stays) k
              where l.position between $1 and $2 order by l.position', draft)
            using part.first, part.last;
    else
        -- A body comes back only if it is the one that the table commits to.
        execute format(
            'insert into event_log.%I (position, tenant, stream, stream_version, type,
                 schema_version, event_id, recorded_at, occurred_at, actor, causation, correlation,
                 subjects, event_hash, meta, payload, meta_salt, payload_salt, meta_commit,
                 payload_commit)
             select l.position, l.tenant, l.stream, l.stream_version, l.type, l.schema_version,
                    l.event_id, l.recorded_at, l.occurred_at, l.actor, l.causation, l.correlation,
                    l.subjects, l.event_hash,
                    coalesce(b.meta, l.meta), coalesce(b.payload, l.payload),
                    coalesce(b.meta_salt, l.meta_salt), coalesce(b.payload_salt, l.payload_salt),
                    case when b.position is null then l.meta_commit end,
                    case when b.position is null then l.payload_commit end
               from event_log.log l
               left join pg_temp.archived_body b on b.position = l.position
                and l.payload_commit = sha256(''\x02''::bytea || b.payload_salt || b.payload)
                and l.meta_commit = sha256(''\x03''::bytea || b.meta_salt || b.meta)
              where l.position between $1 and $2 order by l.position', draft)
            using part.first, part.last;
    end if;
    get diagnostics made = row_count;
    if not is_slim then
        execute format(
            'select min(position) from event_log.%I l where l.payload_commit is not null
                and not exists (select from event_log.purgeable p where p.type = l.type)', draft)
           into gone;
        if gone is not null then
            raise exception 'no body came back for position %', gone
                using errcode = 'data_corrupted';
        end if;
    end if;
    if made <> part.last - part.first + 1 then
        raise exception 'partition % has % events here', of_number, made
            using errcode = 'data_corrupted';
    end if;
    execute format(
        'alter table event_log.%I add constraint bounds check (position >= %s and position <= %s)',
        draft, part.first, part.last);
    execute format(
        'create unique index %I on event_log.%I (stream, stream_version) where stream is not null',
        draft || '_stream', draft);
    execute format(
        'create index %I on event_log.%I (event_id) where stream is not null',
        draft || '_event', draft);
    execute format(
        'create index %I on event_log.%I using brin (event_id) with (pages_per_range = 16)',
        draft || '_event_range', draft);
    execute format('call event_log.protect(%L)', 'event_log.' || draft);
    execute format('grant select on event_log.%I to opscenter_service', draft);
end
$$;

-- Puts a draft in the place of a partition, in one step for every reader. `expected` is the
-- retention version from before the draft was made: a purge in between would be lost with it.
create function event_log.exchange_partition(of_number integer, is_slim boolean, expected bigint)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    part  event_log.log_partition;
    draft text := event_log.partition_table(of_number, is_slim);
    old   text := event_log.partition_table(of_number, not is_slim);
begin
    select * into strict part from event_log.log_partition p where p.number = of_number;
    -- In the order of the append: nothing is recorded while it goes on, for an instant.
    perform pg_advisory_xact_lock(1869640547, 3);
    lock table event_log.log in access exclusive mode;
    if event_log.retention_version() <> expected then
        raise exception 'something was decided about retention meanwhile; try again'
            using errcode = 'serialization_failure';
    end if;
    execute format('alter table event_log.log detach partition event_log.%I', old);
    execute format(
        'alter table event_log.log attach partition event_log.%I for values from (%s) to (%s)',
        draft, part.first, part.last + 1);
    execute format('alter table event_log.%I drop constraint bounds', draft);
    execute format('drop table event_log.%I', old); -- unused: the draft stands in its place
    update event_log.archive a
       set archived_at = case when is_slim then clock_timestamp() end
     where a.number = of_number;
end
$$;

revoke all on function event_log.stays, event_log.retention_version, event_log.seal_partition,
    event_log.partition_table, event_log.draft_partition, event_log.exchange_partition from public;
grant select on event_log.archive to opscenter_service;
