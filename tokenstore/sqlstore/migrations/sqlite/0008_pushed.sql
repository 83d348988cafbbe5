-- Values that were pushed to the fields of secrets: one row for each secret. The
-- names of the fields, the values and their ends are sealed together.

CREATE TABLE tokens_pushed (
	realm      BLOB NOT NULL,
	ref_key    BLOB NOT NULL,
	seal       BLOB NOT NULL,
	key_id     BLOB NOT NULL,
	version    INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (realm, ref_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_pushed_key ON tokens_pushed (key_id, realm, ref_key);
