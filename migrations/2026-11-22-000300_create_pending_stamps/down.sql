DROP TABLE pending_stamps;
DROP TABLE intake_owners;
