-- What is remembered between a request for authorization and its callback.
-- state is the SHA-256 of what the callback brings. Several may be under way
-- for one key.

CREATE TABLE tokens_authorizations (
	state      BLOB NOT NULL PRIMARY KEY,
	realm      BLOB NOT NULL,
	ref_key    BLOB NOT NULL,
	sealed     BLOB NOT NULL,
	key_id     BLOB NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_authorizations_ref ON tokens_authorizations (realm, ref_key);
CREATE INDEX tokens_authorizations_end ON tokens_authorizations (expires_at);

-- accounts is JSON: ids of realms and the keys in them. An id is never given
-- again.
CREATE TABLE tokens_companies (
	id                         INTEGER PRIMARY KEY AUTOINCREMENT,
	taxpayer_id                BLOB NOT NULL UNIQUE,
	company_name               TEXT NOT NULL,
	company_phone              TEXT NOT NULL,
	company_registered_address TEXT NOT NULL,
	bank_name                  TEXT NOT NULL,
	bank_account               TEXT NOT NULL,
	accounts                   TEXT NOT NULL,
	search                     BLOB NOT NULL,
	created_at                 INTEGER NOT NULL,
	updated_at                 INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_companies_order ON tokens_companies (updated_at DESC, id DESC);
