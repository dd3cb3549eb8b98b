-- Service principals and what they prove themselves with: what is in `document` depends on the kind of proof.
CREATE TABLE principals (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX principals_name ON principals (name_key);

CREATE TABLE principal_credentials (
    id           TEXT PRIMARY KEY,
    principal_id TEXT NOT NULL REFERENCES principals (id),
    document     TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT
);
CREATE INDEX principal_credentials_principal ON principal_credentials (principal_id);

-- How far the tokens of a pipeline's jobs reach: their project or the collection, and whether they push to their own
-- repository.
ALTER TABLE definitions ADD COLUMN token_scope TEXT NOT NULL DEFAULT 'project';
ALTER TABLE definitions ADD COLUMN token_pushes BIGINT NOT NULL DEFAULT 0;
