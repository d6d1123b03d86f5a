-- The Merkle tree over the log, behind its head, and the signed checkpoints of it.
--
-- Everything here is derived from the log: a program that has the log's rows makes the same tiles,
-- numbers and roots again. The service may write them through the functions below only, and each
-- of them only ever adds at the end. How it all is hashed stands in docs/log-format.md.

drop table event_log.tile; -- unused: it kept the place, and no program ever wrote or read it

create table event_log.tile (
    level     smallint not null,
    index     bigint   not null,
    nodes     bytea    not null,
    sequences bytea,
    primary key (level, index)
);
comment on table event_log.tile is
    'Full tiles of the Merkle tree: 256 hashes side by side. What fills no tile yet is in tree.';
comment on column event_log.tile.sequences is
    'Of level 0: the number of each of the 256 events within its organization, eight bytes each.';
-- Hashes do not compress; trying costs more than anything else about a tile.
alter table event_log.tile alter column nodes set storage external;
alter table event_log.tile alter column sequences set storage external;
call event_log.protect('event_log.tile');

create table event_log.tree (
    singleton boolean primary key default true check (singleton),
    size      bigint not null,
    edge      bytea  not null,
    sequences bytea  not null
) with (fillfactor = 20);
insert into event_log.tree (size, edge, sequences) values (0, '', '');
comment on table event_log.tree is
    'How far the tree has come, and the hashes and numbers that fill no tile yet.';

create table event_log.tenant_head (
    tenant uuid   primary key,
    count  bigint not null
) with (fillfactor = 70);
comment on table event_log.tenant_head is
    'How many events each organization has in the tree: its next one gets the next number.';

-- Which log this is; taken from the keys that signed first. Another log's keys sign nothing here.
create table event_log.log_identity (
    singleton boolean primary key default true check (singleton),
    id        uuid not null
);
comment on table event_log.log_identity is
    'The id of this log, as the keys have it that signed it first.';

create table event_log.cosignature (
    size      bigint      not null references event_log.checkpoint (size),
    witness   text collate "C" not null,
    line      text        not null,
    signed_at timestamptz not null,
    primary key (size, witness)
);
comment on table event_log.cosignature is
    'What witnesses signed: that they saw this checkpoint and everything it follows from.';
call event_log.protect('event_log.cosignature');

-- Lets the tree grow from one size to another; false when it has another size meanwhile, and
-- nothing was written then. Tiles are those that were filled, `counts` those that changed.
create function event_log.grow_tree(
    from_size bigint, to_size bigint, new_edge bytea, new_sequences bytea,
    levels smallint[], indexes bigint[], tile_nodes bytea[], tile_sequences bytea[],
    tenants uuid[], counts bigint[])
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update event_log.tree
       set size = to_size, edge = new_edge, sequences = new_sequences
     where size = from_size and to_size > from_size
       and to_size <= (select b.last from event_log.log_batch b order by b.first desc limit 1);
    if not found then
        return false;
    end if;
    insert into event_log.tile (level, index, nodes, sequences)
    select * from unnest(levels, indexes, tile_nodes, tile_sequences);
    insert into event_log.tenant_head as h (tenant, count)
    select * from unnest(tenants, counts)
        on conflict (tenant) do update set count = excluded.count;
    return true;
end
$$;

-- Keeps a signed checkpoint; false when there is one of this size or a larger one.
create function event_log.keep_checkpoint(
    of_size bigint, of_root bytea, signed_note text)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into event_log.checkpoint (size, root, recorded_at, note)
    select of_size, of_root, event_log.clock(), signed_note
     where not exists (select from event_log.checkpoint c where c.size >= of_size)
       and of_size <= (select t.size from event_log.tree t)
        on conflict do nothing;
    return found;
end
$$;

-- Keeps what a witness signed; a second signature of the same witness adds nothing.
create function event_log.keep_cosignature(
    of_size bigint, by_witness text, signed_line text, at timestamptz)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into event_log.cosignature (size, witness, line, signed_at)
    values (of_size, by_witness, signed_line, at) on conflict do nothing;
    return found;
end
$$;

-- Which log this is: what was said first counts.
create function event_log.identify(proposed uuid)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into event_log.log_identity (id) values (proposed) on conflict do nothing;
    return (select i.id from event_log.log_identity i);
end
$$;

revoke all on function event_log.grow_tree, event_log.keep_checkpoint, event_log.keep_cosignature,
    event_log.identify from public;
grant execute on function event_log.grow_tree, event_log.keep_checkpoint,
    event_log.keep_cosignature, event_log.identify to opscenter_service;
grant select on event_log.tile, event_log.tree, event_log.tenant_head, event_log.log_identity,
    event_log.cosignature to opscenter_service;
