-- A stamp that leaves before its event is published keeps the place in a trace that the event passes on. Adding the column
-- touches no row.
ALTER TABLE left_events ADD COLUMN traceparent text COLLATE "C";
COMMENT ON COLUMN left_events.traceparent IS 'W3C Trace Context; null for a stamp that was asked for in no trace';
