-- What was called an attempt is a claim. An older program that still runs fails
-- at its next statement, and does not misread the new form of the rows. Behind
-- these statements, the state of every row is converted.

ALTER TABLE tokens_attempts RENAME TO tokens_claims;
DROP INDEX tokens_attempts_open;
DROP INDEX tokens_attempts_key;
CREATE INDEX tokens_claims_open ON tokens_claims (realm, deadline);
CREATE INDEX tokens_claims_key ON tokens_claims (key_id, realm, ref_key);

-- A budget has something to seal, too: the digest of what failed.
ALTER TABLE tokens_budgets ADD COLUMN sealed BLOB;
ALTER TABLE tokens_budgets ADD COLUMN key_id BLOB;
ALTER TABLE tokens_budgets ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tokens_budgets_key ON tokens_budgets (key_id, realm);
