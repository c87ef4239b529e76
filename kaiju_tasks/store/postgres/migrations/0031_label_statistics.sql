-- A label that stood in the sample of the planner by chance was taken for five times as frequent as
-- it was, so that lists with this label read all tasks in their order instead of the index. A larger
-- sample takes longer to read, and is read after larger changes instead.
ALTER TABLE definitions ALTER COLUMN labels SET STATISTICS 500;
ALTER TABLE definitions SET (autovacuum_analyze_scale_factor = 0.3);
