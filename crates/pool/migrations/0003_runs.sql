-- A run: what one plan is about, with its jobs. Its id is the plan's `build_id`, its number the plan's
-- `build_number`. Project and pipeline are the plan's too; they are here for the indexes.

CREATE TABLE runs (
    id             BIGINT PRIMARY KEY,
    plan_id        TEXT NOT NULL UNIQUE REFERENCES plans (id),
    project_id     TEXT NOT NULL REFERENCES projects (id),
    definition_id  BIGINT NOT NULL REFERENCES definitions (id),
    status         TEXT NOT NULL,
    result         TEXT,
    reason         TEXT NOT NULL,
    pool_id        BIGINT NOT NULL REFERENCES pools (id),
    repository_id  TEXT REFERENCES repositories (id),
    source_branch  TEXT,
    source_version TEXT,
    requested_by   TEXT NOT NULL,
    keep_forever   BIGINT NOT NULL,
    queued_at      BIGINT NOT NULL,
    started_at     BIGINT,
    cancelled_at   BIGINT,
    finished_at    BIGINT
);
CREATE INDEX runs_project ON runs (project_id, id);
CREATE INDEX runs_definition ON runs (definition_id, id);
CREATE INDEX runs_unfinished ON runs (project_id, id) WHERE finished_at IS NULL;
CREATE INDEX runs_ended ON runs (finished_at) WHERE finished_at IS NOT NULL;

-- A job of a run. One that waits for other jobs has no request, and everything that is needed to start it is sealed
-- in `sealed_job`. One that never gets a request ends here; otherwise its request says how it goes and ends.
CREATE TABLE run_jobs (
    id             TEXT PRIMARY KEY,
    run_id         BIGINT NOT NULL REFERENCES runs (id),
    number         BIGINT NOT NULL,
    name           TEXT NOT NULL,
    display_name   TEXT NOT NULL,
    depends_on     TEXT NOT NULL,
    condition      TEXT,
    sealed_job     TEXT NOT NULL,
    request_id     BIGINT,
    result         TEXT,
    status_message TEXT,
    finished_at    BIGINT
);
CREATE INDEX run_jobs_run ON run_jobs (run_id, number);

-- What a pipeline runs: a file in a repository. Without one, jobs are queued to it one by one.
ALTER TABLE definitions ADD COLUMN repository_id TEXT;
ALTER TABLE definitions ADD COLUMN yaml_path TEXT;
ALTER TABLE definitions ADD COLUMN queue_status TEXT NOT NULL DEFAULT 'enabled';
ALTER TABLE definitions ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE definitions ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;

-- Until now each plan had one job.
INSERT INTO runs (id, plan_id, project_id, definition_id, status, result, reason, pool_id, requested_by, keep_forever,
                  queued_at, started_at, cancelled_at, finished_at)
SELECT plans.build_id, plans.id, plans.project_id, plans.definition_id,
       CASE WHEN requests.finished_at IS NOT NULL THEN 'completed'
            WHEN requests.cancelled_at IS NOT NULL THEN 'cancelling'
            WHEN requests.received_at IS NOT NULL THEN 'inProgress'
            ELSE 'notStarted' END,
       CASE WHEN requests.finished_at IS NULL THEN NULL
            WHEN requests.result = 'succeededWithIssues' THEN 'partiallySucceeded'
            WHEN requests.result = 'succeeded' OR requests.result = 'skipped' THEN 'succeeded'
            WHEN requests.result = 'canceled' THEN 'canceled'
            ELSE 'failed' END,
       'manual', requests.pool_id, '', 0, requests.queued_at, requests.received_at, requests.cancelled_at, requests.finished_at
FROM plans JOIN requests ON requests.plan_id = plans.id;

INSERT INTO run_jobs (id, run_id, number, name, display_name, depends_on, sealed_job, request_id)
SELECT requests.job_id, plans.build_id, 1, '__default', requests.name, '[]', '', requests.id
FROM plans JOIN requests ON requests.plan_id = plans.id;
