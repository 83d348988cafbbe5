package account

import (
	"context"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// lookup finds the secret of an account: the company's one of this realm, or
// the realm's default where no company is named. Blanks around a taxpayer id
// are no part of it. Errors: CodeRealmNotFound, CodeCompanyNotFound,
// CodeSecretNotFound (neither a default nor an account of this realm).
func (s *Service) lookup(ctx context.Context, realmID, taxpayerID string) (realm.Ref, error) {
	byDefault, err := s.catalog.DefaultKey(ctx, realmID) // which tells, too, whether there is such a realm
	if err != nil {
		return realm.Ref{}, err
	}
	if taxpayerID == "" {
		if byDefault == "" {
			return realm.Ref{}, noAccount("the realm has no default_key: say whose account is meant, with taxpayerId")
		}
		return realm.Ref{Realm: realmID, Key: byDefault}, nil
	}
	taxpayerID = strings.TrimSpace(taxpayerID)
	if err := validTaxpayerID("taxpayerId", taxpayerID); err != nil {
		return realm.Ref{}, err
	}
	c, err := s.catalog.Company(ctx, taxpayerID)
	if err != nil {
		return realm.Ref{}, err
	}
	key, ok := c.Accounts[realmID]
	if !ok {
		return realm.Ref{}, noAccount("the company has no account of this realm")
	}
	return realm.Ref{Realm: realmID, Key: key}, nil
}

func noAccount(detail string) *realm.Error {
	return &realm.Error{Code: realm.CodeSecretNotFound, Status: http.StatusNotFound, Detail: detail}
}
