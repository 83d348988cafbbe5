-- A client is sealed as a whole. used_at is for people: no seal covers it, and
-- nothing decides by it.

CREATE TABLE tokens_clients (
	id         BLOB NOT NULL PRIMARY KEY,
	seal       BLOB NOT NULL,
	key_id     BLOB NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	used_at    INTEGER
) STRICT;
CREATE INDEX tokens_clients_key ON tokens_clients (key_id, id);

-- What tells a client: each key, user, subject and prefix of addresses, as a
-- digest. No two clients have the same.
CREATE TABLE tokens_client_names (
	name   BLOB NOT NULL PRIMARY KEY,
	client BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_client_names_client ON tokens_client_names (client);

-- Ids are looked up without regard to case, so that no new one equals another
-- but for that. Behind these statements, secrets and shared fields are bound to
-- the hosts of their realms: see bind.go.

ALTER TABLE tokens_realms ADD COLUMN folded BLOB;
CREATE INDEX tokens_realms_folded ON tokens_realms (folded);
ALTER TABLE tokens_secrets ADD COLUMN folded BLOB;
CREATE INDEX tokens_secrets_folded ON tokens_secrets (realm, folded);
