-- Which job of the run made it, and so writes to it. What was made before this may be written by every job of its run.
ALTER TABLE logs ADD COLUMN job_id TEXT;
ALTER TABLE timelines ADD COLUMN job_id TEXT;

-- What an agent has done, the last to end first. What it holds is found by `requests_held`.
DROP INDEX requests_agent;
CREATE INDEX requests_agent_ended ON requests (agent_id, finished_at, id) WHERE finished_at IS NOT NULL;
