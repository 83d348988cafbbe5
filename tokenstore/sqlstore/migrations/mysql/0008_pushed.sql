-- Values that were pushed to the fields of secrets: one row for each secret. The
-- names of the fields, the values and their ends are sealed together.

CREATE TABLE IF NOT EXISTS tokens_pushed (
	realm      VARBINARY(255) NOT NULL,
	ref_key    VARBINARY(255) NOT NULL,
	seal       LONGBLOB NOT NULL,
	key_id     VARBINARY(8) NOT NULL,
	version    BIGINT NOT NULL,
	updated_at DATETIME(6) NOT NULL,
	PRIMARY KEY (realm, ref_key),
	KEY tokens_pushed_key (key_id, realm, ref_key)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
