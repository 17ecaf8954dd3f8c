-- Where a stamp was asked for, so that whoever publishes its event passes that on. Adding the column touches no row.
ALTER TABLE pending_stamps ADD COLUMN traceparent text COLLATE "C";
COMMENT ON COLUMN pending_stamps.traceparent IS 'W3C Trace Context; null for a stamp that was asked for in no trace';
