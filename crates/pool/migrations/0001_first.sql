-- Types and statements are those that SQLite and PostgreSQL share: dates are milliseconds since 1970, truth values
-- are 0 and 1, ids that people see come from `counters`, documents and sealed values are text.

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES
    ('pool', 0), ('agent', 0), ('request', 0), ('build', 0), ('definition', 0), ('change', 0);

CREATE TABLE pats (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       TEXT NOT NULL UNIQUE,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE projects (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE definitions (
    id         BIGINT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL,
    UNIQUE (project_id, name_key)
);

CREATE TABLE repositories (
    id             TEXT PRIMARY KEY,
    project_id     TEXT NOT NULL REFERENCES projects (id),
    name           TEXT NOT NULL,
    name_key       TEXT NOT NULL,
    default_branch TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    UNIQUE (project_id, name_key)
);

CREATE TABLE pools (
    id         BIGINT PRIMARY KEY,
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE agents (
    id                  BIGINT PRIMARY KEY,
    pool_id             BIGINT NOT NULL REFERENCES pools (id),
    name                TEXT NOT NULL,
    name_key            TEXT NOT NULL,
    version             TEXT,
    os_description      TEXT,
    enabled             BIGINT NOT NULL,
    single_use          BIGINT NOT NULL,
    jobs_taken          BIGINT NOT NULL,
    client_id           TEXT NOT NULL UNIQUE,
    key_modulus         TEXT NOT NULL,
    key_exponent        TEXT NOT NULL,
    key_version         BIGINT NOT NULL,
    last_message_id     BIGINT NOT NULL,
    system_capabilities TEXT NOT NULL,
    user_capabilities   TEXT NOT NULL,
    properties          TEXT NOT NULL,
    created_at          BIGINT NOT NULL,
    status_changed_at   BIGINT NOT NULL,
    UNIQUE (pool_id, name_key)
);

CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    agent_id     BIGINT NOT NULL UNIQUE REFERENCES agents (id),
    owner_name   TEXT NOT NULL,
    sealed_key   TEXT NOT NULL,
    leaving      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL
);
CREATE INDEX sessions_last_seen ON sessions (last_seen_at);

CREATE TABLE messages (
    agent_id   BIGINT NOT NULL REFERENCES agents (id),
    id         BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    request_id BIGINT NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (agent_id, id)
);
CREATE INDEX messages_request ON messages (request_id);

CREATE TABLE assertions (
    client_id  TEXT NOT NULL,
    jti        TEXT NOT NULL,
    issued_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (client_id, jti)
);
CREATE INDEX assertions_expiry ON assertions (expires_at);

CREATE TABLE plans (
    id            TEXT PRIMARY KEY,
    project_id    TEXT NOT NULL REFERENCES projects (id),
    timeline_id   TEXT NOT NULL,
    build_id      BIGINT NOT NULL,
    build_number  TEXT NOT NULL,
    definition_id BIGINT NOT NULL REFERENCES definitions (id),
    last_log_id   BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE requests (
    id                     BIGINT PRIMARY KEY,
    pool_id                BIGINT NOT NULL REFERENCES pools (id),
    plan_id                TEXT NOT NULL REFERENCES plans (id),
    job_id                 TEXT NOT NULL UNIQUE,
    name                   TEXT NOT NULL,
    demands                TEXT NOT NULL,
    matched                TEXT NOT NULL,
    sealed_message         TEXT NOT NULL,
    timeout_minutes        BIGINT NOT NULL,
    cancel_timeout_minutes BIGINT NOT NULL,
    queued_at              BIGINT NOT NULL,
    assigned_at            BIGINT,
    acknowledged_at        BIGINT,
    received_at            BIGINT,
    locked_until           BIGINT,
    cancelled_at           BIGINT,
    finished_at            BIGINT,
    result                 TEXT,
    status_message         TEXT,
    agent_id               BIGINT,
    agent_name             TEXT
);
CREATE INDEX requests_unfinished ON requests (pool_id, id) WHERE finished_at IS NULL;
CREATE INDEX requests_waiting ON requests (pool_id, id) WHERE finished_at IS NULL AND assigned_at IS NULL;
CREATE INDEX requests_held ON requests (agent_id) WHERE finished_at IS NULL AND agent_id IS NOT NULL;
CREATE INDEX requests_locked ON requests (locked_until) WHERE finished_at IS NULL AND locked_until IS NOT NULL;
CREATE INDEX requests_finished ON requests (pool_id, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX requests_plan ON requests (plan_id);
CREATE INDEX requests_agent ON requests (agent_id, id);

CREATE TABLE records (
    timeline_id TEXT NOT NULL,
    id          TEXT NOT NULL,
    change_id   BIGINT NOT NULL,
    document    TEXT NOT NULL,
    PRIMARY KEY (timeline_id, id)
);

CREATE TABLE logs (
    plan_id    TEXT NOT NULL REFERENCES plans (id),
    id         BIGINT NOT NULL,
    path       TEXT NOT NULL,
    line_count BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    chunks     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (plan_id, id)
);

-- `first_line` counts from 1; `line_count` counts line ends, so a chunk may begin and end within a line.
CREATE TABLE log_chunks (
    plan_id    TEXT NOT NULL,
    log_id     BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    first_line BIGINT NOT NULL,
    line_count BIGINT NOT NULL,
    content    TEXT NOT NULL,
    PRIMARY KEY (plan_id, log_id, number)
);
