-- What is agreed on before a call to a provider. state is JSON without
-- anything confidential; sealed holds the rest, and version counts what was
-- sealed. deadline is NULL where no claim is open.

CREATE TABLE tokens_attempts (
	realm    BLOB NOT NULL,
	ref_key  BLOB NOT NULL,
	state    TEXT NOT NULL,
	sealed   BLOB,
	key_id   BLOB,
	version  INTEGER NOT NULL,
	deadline INTEGER,
	PRIMARY KEY (realm, ref_key)
) STRICT;
CREATE INDEX tokens_attempts_open ON tokens_attempts (realm, deadline);
CREATE INDEX tokens_attempts_key ON tokens_attempts (key_id, realm, ref_key);

CREATE TABLE tokens_budgets (
	realm BLOB NOT NULL PRIMARY KEY,
	state TEXT NOT NULL
) STRICT;

-- What is done once, such as a run of a schedule.
CREATE TABLE tokens_runs (
	name BLOB NOT NULL,
	at   INTEGER NOT NULL,
	PRIMARY KEY (name, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_runs_at ON tokens_runs (at);
