-- The tables of the event log.
--
-- Everything here belongs to opscenter_owner, a role nobody can log in as; the service may read
-- it all and write through functions only (0003 and 0004). What an event is and how it is hashed
-- stands in docs/event-log-format.md. The two tables that every append writes have no check
-- constraints: each would be planned anew with every append, and only functions write there.

-- Settings that change how the log is laid out. Read under the append lock, changed by nobody.
create table event_log.setting (
    name  text collate "C" primary key,
    value bigint not null
);
comment on table event_log.setting is
    'How the log is laid out; written when the log is created and never changed after.';

create table event_log.log (
    position       bigint      not null primary key,
    tenant         uuid        not null,
    stream         text collate "C",
    stream_version bigint,
    type           text collate "C" not null,
    schema_version smallint    not null,
    event_id       uuid        not null,
    recorded_at    timestamptz not null,
    occurred_at    timestamptz not null,
    actor          text        not null,
    causation      uuid,
    correlation    uuid,
    meta           bytea       not null,
    payload        bytea       not null,
    meta_salt      bytea       not null,
    payload_salt   bytea       not null,
    subjects       uuid[]      not null default '{}',
    event_hash     bytea       not null
) partition by range (position);
comment on table event_log.log is
    'Every event that ever happened, in the one order that counts: positions 1, 2, 3, … no gap.';
comment on column event_log.log.position is 'Place in the total order; leaf index of the tree + 1.';
comment on column event_log.log.tenant is 'The organization; the nil uuid for the platform itself.';
comment on column event_log.log.stream is '<kind>/<id>; null for bulk usage, which has no stream.';
comment on column event_log.log.stream_version is '1, 2, 3, … within the stream, no gap.';
comment on column event_log.log.type is 'The stored name of the event, chosen once and for ever.';
comment on column event_log.log.recorded_at is
    'The log''s time: one per batch, strictly increasing with it, even if the clock steps back.';
comment on column event_log.log.occurred_at is 'When it happened, as the writer says.';
comment on column event_log.log.meta is 'Bytes about the event, committed to apart from the body.';
comment on column event_log.log.payload is 'The body, as bytes: jsonb would reorder its keys.';
comment on column event_log.log.payload_salt is
    'Sixteen random bytes that keep the commitment from giving the body away.';
comment on column event_log.log.subjects is 'Whose keys the body was sealed with (subject_key).';
comment on column event_log.log.event_hash is 'SHA-256 over the header, made before the lock.';

create table event_log.log_batch (
    first       bigint      primary key,
    last        bigint      not null,
    recorded_at timestamptz not null unique,
    chain       bytea       not null
);
comment on table event_log.log_batch is
    'One row per append that recorded something: what it covered, when, and the chain so far.';
comment on column event_log.log_batch.chain is
    'SHA-256(previous chain, first, count, recorded_at, event hashes).';

-- Updated with every event of a stream: room on the page keeps the updates off the index.
create table event_log.stream_head (
    stream   text collate "C" primary key,
    version  bigint not null,
    position bigint not null
) with (fillfactor = 70);
comment on table event_log.stream_head is 'Version and position of the last event of each stream.';

create table event_log.tag (
    tenant   uuid not null,
    tag      text collate "C" not null,
    position bigint not null,
    type     text collate "C" not null,
    primary key (tenant, tag, position)
);
comment on table event_log.tag is
    'What a condition "no event of these types with these tags since" looks at.';

create table event_log.claim (
    tenant     uuid  not null,
    scope      text collate "C" not null,
    value_hash bytea not null,
    holder     text  not null,
    command_id uuid  not null,
    primary key (tenant, scope, value_hash)
);
comment on table event_log.claim is
    'Who holds what may be held once, such as an e-mail address; taken and released by appends.';

create table event_log.command_receipt (
    command_id   uuid        primary key,
    tenant       uuid        not null,
    content_hash bytea       not null,
    first        bigint      not null,
    last         bigint      not null,
    recorded_at  timestamptz not null,
    event_ids    uuid[]      not null
);
comment on table event_log.command_receipt is
    'The answer each command got, kept for ever: a repeat gets it again. An empty append has
     first = last = the head of that moment and no event ids.';

create table event_log.usage_source (
    id     integer generated always as identity primary key,
    tenant uuid not null,
    source text collate "C" not null,
    unique (tenant, source)
);
comment on table event_log.usage_source is
    'A short number for (organization, source), so that an identity of usage stays small.';

create table event_log.usage_identity (
    source_id integer not null,
    usage_id  text collate "C" not null,
    content   uuid    not null,
    position  bigint  not null,
    primary key (source_id, usage_id)
);
comment on table event_log.usage_identity is
    'Every usage record ever taken, so that none is counted twice (docs/decisions/0002).';
comment on column event_log.usage_identity.content is
    'First sixteen bytes of the content''s SHA-256: tells a repeat from a contradiction.';

create table event_log.subject_key (
    tenant     uuid        not null,
    subject    uuid        not null,
    wrapped    bytea,
    created_at timestamptz not null default clock_timestamp(),
    erased_at  timestamptz,
    primary key (tenant, subject),
    check ((wrapped is null) = (erased_at is not null))
);
comment on table event_log.subject_key is
    'One key per person and tenant, wrapped by a master key kept outside. Erasing empties it.';

create table event_log.consumer (
    name        text collate "C" primary key,
    position    bigint not null,
    owner       text,
    lease_until timestamptz
) with (fillfactor = 50);
comment on table event_log.consumer is
    'How far each reader of the log has come; moved by compare-and-set with what it wrote.';
comment on column event_log.consumer.lease_until is
    'Saves two owners doing the same work; correctness never rests on it.';

create table event_log.timer (
    name    text collate "C" primary key,
    tenant  uuid        not null,
    due_at  timestamptz not null,
    content bytea       not null
);
create index timer_due on event_log.timer (due_at);
comment on table event_log.timer is 'What has to be appended once its time has come.';

create table event_log.snapshot (
    stream   text collate "C" not null,
    reducer  bytea  not null,
    version  bigint not null,
    position bigint not null,
    state    bytea  not null,
    primary key (stream, reducer)
);
comment on table event_log.snapshot is
    'The folded state of a long stream; may be thrown away. Keyed by the hash of what folded it.';

-- The place of the Merkle tree and its signed checkpoints; nothing writes here yet.
create table event_log.tile (
    level smallint not null,
    index bigint   not null,
    width smallint not null,
    nodes bytea    not null,
    primary key (level, index, width)
);
comment on table event_log.tile is 'Hashes of the Merkle tree over the log, in tiles of 256.';

create table event_log.checkpoint (
    size        bigint      primary key,
    root        bytea       not null check (length(root) = 32),
    recorded_at timestamptz not null,
    note        text        not null
);
comment on table event_log.checkpoint is 'Every signed statement of the tree''s size and root.';
