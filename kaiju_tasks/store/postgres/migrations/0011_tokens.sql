-- Who may do what. Principals and tokens are never deleted: tasks name their owner and the token
-- that created them.

-- `scope`: JSON; what all tokens of the principal are limited to.
CREATE TABLE principals (
    id text COLLATE "C" PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    scope text NOT NULL,
    created double precision NOT NULL,
    created_by text COLLATE "C",
    disabled_at double precision,
    CONSTRAINT principals_kind_known CHECK (
        kind IN ('viewer', 'user', 'operator', 'executor', 'admin'))
);

-- `hash`: SHA-256 of the token in hex digits. `successor`: the token that replaces it.
CREATE TABLE tokens (
    id text COLLATE "C" PRIMARY KEY,
    principal_id text COLLATE "C" NOT NULL,
    scope text NOT NULL,
    hash text COLLATE "C" NOT NULL,
    note text,
    created double precision NOT NULL,
    created_by text COLLATE "C",
    expires_at double precision NOT NULL,
    revoked_at double precision,
    successor text COLLATE "C",
    CONSTRAINT tokens_hash_complete CHECK (length(hash) = 64),
    CONSTRAINT tokens_expiry_later CHECK (expires_at >= created)
);
CREATE INDEX tokens_principal ON tokens (principal_id);

-- When and from where a token was last used: apart from it, as it changes often.
CREATE TABLE token_uses (
    token_id text COLLATE "C" PRIMARY KEY,
    at double precision NOT NULL,
    remote text COLLATE "C"
) WITH (fillfactor = 50);

-- Raised with every change to principals and tokens.
INSERT INTO revisions (name, value) VALUES ('tokens', 0);
