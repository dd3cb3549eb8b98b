-- What somebody may do in a pool, beside what the scopes of the credential say. Somebody is known by the name of the
-- token or of the service principal; `pool_id` 0 is every pool that has no row of its own. Whoever has no row at all is
-- bound by the scopes alone.
CREATE TABLE pool_roles (
    name_key TEXT NOT NULL,
    pool_id  BIGINT NOT NULL,
    name     TEXT NOT NULL,
    role     TEXT NOT NULL,
    PRIMARY KEY (name_key, pool_id)
);
