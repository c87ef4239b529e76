-- How often in a row the current stage was given back soon, without a report of the executor.
ALTER TABLE tasks ADD COLUMN fruitless INTEGER NOT NULL DEFAULT 0;
