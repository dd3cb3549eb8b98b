-- Which service the database belongs to: its keys open what is sealed here, and no others do.
CREATE TABLE service (
    id       BIGINT PRIMARY KEY,
    instance TEXT NOT NULL
);

-- Console lines, for whoever follows a job at whichever replica: one chunk for each post. Lines of a job count from 0;
-- `step_line` is the number of the first one in its step's output, from 1.
CREATE TABLE feeds (
    request_id BIGINT PRIMARY KEY,
    next_line  BIGINT NOT NULL
);
CREATE TABLE feed_chunks (
    request_id BIGINT NOT NULL,
    first_line BIGINT NOT NULL,
    line_count BIGINT NOT NULL,
    step_id    TEXT,
    step_line  BIGINT,
    lines      TEXT NOT NULL,
    PRIMARY KEY (request_id, first_line)
);
