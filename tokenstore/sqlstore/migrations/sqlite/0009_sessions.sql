-- The sessions of the console, and the one-time links that make one, by the hash
-- of their id or code. What a link is good for is sealed; a session has nothing
-- to seal, and in its place a digest that tells whose sessions are whose.

CREATE TABLE tokens_sessions (
	id         BLOB NOT NULL PRIMARY KEY,
	kind       BLOB NOT NULL,
	sealed     BLOB NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_sessions_end ON tokens_sessions (expires_at);
