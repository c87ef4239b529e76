-- When the reason of a task changed, if it did after the task had come to its status.
ALTER TABLE tasks ADD COLUMN reason_change REAL;
