-- The process of an executor and the number of its connect: a connect that is carried out late does
-- not replace a newer one.
ALTER TABLE executors ADD COLUMN instance TEXT;
ALTER TABLE executors ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;
