// Package grant knows how to obtain one token. Compile turns a realm into a
// Program: templates parsed, answer paths checked, the grant expanded into
// recipes. A Program bound to a secret can fetch a token from the provider
// with one bounded HTTP call, or with the two of an authorization, and place
// it.
//
// There is one engine for every token request there is: a standard grant is
// a constructor of recipes (one file each), not a second engine. The package
// never sees a store.
package grant
