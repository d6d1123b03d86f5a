-- Purge: bodies whose time is over are destroyed, and nothing else of their events.
--
-- What is left of an event are its two commitments, so that its hash, the chain and every count
-- still hold. Nobody may update the log, the service included: event_log.purge_bodies does it with
-- the owner's rights, checks everything by what the log itself says, and records the purge in the
-- same transaction (docs/decisions/0037).

alter table event_log.log add column payload_commit bytea, add column meta_commit bytea;
comment on column event_log.log.payload_commit is
    'Set when the body was purged: what is left of it in the hash. Null while the body is there.';
comment on column event_log.log.meta_commit is
    'Set when the body was purged: what is left of meta in the hash. Null while it is there.';

create table event_log.purgeable (
    kind text collate "C" not null,
    type text collate "C" not null,
    primary key (kind, type)
);
comment on table event_log.purgeable is
    'Which events may lose their bodies, by kind of record: those that nothing is derived from.';
insert into event_log.purgeable
values ('denials', 'command_denied'), ('denials', 'command_refused');
call event_log.protect('event_log.purgeable');

-- The guard of 0002 lets one function through. What it may change is for the next trigger to say.
create or replace function event_log.refuse_change() returns trigger
language plpgsql as $$
declare
    callers text;
begin
    if tg_op = 'UPDATE' and tg_table_schema = 'event_log' and tg_table_name = 'log' then
        get diagnostics callers = pg_context;
        if callers ~ '\mevent_log\.purge_bodies\(uuid,text,bigint\[\]' then
            return null;
        end if;
    end if;
    raise exception '% on event_log.% is refused: history is never changed', tg_op, tg_table_name
        using errcode = 'insufficient_privilege',
              hint = 'append an event that says what is true now';
end
$$;

-- Whatever updates a row: both bodies go, whole and once, and exactly their commitments stay.
create function event_log.only_bodies_go() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    expected event_log.log := old;
begin
    expected.payload_commit := sha256('\x02'::bytea || old.payload_salt || old.payload);
    expected.meta_commit := sha256('\x03'::bytea || old.meta_salt || old.meta);
    expected.payload := '';
    expected.meta := '';
    expected.payload_salt := '';
    expected.meta_salt := '';
    if old.payload_commit is not null or new is distinct from expected then
        raise exception 'position % may lose its bodies as a whole and nothing else', old.position
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end
$$;

create trigger only_bodies_go before update on event_log.log
    for each row execute function event_log.only_bodies_go();

-- The legal holds that stand: on whom or what, and whose history they belong to. A hold is released
-- at most once, so counting tells.
create function event_log.standing_holds(out target text, out tenant uuid)
returns setof record language sql stable security definer
set search_path = pg_catalog, pg_temp as $$
    select split_part(l.stream, '/', 2), (array_agg(l.tenant))[1]
      from event_log.log l
     where l.stream >= 'legal_hold/' and l.stream < 'legal_hold0'
     group by l.stream
    having count(*) filter (where l.type = 'legal_hold_placed')
         > count(*) filter (where l.type = 'legal_hold_released')
$$;

-- For how many days bodies of a kind are kept, as a policy's stream says; null when it does not.
create function event_log.retention_days(policy text, of_tenant uuid, of_kind text)
returns integer language sql stable set search_path = pg_catalog, pg_temp as $$
    select (convert_from(l.payload, 'UTF8')::jsonb ->> 'keep_days')::integer
      from event_log.log l
     where l.stream = policy and l.tenant = of_tenant and l.type = 'retention_policy_set'
       and convert_from(l.payload, 'UTF8')::jsonb ->> 'kind' = of_kind
     order by l.stream_version desc limit 1
$$;

-- Destroys the bodies at these positions and appends the event that says so, both or neither.
-- The event goes to the first of `stream_names`, the policy's; all of them must be at their
-- `versions`. `digest` is SHA-256 over position, id and hash of each event. The answer is that of
-- record_commands for one command; outcome 2 (conflict) and all that is no 0 purged nothing.
-- Whatever may not be purged is an exception, and nothing happened.
create function event_log.purge_bodies(
    of_tenant uuid, of_kind text, positions bigint[], digest bytea,
    command uuid, command_hash bytea, stream_names text[], versions bigint[],
    schema_version smallint, event_id uuid, occurred timestamptz, actor text, causation uuid,
    correlation uuid, meta bytea, payload bytea, meta_salt bytea, payload_salt bytea,
    event_hash bytea)
returns table (outcomes smallint[], firsts bigint[], lasts bigint[], times timestamptz[],
               details text[], numbers bigint[], room bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    turn     record;
    found_   record;
    stated   jsonb := convert_from(payload, 'UTF8')::jsonb;
    known    boolean;
    days     integer;
    holding  text;
    gone     bigint;
    ignored  text;
begin
    ignored := event_log.set_commit('none');
    select * into turn from event_log.take_turn();
    known := exists (select from event_log.command_receipt r where r.command_id = command);
    if not known then
        days := event_log.retention_days(stream_names[1], of_tenant, of_kind);
        if stream_names[1] not like 'retention/%' or days is null then
            raise exception 'no policy in % says how long % are kept', stream_names[1], of_kind
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        select h.target into holding from event_log.standing_holds() h where h.tenant = of_tenant;
        if found then
            raise exception 'a legal hold on % stands', holding
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        select count(*) as events,
               sha256('OPSPURG1'::bytea || string_agg(
                   int8send(l.position) || uuid_send(l.event_id) || l.event_hash, ''::bytea
                   order by l.position)) as digest
          into found_
          from event_log.log l
         where l.position = any (positions) and l.tenant = of_tenant and l.payload_commit is null
           and l.type in (select p.type from event_log.purgeable p where p.kind = of_kind)
           and l.recorded_at < turn.recorded_at - make_interval(days => days)
           and l.subjects = '{}'
           and not exists (select from event_log.standing_holds() h
                            where strpos(l.actor, h.target) > 0);
        if found_.events = 0 or found_.events <> cardinality(positions)
           or found_.digest <> purge_bodies.digest then
            raise exception 'some of these events may not be purged, or not yet, or were before'
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        -- What is recorded is what happens.
        if stated ->> 'digest' is distinct from encode(purge_bodies.digest, 'hex')
           or (select sum((r ->> 'last')::bigint - (r ->> 'first')::bigint + 1)
                 from jsonb_array_elements(stated -> 'runs') r)
              is distinct from cardinality(positions)
           or array(select generate_series((r ->> 'first')::bigint, (r ->> 'last')::bigint) as p
                      from jsonb_array_elements(stated -> 'runs') r order by p)
              is distinct from positions then
            raise exception 'the record of the purge does not say what would be purged'
                using errcode = 'object_not_in_prerequisite_state';
        end if;
    end if;
    select * into outcomes, firsts, lasts, times, details, numbers, room
      from event_log.record_commands(
        array[command], array[of_tenant], array[command_hash], array[1], stream_names,
        array_fill(1, array[cardinality(stream_names)]),
        array(select generate_series(1, cardinality(stream_names))), versions,
        '{}', '{}', '{}', '{}', '{}', '{}', '{}',
        array[of_tenant], array[1], array['bodies_purged'], array[schema_version], array[event_id],
        array[occurred], array[actor], array[causation], array[correlation], array[meta],
        array[payload], array[meta_salt], array[payload_salt], array[null::text],
        array[event_hash], '{}');
    if outcomes[1] = 0 and not known then
        update event_log.log l
           set payload_commit = sha256('\x02'::bytea || l.payload_salt || l.payload),
               meta_commit = sha256('\x03'::bytea || l.meta_salt || l.meta),
               payload = '', meta = '', payload_salt = '', meta_salt = ''
         where l.position = any (positions);
        get diagnostics gone = row_count;
        if gone <> cardinality(positions) then
            raise exception '% of % bodies were purged', gone, cardinality(positions);
        end if;
    end if;
    return next;
end
$$;

revoke all on function event_log.only_bodies_go, event_log.standing_holds,
    event_log.retention_days, event_log.purge_bodies from public;
grant select on event_log.purgeable to opscenter_service;
grant execute on function event_log.standing_holds, event_log.purge_bodies to opscenter_service;
