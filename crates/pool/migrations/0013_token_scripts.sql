-- Whether the scripts of a pipeline's jobs see the job's token without mapping it.
ALTER TABLE definitions ADD COLUMN token_scripts BIGINT NOT NULL DEFAULT 0;
