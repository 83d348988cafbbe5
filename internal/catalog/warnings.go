package catalog

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// warnings say what is odd about a secret that was saved: fields that the realm needs
// and that are missing, and others that nothing reads. They have no value, and not its
// length.
func (r *Realm) warnings(s realm.Secret) []string {
	missing := r.Program.MissingFields(s)
	var list []string
	for _, name := range missing {
		list = append(list, "fields."+name+": is missing; without it there is no token")
	}
	for _, name := range r.Program.UnreadFields(s) {
		list = append(list, "fields."+name+": nothing in the realm reads it"+spelling.DidYouMean(name, r.Program.SecretFields()))
	}
	var unfit *realm.FieldError
	if _, err := r.Bind(s); len(missing) == 0 && errors.As(err, &unfit) {
		list = append(list, "the secret does not fit the realm: "+unfit.Error())
	}
	return list
}

const (
	// maxSurveyed is how many of a realm's secrets are tried out when the realm is
	// saved.
	maxSurveyed = 1_000
	// surveyTime is how long they are: a private key of each may have to sign, and
	// whoever saved the realm waits for the answer.
	surveyTime = time.Second
)

// whyUnfit is the first reason why a secret cannot be used with the realm; "" for none.
func (r *Realm) whyUnfit(s realm.Secret) string {
	if missing := r.Program.MissingFields(s); len(missing) > 0 {
		return "fields." + missing[0] + ": is missing"
	}
	var unfit *realm.FieldError
	if _, err := r.Bind(s); errors.As(err, &unfit) {
		return unfit.Error()
	}
	return ""
}

// unfitWarning says how many of the stored secrets that were looked at do not fit, and
// names the first one.
func unfitWarning(unfit, looked, stored int, first string) []string {
	if unfit == 0 {
		return nil
	}
	of := fmt.Sprint(looked)
	if looked < stored {
		of = "the newest " + of
	}
	return []string{fmt.Sprintf("%d of %s secrets cannot be used with the realm, such as %s", unfit, of, first)}
}
