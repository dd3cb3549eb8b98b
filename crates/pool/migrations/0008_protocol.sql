-- Timelines beside a plan's own: details of a record.
CREATE TABLE timelines (
    id         TEXT PRIMARY KEY,
    plan_id    TEXT NOT NULL REFERENCES plans (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX timelines_plan ON timelines (plan_id);
CREATE UNIQUE INDEX plans_timeline ON plans (timeline_id);
CREATE INDEX plans_build ON plans (build_id);

-- What is large lies in files that are named by their hash; the database says what they are.
CREATE TABLE attachments (
    timeline_id TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    plan_id     TEXT NOT NULL REFERENCES plans (id),
    hash        TEXT NOT NULL,
    bytes       BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL,
    PRIMARY KEY (timeline_id, record_id, kind, name)
);
CREATE INDEX attachments_plan ON attachments (plan_id, kind);
CREATE INDEX attachments_hash ON attachments (hash);

CREATE TABLE tasks (
    id          TEXT NOT NULL,
    major       BIGINT NOT NULL,
    minor       BIGINT NOT NULL,
    patch       BIGINT NOT NULL,
    name        TEXT NOT NULL,
    document    TEXT NOT NULL,
    hash        TEXT NOT NULL,
    bytes       BIGINT NOT NULL,
    uploaded_at BIGINT NOT NULL,
    PRIMARY KEY (id, major, minor, patch)
);
CREATE INDEX tasks_hash ON tasks (hash);

-- A run has one container, under the run's own id. A file without a hash is being uploaded: of the `total` bytes that
-- travel, `received` lie in a file of its own; `bytes` is what it has when it is unpacked.
CREATE TABLE container_files (
    build_id   BIGINT NOT NULL,
    path       TEXT NOT NULL,
    bytes      BIGINT NOT NULL,
    total      BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    gzip       BIGINT NOT NULL,
    upload     TEXT,
    hash       TEXT,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (build_id, path)
);
CREATE INDEX container_files_hash ON container_files (hash);

CREATE TABLE artifacts (
    id         BIGINT PRIMARY KEY,
    build_id   BIGINT NOT NULL,
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL,
    source     TEXT,
    kind       TEXT NOT NULL,
    data       TEXT NOT NULL,
    properties TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (build_id, name_key)
);
INSERT INTO counters (name, value) VALUES ('artifact', 0);

-- Requests are served by place, then by id: a lower place is served first.
ALTER TABLE requests ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
DROP INDEX requests_waiting;
CREATE INDEX requests_waiting ON requests (pool_id, place, id) WHERE finished_at IS NULL AND assigned_at IS NULL;
CREATE INDEX requests_ended_last ON requests (pool_id, finished_at, id) WHERE finished_at IS NOT NULL;
DROP INDEX requests_finished;

-- What a pool says of itself beside its name. A deleted one stays for the requests that it had.
ALTER TABLE pools ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE pools ADD COLUMN deleted_at BIGINT;

-- What an agent said of itself when its session opened; beside it stands what it was registered with.
ALTER TABLE agents ADD COLUMN reported_capabilities TEXT;
