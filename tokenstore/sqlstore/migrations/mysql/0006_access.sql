-- A client is sealed as a whole. used_at is for people: no seal covers it, and
-- nothing decides by it.

CREATE TABLE IF NOT EXISTS tokens_clients (
	id         VARBINARY(255) NOT NULL PRIMARY KEY,
	seal       LONGBLOB NOT NULL,
	key_id     VARBINARY(8) NOT NULL,
	version    BIGINT NOT NULL,
	created_at DATETIME(6) NOT NULL,
	updated_at DATETIME(6) NOT NULL,
	used_at    DATETIME(6),
	KEY tokens_clients_key (key_id, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What tells a client: each key, user, subject and prefix of addresses, as a
-- digest. No two clients have the same.
CREATE TABLE IF NOT EXISTS tokens_client_names (
	name   VARBINARY(32) NOT NULL PRIMARY KEY,
	client VARBINARY(255) NOT NULL,
	KEY tokens_client_names_client (client)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A change may be one of a client: "=" and its id, or "=" alone for all of them.
-- The column has no default, so that an older program that still runs fails at
-- its next write: it would take the note away that clients are required.
--unless column tokens_changes.client
ALTER TABLE tokens_changes ADD COLUMN client VARBINARY(256) NOT NULL;

-- Ids are looked up without regard to case, so that no new one equals another
-- but for that. Behind these statements, secrets and shared fields are bound to
-- the hosts of their realms: see bind.go.

--unless column tokens_realms.folded
ALTER TABLE tokens_realms
	ADD COLUMN folded VARBINARY(255),
	ADD KEY tokens_realms_folded (folded);

--unless column tokens_secrets.folded
ALTER TABLE tokens_secrets
	ADD COLUMN folded VARBINARY(255),
	ADD KEY tokens_secrets_folded (realm, folded);
