-- What was called an attempt is a claim. An older program that still runs fails
-- at its next statement, and does not misread the new form of the rows. Behind
-- these statements, the state of every row is converted.

--if table tokens_attempts
ALTER TABLE tokens_attempts
	DROP KEY tokens_attempts_open,
	DROP KEY tokens_attempts_key,
	ADD KEY tokens_claims_open (realm, deadline),
	ADD KEY tokens_claims_key (key_id, realm, ref_key),
	RENAME TO tokens_claims;

-- A budget has something to seal, too: the digest of what failed.
--unless column tokens_budgets.sealed
ALTER TABLE tokens_budgets
	ADD COLUMN sealed MEDIUMBLOB,
	ADD COLUMN key_id VARBINARY(8),
	ADD COLUMN version BIGINT NOT NULL DEFAULT 0,
	ADD KEY tokens_budgets_key (key_id, realm);
