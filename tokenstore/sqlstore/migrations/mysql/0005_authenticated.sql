-- Everything of a row is authenticated by its seal. The columns that hold the
-- seals are renamed: an older program that still runs fails at its next
-- statement, and writes no row that does not verify. Behind these statements,
-- the rows are sealed anew, together with what stands beside the seals.

--unless column tokens_realms.seal
ALTER TABLE tokens_realms CHANGE COLUMN shared seal LONGBLOB NOT NULL;

--unless column tokens_secrets.seal
ALTER TABLE tokens_secrets CHANGE COLUMN fields seal LONGBLOB NOT NULL;

--unless column tokens_tokens.seal
ALTER TABLE tokens_tokens CHANGE COLUMN sealed seal MEDIUMBLOB;

--unless column tokens_claims.seal
ALTER TABLE tokens_claims CHANGE COLUMN sealed seal MEDIUMBLOB;

--unless column tokens_budgets.seal
ALTER TABLE tokens_budgets CHANGE COLUMN sealed seal MEDIUMBLOB;

-- A company has nothing to hide; its seal only authenticates.
--unless column tokens_companies.seal
ALTER TABLE tokens_companies
	ADD COLUMN seal VARBINARY(255),
	ADD COLUMN key_id VARBINARY(8),
	ADD COLUMN version BIGINT NOT NULL DEFAULT 0,
	ADD KEY tokens_companies_key (key_id, taxpayer_id);

-- The newest versions of the realms, secrets and companies, so that an older
-- row that is put back is noticed.
CREATE TABLE IF NOT EXISTS tokens_registers (
	name    VARBINARY(8) NOT NULL PRIMARY KEY,
	seal    LONGBLOB NOT NULL,
	key_id  VARBINARY(8) NOT NULL,
	version BIGINT NOT NULL,
	KEY tokens_registers_key (key_id, name)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
