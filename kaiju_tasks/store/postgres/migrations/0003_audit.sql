-- Who did which operator action; and notifications in the order in which they are listed.

CREATE TABLE audit (
    id text COLLATE "C" PRIMARY KEY,
    at double precision NOT NULL,
    user_id text COLLATE "C",
    remote text COLLATE "C",
    action text COLLATE "C" NOT NULL,
    target text COLLATE "C",
    data text NOT NULL
);
CREATE INDEX audit_at ON audit (at DESC NULLS LAST, id);

DROP INDEX notifications_created;
CREATE INDEX notifications_created ON notifications (created DESC NULLS LAST, id);
