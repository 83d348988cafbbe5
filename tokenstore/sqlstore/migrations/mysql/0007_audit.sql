-- The audit: one chain of entries for each process that writes. An entry is
-- stored as its text, which its digest covers together with the digest of the
-- entry before it. The columns beside it are for queries; they repeat what is
-- in the text.

CREATE TABLE IF NOT EXISTS tokens_audit (
	node       VARBINARY(255) NOT NULL,
	seq        BIGINT NOT NULL,
	at         DATETIME(6) NOT NULL,
	act        VARBINARY(64) NOT NULL,
	realm      VARBINARY(255) NOT NULL,
	ref_key    VARBINARY(255) NOT NULL,
	actor_kind VARBINARY(64) NOT NULL,
	actor_id   VARBINARY(255) NOT NULL,
	result     VARBINARY(64) NOT NULL,
	entry      TEXT NOT NULL,
	digest     VARBINARY(32) NOT NULL,
	PRIMARY KEY (node, seq),
	KEY tokens_audit_time (at),
	KEY tokens_audit_realm (realm, ref_key, at),
	KEY tokens_audit_actor (actor_id, at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What is sealed of the audit: the key of the digests, the list of the chains,
-- and where each of them begins and ends.
CREATE TABLE IF NOT EXISTS tokens_audit_heads (
	kind    VARBINARY(8) NOT NULL,
	node    VARBINARY(255) NOT NULL,
	seal    LONGBLOB NOT NULL,
	key_id  VARBINARY(8) NOT NULL,
	version BIGINT NOT NULL,
	PRIMARY KEY (kind, node),
	KEY tokens_audit_heads_key (key_id, kind, node)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
