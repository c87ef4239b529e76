-- The principal on whose behalf an executor has connected: no other may take its id meanwhile.
ALTER TABLE executors ADD COLUMN owner text COLLATE "C";
