-- Each statement may run again: MySQL commits every one of them by itself, and
-- a start may be interrupted between two. Ids and keys are bytes. What is
-- sealed says in key_id which key sealed it, so that a start can look for them
-- quickly.

CREATE TABLE IF NOT EXISTS tokens_keys (
	id         VARBINARY(8) NOT NULL PRIMARY KEY,
	sealed     VARBINARY(255) NOT NULL,
	created_at DATETIME(6) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tokens_realms (
	id         VARBINARY(255) NOT NULL PRIMARY KEY,
	config     LONGTEXT NOT NULL,
	logic_code MEDIUMTEXT NOT NULL,
	comment    MEDIUMTEXT NOT NULL,
	search     MEDIUMBLOB NOT NULL,
	shared     LONGBLOB NOT NULL,
	key_id     VARBINARY(8) NOT NULL,
	version    BIGINT NOT NULL,
	created_at DATETIME(6) NOT NULL,
	updated_at DATETIME(6) NOT NULL,
	KEY tokens_realms_order (updated_at, created_at, id),
	KEY tokens_realms_key (key_id, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tokens_secrets (
	realm      VARBINARY(255) NOT NULL,
	ref_key    VARBINARY(255) NOT NULL,
	fields     LONGBLOB NOT NULL,
	key_id     VARBINARY(8) NOT NULL,
	version    BIGINT NOT NULL,
	created_at DATETIME(6) NOT NULL,
	updated_at DATETIME(6) NOT NULL,
	PRIMARY KEY (realm, ref_key),
	KEY tokens_secrets_order (updated_at, created_at, realm, ref_key),
	KEY tokens_secrets_key (key_id, realm, ref_key)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A row outlives its token: the lineage goes on counting.
CREATE TABLE IF NOT EXISTS tokens_tokens (
	realm              VARBINARY(255) NOT NULL,
	ref_key            VARBINARY(255) NOT NULL,
	lineage            BIGINT NOT NULL,
	sealed             MEDIUMBLOB,
	key_id             VARBINARY(8),
	issued_at          DATETIME(6),
	expires_at         DATETIME(6),
	refresh_expires_at DATETIME(6),
	PRIMARY KEY (realm, ref_key),
	KEY tokens_tokens_key (key_id, realm, ref_key)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row for each write, in its transaction: it tells the other nodes what to
-- forget, and a node that lost its connection whether its COMMIT was done.
CREATE TABLE IF NOT EXISTS tokens_changes (
	id       BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	write_id BINARY(16) NOT NULL,
	realm    VARBINARY(255) NOT NULL,
	ref_key  VARBINARY(255) NOT NULL,
	at       DATETIME(6) NOT NULL,
	UNIQUE KEY tokens_changes_write (write_id),
	KEY tokens_changes_at (at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
