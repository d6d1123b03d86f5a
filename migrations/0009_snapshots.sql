-- Snapshots of several versions of one stream, so that its past is near as well as its end
-- (docs/decisions/0045). Nothing was kept under the old key by any release.
alter table event_log.snapshot
    drop constraint snapshot_pkey,
    add primary key (stream, reducer, version);
comment on table event_log.snapshot is
    'Folded states of long streams; may be thrown away. Keyed by the hash of what folded them.';
