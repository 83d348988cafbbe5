package doctor

import (
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
)

// lookAtPreparation says why no request was made, and what a token tells that
// nobody was asked for.
func (f *findings) lookAtPreparation() {
	switch f.Report.Fault { //nolint:exhaustive // the others are of the connection
	case grant.FaultParent:
		f.addCase("parent", "missing", nil, "This token is requested with the token of another credential, and that one is missing. Try that one out first: `error` names it.")
	case grant.FaultUnpushed:
		f.add("unpushed", "The recipe needs a value that the provider sends from time to time, and none has come. Register the address of `token_push` with the provider, "+
			"or push the value: POST /api/secret/{realm}/{key}/push.")
	case grant.FaultNotAuthorized:
		which, text := f.authorizeText()
		f.addCase("authorize_first", which, nil, text)
	case grant.FaultFixed:
		f.add("fixed_token", "The token is a fixed one: there is nothing to request. Send a call to see whether the API accepts it: `--call GET /path`.")
	case grant.FaultUnattended:
		f.add("unattended", "The server itself logs in for this realm, and a new login would end the authorization that there is. "+
			"POST /{realm}-account/request-access-token makes one.")
	case grant.FaultTrial:
		f.add("trial", "This realm can only refresh. Save the config, and try it without `config`: a trial would spend the refresh token and lose the new one.")
	case grant.FaultWaiting:
		f.add("wait", "The provider was asked a moment ago, and the proxy leaves it alone for a while. Try again in a moment.")
	}
	switch {
	case f.Report.Kind == grant.KindDeadParent:
		f.addCase("parent", "refused", nil, "The provider refused the token of another credential that was sent, also after it was renewed. Try that one out first, with a call: `--call GET /path`.")
	case f.Report.Token != nil && f.Report.Request.URL == "":
		f.add("computed_token", "The token is computed here, and no provider was asked. Send a call to see whether the API accepts it: `--call GET /path`.")
	}
}

// authorizeText says how a person authorizes, or how a first refresh token is
// entered where there is no such way, and names the case.
func (f *findings) authorizeText() (which, text string) {
	if f.Config.Authorize != nil || f.Config.Grant != nil && f.Config.Grant.Name == "authorization_code" {
		return "person", "A person has to authorize first. GET /api/secret/" + f.Ref.Realm + "/" + f.Ref.Key + "/authorize answers with the link to open; the token comes with the callback."
	}
	return "refresh_token", "There is no refresh token that is good. Get one from the provider, and enter it in the secret's field refresh_token."
}
