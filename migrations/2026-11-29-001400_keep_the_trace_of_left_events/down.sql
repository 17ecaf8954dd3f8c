ALTER TABLE left_events DROP COLUMN traceparent;
