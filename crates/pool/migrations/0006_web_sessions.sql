-- Sessions of the web page: each stands for the access token that it was opened with, and of the cookie only the hash
-- is kept.
CREATE TABLE web_sessions (
    hash       TEXT PRIMARY KEY,
    pat_id     TEXT NOT NULL REFERENCES pats (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX web_sessions_pat ON web_sessions (pat_id, created_at);
CREATE INDEX web_sessions_expiry ON web_sessions (expires_at);
