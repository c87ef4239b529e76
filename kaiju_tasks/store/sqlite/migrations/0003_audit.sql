-- Who did which operator action; and notifications in the order in which they are listed.

CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    at REAL NOT NULL,
    user_id TEXT,
    remote TEXT,
    action TEXT NOT NULL,
    target TEXT,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at DESC, id);

DROP INDEX notifications_created;
CREATE INDEX notifications_created ON notifications (created DESC, id);
