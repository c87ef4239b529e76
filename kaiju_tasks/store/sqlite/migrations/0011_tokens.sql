-- Who may do what. Principals and tokens are never deleted: tasks name their owner and the token
-- that created them.

-- `scope`: JSON; what all tokens of the principal are limited to.
CREATE TABLE principals (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    created REAL NOT NULL,
    created_by TEXT,
    disabled_at REAL,
    CONSTRAINT principals_kind_known CHECK (
        kind IN ('viewer', 'user', 'operator', 'executor', 'admin'))
) STRICT;

-- `hash`: SHA-256 of the token in hex digits. `successor`: the token that replaces it.
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    principal_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    hash TEXT NOT NULL,
    note TEXT,
    created REAL NOT NULL,
    created_by TEXT,
    expires_at REAL NOT NULL,
    revoked_at REAL,
    successor TEXT,
    CONSTRAINT tokens_hash_complete CHECK (length(hash) = 64),
    CONSTRAINT tokens_expiry_later CHECK (expires_at >= created)
) STRICT;
CREATE INDEX tokens_principal ON tokens (principal_id);

-- When and from where a token was last used: apart from it, as it changes often.
CREATE TABLE token_uses (
    token_id TEXT NOT NULL PRIMARY KEY,
    at REAL NOT NULL,
    remote TEXT
) STRICT;

-- Raised with every change to principals and tokens.
INSERT INTO revisions (name, value) VALUES ('tokens', 0);
