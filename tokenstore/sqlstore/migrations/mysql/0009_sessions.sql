-- The sessions of the console, and the one-time links that make one, by the hash
-- of their id or code. What a link is good for is sealed; a session has nothing
-- to seal, and in its place a digest that tells whose sessions are whose.

CREATE TABLE IF NOT EXISTS tokens_sessions (
	id         VARBINARY(32) NOT NULL PRIMARY KEY,
	kind       VARBINARY(16) NOT NULL,
	sealed     BLOB NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	KEY tokens_sessions_end (expires_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
