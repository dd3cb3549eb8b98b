-- An agent for a job is found among those that hold none, however many others there are.
ALTER TABLE sessions ADD COLUMN pool_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN held BIGINT NOT NULL DEFAULT 0;
UPDATE sessions SET
    pool_id = (SELECT agents.pool_id FROM agents WHERE agents.id = sessions.agent_id),
    held = (SELECT COUNT(*) FROM requests WHERE requests.agent_id = sessions.agent_id AND requests.finished_at IS NULL);
CREATE INDEX sessions_idle ON sessions (pool_id, agent_id) WHERE held = 0;
