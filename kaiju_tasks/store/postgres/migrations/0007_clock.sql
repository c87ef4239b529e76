-- How often the store's clock was set while a manager was up.
INSERT INTO revisions (name, value) VALUES ('clock', 0);
