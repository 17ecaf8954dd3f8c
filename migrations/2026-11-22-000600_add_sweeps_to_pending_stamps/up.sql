-- When the sweeper looks after a pending stamp next, and how often it has. Rows from before this column are
-- looked after at once if they are past due; that costs a repeated event, which changes nothing.
ALTER TABLE pending_stamps
    ADD COLUMN sweeps      integer     NOT NULL DEFAULT 0,
    ADD COLUMN sweep_after timestamptz NOT NULL DEFAULT '-infinity';
