ALTER TABLE pending_stamps DROP COLUMN sweeps, DROP COLUMN sweep_after;
