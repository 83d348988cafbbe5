-- What the nodes agree on before a call to a provider. state is JSON without
-- anything confidential; sealed holds the rest, and version counts what was
-- sealed. deadline is NULL where no claim is open.

CREATE TABLE IF NOT EXISTS tokens_attempts (
	realm    VARBINARY(255) NOT NULL,
	ref_key  VARBINARY(255) NOT NULL,
	state    MEDIUMTEXT NOT NULL,
	sealed   MEDIUMBLOB,
	key_id   VARBINARY(8),
	version  BIGINT NOT NULL,
	deadline DATETIME(6),
	PRIMARY KEY (realm, ref_key),
	KEY tokens_attempts_open (realm, deadline),
	KEY tokens_attempts_key (key_id, realm, ref_key)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tokens_budgets (
	realm VARBINARY(255) NOT NULL PRIMARY KEY,
	state MEDIUMTEXT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What one of all nodes does once, such as a run of a schedule.
CREATE TABLE IF NOT EXISTS tokens_runs (
	name VARBINARY(255) NOT NULL,
	at   DATETIME(6) NOT NULL,
	PRIMARY KEY (name, at),
	KEY tokens_runs_at (at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
