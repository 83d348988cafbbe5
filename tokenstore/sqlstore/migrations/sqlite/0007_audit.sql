-- The audit: one chain of entries for each process that writes. An entry is
-- stored as its text, which its digest covers together with the digest of the
-- entry before it. The columns beside it are for queries; they repeat what is
-- in the text.

CREATE TABLE tokens_audit (
	node       BLOB NOT NULL,
	seq        INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	act        BLOB NOT NULL,
	realm      BLOB NOT NULL,
	ref_key    BLOB NOT NULL,
	actor_kind BLOB NOT NULL,
	actor_id   BLOB NOT NULL,
	result     BLOB NOT NULL,
	entry      TEXT NOT NULL,
	digest     BLOB NOT NULL,
	PRIMARY KEY (node, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_audit_time ON tokens_audit (at);
CREATE INDEX tokens_audit_realm ON tokens_audit (realm, ref_key, at);
CREATE INDEX tokens_audit_actor ON tokens_audit (actor_id, at);

-- What is sealed of the audit: the key of the digests, the list of the chains,
-- and where each of them begins and ends.
CREATE TABLE tokens_audit_heads (
	kind    BLOB NOT NULL,
	node    BLOB NOT NULL,
	seal    BLOB NOT NULL,
	key_id  BLOB NOT NULL,
	version INTEGER NOT NULL,
	PRIMARY KEY (kind, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_audit_heads_key ON tokens_audit_heads (key_id, kind, node);
