package sqlstore

import (
	"encoding/json"
	"fmt"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// seal seals a value as JSON and says with which key.
func (s *Store) seal(ad tokenstore.AD, v any) (sealed, keyID []byte, err error) {
	plain, err := marshal(v)
	if err != nil {
		return nil, nil, err
	}
	return s.sealPlain(ad, plain)
}

// marshal writes JSON. A value that cannot be written is the caller's fault.
func marshal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, finalError{err}
	}
	return text, nil
}

func (s *Store) sealPlain(ad tokenstore.AD, plain []byte) (sealed, keyID []byte, err error) {
	sealed, err = s.keys.Seal(ad, plain)
	if err != nil {
		return nil, nil, finalError{err}
	}
	id, _ := tokenstore.SealedBy(sealed)
	return sealed, id[:], nil
}

// unseal reads what seal wrote. Its failure is final: trying again is of no use,
// and the database itself works.
func (s *Store) unseal(ad tokenstore.AD, sealed []byte, v any) error {
	plain, err := s.keys.Open(ad, sealed)
	if err != nil {
		return finalError{err}
	}
	if json.Unmarshal(plain, v) != nil {
		return finalError{damagedRow(ad.Column, ad.Ref)}
	}
	return nil
}

// revealed takes the values out of their hiding place, to be sealed: Hidden
// itself would write a mask.
func revealed(fields map[string]realm.Hidden) map[string]string {
	open := make(map[string]string, len(fields))
	for name, value := range fields {
		open[name] = value.Reveal()
	}
	return open
}

// hidden is the reverse of revealed; nil for no fields.
func hidden(open map[string]string) map[string]realm.Hidden {
	if len(open) == 0 {
		return nil
	}
	fields := make(map[string]realm.Hidden, len(open))
	for name, value := range open {
		fields[name] = realm.Hidden(value)
	}
	return fields
}

func damagedRow(column string, ref realm.Ref) error {
	return fmt.Errorf("%s of %s: %w", column, ref, tokenstore.ErrDamaged)
}
