-- What is remembered between a request for authorization and its callback.
-- state is the SHA-256 of what the callback brings. Several may be under way
-- for one key.

CREATE TABLE IF NOT EXISTS tokens_authorizations (
	state      BINARY(32) NOT NULL PRIMARY KEY,
	realm      VARBINARY(255) NOT NULL,
	ref_key    VARBINARY(255) NOT NULL,
	sealed     MEDIUMBLOB NOT NULL,
	key_id     VARBINARY(8) NOT NULL,
	expires_at DATETIME(6) NOT NULL,
	KEY tokens_authorizations_ref (realm, ref_key),
	KEY tokens_authorizations_end (expires_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- accounts is JSON: ids of realms and the keys in them.
CREATE TABLE IF NOT EXISTS tokens_companies (
	id                         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	taxpayer_id                VARBINARY(255) NOT NULL,
	company_name               VARCHAR(500) NOT NULL,
	company_phone              VARCHAR(500) NOT NULL,
	company_registered_address VARCHAR(500) NOT NULL,
	bank_name                  VARCHAR(500) NOT NULL,
	bank_account               VARCHAR(500) NOT NULL,
	accounts                   MEDIUMTEXT NOT NULL,
	search                     MEDIUMBLOB NOT NULL,
	created_at                 DATETIME(6) NOT NULL,
	updated_at                 DATETIME(6) NOT NULL,
	UNIQUE KEY tokens_companies_taxpayer (taxpayer_id),
	KEY tokens_companies_order (updated_at, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
