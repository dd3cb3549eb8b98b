-- Secret variables of a pipeline, each sealed for its own row.
CREATE TABLE definition_secrets (
    definition_id BIGINT NOT NULL REFERENCES definitions (id),
    name_key      TEXT NOT NULL,
    name          TEXT NOT NULL,
    sealed        TEXT NOT NULL,
    changed_at    BIGINT NOT NULL,
    PRIMARY KEY (definition_id, name_key)
);

-- The commit up to which a branch was looked at for triggers.
CREATE TABLE branch_heads (
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    reference     TEXT NOT NULL,
    version       TEXT NOT NULL,
    PRIMARY KEY (repository_id, reference)
);

-- The schedules of a pipeline, as its file on the default branch has them, and up to when each was looked at.
CREATE TABLE definition_schedules (
    definition_id BIGINT NOT NULL REFERENCES definitions (id),
    number        BIGINT NOT NULL,
    schedule      TEXT NOT NULL,
    seen_at       BIGINT NOT NULL,
    PRIMARY KEY (definition_id, number)
);

-- The commit of each branch that a schedule of the pipeline queued last.
CREATE TABLE scheduled_heads (
    definition_id BIGINT NOT NULL REFERENCES definitions (id),
    reference     TEXT NOT NULL,
    version       TEXT NOT NULL,
    PRIMARY KEY (definition_id, reference)
);

-- Why a push or a schedule did not queue the pipeline last time.
ALTER TABLE definitions ADD COLUMN problem TEXT;

-- Pipelines name tasks without regard to case.
CREATE INDEX tasks_name ON tasks (LOWER(name), major);
