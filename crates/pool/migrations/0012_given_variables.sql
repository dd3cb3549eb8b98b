-- What was given for the variables of a run when it was queued; null for a run that came from no pipeline file.
ALTER TABLE runs ADD COLUMN given TEXT;
