-- Which job of the run made it, and so writes to it. What was made before this may be written by every job of its run.
ALTER TABLE logs ADD COLUMN job_id TEXT;
ALTER TABLE timelines ADD COLUMN job_id TEXT;
