package fakeprovider

import (
	"html/template"
	"net/http"
	"strings"
)

// servePage lets a person log in and consent: a form, and what becomes of it.
// The arguments of the request stay in the query of its URL.
func (p *Provider) servePage(w http.ResponseWriter, r *http.Request, d door) {
	p.mu.Lock()
	answer := p.page(r, d)
	p.mu.Unlock()
	answer.write(w, r)
}

// page decides on a page. The caller holds the lock.
func (p *Provider) page(r *http.Request, d door) reply {
	now := p.opts.Now()
	v, wrong, fault := p.read(d, r.URL.Query())
	if r.Method == http.MethodGet {
		p.book.add(Event{At: now, Kind: Opened, Ref: v.ref})
	}
	switch {
	case wrong != "":
		p.book.add(Event{At: now, Kind: Denied, Ref: v.ref, Reason: string(wrong)})
		return htmlReply(http.StatusBadRequest, "<h1>This application is not known.</h1>")
	case fault != "":
		return p.deny(v, "", fault, now)
	case r.Method == http.MethodGet:
		return form(r, "")
	}
	sent, refusal := postedForm(r)
	if refusal != "" {
		return htmlReply(http.StatusBadRequest, "<h1>This is not our form.</h1>")
	}
	user := sent.Get("username")
	password, known := p.users[user]
	switch {
	case !known || password != sent.Get("password"):
		p.book.add(Event{At: now, Kind: Denied, Ref: v.ref, User: user, Reason: string(BadUser)})
		return form(r, "The user name or the password is wrong.")
	case sent.Get("consent") != "allow":
		return p.deny(v, user, "access_denied", now)
	}
	return found(p.back(v, map[string]string{"code": p.newCode(d, v, user, now)}))
}

var formPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<title>Log in</title>
<p>{{.Message}}</p>
<form method="post" action="{{.Action}}">
<input name="username"><input name="password" type="password">
<button name="consent" value="allow">Allow</button><button name="consent" value="deny">Deny</button>
</form>
`))

func form(r *http.Request, message string) reply {
	var b strings.Builder
	page := struct{ Action, Message string }{r.URL.RequestURI(), message}
	if err := formPage.Execute(&b, page); err != nil { // a strings.Builder takes everything
		panic(err)
	}
	return htmlReply(http.StatusOK, b.String())
}

func htmlReply(status int, body string) reply {
	return reply{status: status, raw: []byte(body)}.with("Content-Type", "text/html; charset=utf-8")
}
