-- Times are microseconds since 1970. Ids and keys are bytes. What is sealed
-- says in key_id which key sealed it, so that a start can look for them
-- quickly.

CREATE TABLE tokens_keys (
	id         BLOB NOT NULL PRIMARY KEY,
	sealed     BLOB NOT NULL,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens_realms (
	id         BLOB NOT NULL PRIMARY KEY,
	config     TEXT NOT NULL,
	logic_code TEXT NOT NULL,
	comment    TEXT NOT NULL,
	search     BLOB NOT NULL,
	shared     BLOB NOT NULL,
	key_id     BLOB NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_realms_order ON tokens_realms (updated_at DESC, created_at DESC, id);
CREATE INDEX tokens_realms_key ON tokens_realms (key_id, id);

CREATE TABLE tokens_secrets (
	realm      BLOB NOT NULL,
	ref_key    BLOB NOT NULL,
	fields     BLOB NOT NULL,
	key_id     BLOB NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (realm, ref_key)
) STRICT;
CREATE INDEX tokens_secrets_order ON tokens_secrets (updated_at DESC, created_at DESC, realm, ref_key);
CREATE INDEX tokens_secrets_key ON tokens_secrets (key_id, realm, ref_key);

-- A row outlives its token: the lineage goes on counting.
CREATE TABLE tokens_tokens (
	realm              BLOB NOT NULL,
	ref_key            BLOB NOT NULL,
	lineage            INTEGER NOT NULL,
	sealed             BLOB,
	key_id             BLOB,
	issued_at          INTEGER,
	expires_at         INTEGER,
	refresh_expires_at INTEGER,
	PRIMARY KEY (realm, ref_key)
) STRICT;
CREATE INDEX tokens_tokens_key ON tokens_tokens (key_id, realm, ref_key);
