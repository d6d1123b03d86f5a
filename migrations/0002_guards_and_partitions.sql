-- Guards of the log, its partitions, and what people look at.

-- History is never changed, by any role: the rights forbid it and this says so again, also to the
-- owner. A superuser who switches it off is found by whoever recomputes the chain.
create function event_log.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception '% on event_log.% is refused: history is never changed', tg_op, tg_table_name
        using errcode = 'insufficient_privilege',
              hint = 'append an event that says what is true now';
end
$$;

create procedure event_log.protect(target regclass)
language plpgsql as $$
begin
    execute format(
        'create trigger history_is_never_changed before update or delete or truncate on %s
             for each statement execute function event_log.refuse_change()', target);
end
$$;

call event_log.protect('event_log.log');
call event_log.protect('event_log.log_batch');
call event_log.protect('event_log.tag');
call event_log.protect('event_log.command_receipt');
call event_log.protect('event_log.usage_source');
call event_log.protect('event_log.usage_identity');
call event_log.protect('event_log.tile');
call event_log.protect('event_log.checkpoint');

create table event_log.log_partition (
    number integer primary key,
    first  bigint not null unique,
    last   bigint not null unique
);
comment on table event_log.log_partition is
    'Which positions have a place to go. An append beyond the last of them is refused.';

-- Makes the next partition. Built apart and attached: attaching takes a lock that waits for no
-- reader, where "create table … partition of" would queue every append behind a long one.
create function event_log.create_partition() returns bigint
language plpgsql as $$
declare
    rows  bigint := (select value from event_log.setting where name = 'partition_rows');
    next  integer := (select coalesce(max(number) + 1, 0) from event_log.log_partition);
    first bigint := next * rows + 1;
    last  bigint := (next + 1) * rows;
    part  text := format('log_p%s', lpad(next::text, 5, '0'));
begin
    execute format('create table event_log.%I (like event_log.log including all)', part);
    execute format(
        'alter table event_log.%I add constraint bounds check (position >= %s and position <= %s)',
        part, first, last);
    execute format(
        'create unique index %I on event_log.%I (stream, stream_version) where stream is not null',
        part || '_stream', part);
    execute format(
        'create index %I on event_log.%I (event_id) where stream is not null',
        part || '_event', part);
    -- Ids carry their time, so a summary of each stretch finds one among bulk usage at almost no
    -- cost to the append.
    execute format(
        'create index %I on event_log.%I using brin (event_id) with (pages_per_range = 16,
             autosummarize = on)', part || '_event_range', part);
    execute format('call event_log.protect(%L)', 'event_log.' || part);
    execute format(
        'alter table event_log.log attach partition event_log.%I for values from (%s) to (%s)',
        part, first, last + 1);
    execute format('alter table event_log.%I drop constraint bounds', part);
    execute format('grant select on event_log.%I to opscenter_service', part);
    insert into event_log.log_partition values (next, first, last);
    return last;
end
$$;

-- Keeps a partition ready ahead of the head; does nothing while there is room. The service calls
-- it when the head passes three quarters of the last partition.
create function event_log.keep_partitions_ahead() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    rows bigint;
    room bigint;
    head bigint;
begin
    perform pg_advisory_xact_lock(1869640547, 3);
    select value into rows from event_log.setting where name = 'partition_rows';
    select coalesce(max(last), 0) into room from event_log.log_partition;
    select coalesce(max(last), 0) into head from event_log.log_batch;
    while room - head <= rows - rows * 3 / 4 loop
        room := event_log.create_partition();
    end loop;
    return room;
end
$$;

-- Text where the bytes are text, else their hexadecimal form: a view must never fail on a row.
create function event_log.readable(bytes bytea) returns text
language plpgsql immutable parallel safe as $$
begin
    return convert_from(bytes, 'UTF8');
exception when others then
    return '\x' || encode(bytes, 'hex');
end
$$;

create view event_log.log_readable as
    select position, recorded_at, occurred_at, tenant, stream, stream_version, type,
           schema_version, actor, event_id, causation, correlation,
           event_log.readable(meta) as meta, event_log.readable(payload) as payload
      from event_log.log;
comment on view event_log.log_readable is 'The log for people: bodies decoded where they are text.';
