DROP VIEW messages;
DROP TABLE stored_messages;
