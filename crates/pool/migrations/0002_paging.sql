-- Agents are looked through in pages; jobs that ended long ago are found by their end alone.
CREATE INDEX agents_pool ON agents (pool_id, id);
CREATE INDEX requests_ended ON requests (finished_at) WHERE finished_at IS NOT NULL;
