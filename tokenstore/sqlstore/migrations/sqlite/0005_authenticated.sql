-- Everything of a row is authenticated by its seal. The columns that hold the
-- seals are renamed: an older program that still runs fails at its next
-- statement, and writes no row that does not verify. Behind these statements,
-- the rows are sealed anew, together with what stands beside the seals.

ALTER TABLE tokens_realms RENAME COLUMN shared TO seal;
ALTER TABLE tokens_secrets RENAME COLUMN fields TO seal;
ALTER TABLE tokens_tokens RENAME COLUMN sealed TO seal;
ALTER TABLE tokens_claims RENAME COLUMN sealed TO seal;
ALTER TABLE tokens_budgets RENAME COLUMN sealed TO seal;

-- A company has nothing to hide; its seal only authenticates.
ALTER TABLE tokens_companies ADD COLUMN seal BLOB;
ALTER TABLE tokens_companies ADD COLUMN key_id BLOB;
ALTER TABLE tokens_companies ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tokens_companies_key ON tokens_companies (key_id, taxpayer_id);

-- The newest versions of the realms, secrets and companies, so that an older
-- row that is put back is noticed.
CREATE TABLE tokens_registers (
	name    BLOB NOT NULL PRIMARY KEY,
	seal    BLOB NOT NULL,
	key_id  BLOB NOT NULL,
	version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_registers_key ON tokens_registers (key_id, name);
