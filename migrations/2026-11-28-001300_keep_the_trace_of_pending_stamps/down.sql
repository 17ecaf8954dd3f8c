ALTER TABLE pending_stamps DROP COLUMN traceparent;
