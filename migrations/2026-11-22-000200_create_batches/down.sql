DROP TABLE processed_stamps;
DROP TABLE batches;
