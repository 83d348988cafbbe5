package grant

import "time"

// Report tells what a dry run did, with every confidential value masked. What is
// derived from it, such as advice, is found by others: it holds facts alone.
type Report struct {
	Request  ReportRequest   `json:"request"`
	Response *ReportResponse `json:"response,omitempty"`
	// Token tells that one was extracted, and from where; never its value.
	Token *ReportToken `json:"token,omitempty"`
	// Error says why there is no token.
	Error    string   `json:"error,omitempty"`
	Kind     Kind     `json:"kind,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Class is what to do about the failure; "" where there is none.
	Class string `json:"class,omitempty"`
	// Fault says more about a call that got no answer, or that was not made.
	Fault Fault `json:"fault,omitempty"`
	// Found tells of each value that the realm reads whether the answer has it.
	Found []ReportValue `json:"found,omitempty"`
	// Expiry tells how the end of the token was found.
	Expiry *ReportExpiry `json:"expiry,omitempty"`
	// Rule is what made a refusal of the answer.
	Rule *ReportRule `json:"rule,omitempty"`
	// Fields are those of the secret that look mistyped.
	Fields []FieldFault `json:"fields,omitempty"`
	// Refreshed: a refresh token was spent, because the realm can do nothing else.
	Refreshed bool `json:"refreshed,omitempty"`
	// Saved: the token is the live one from now on.
	Saved bool `json:"saved,omitempty"`
}

// ReportRequest is the token request as it was sent.
type ReportRequest struct {
	Method string            `json:"method"`
	URL    string            `json:"url"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
}

// ReportResponse is what came back: never the body, only its size and the
// names at its top level.
type ReportResponse struct {
	Status          int      `json:"status"`
	ContentType     string   `json:"content_type,omitempty"`
	Bytes           int      `json:"bytes"`
	Names           []string `json:"names,omitempty"`
	ProviderCode    string   `json:"provider_code,omitempty"`
	ProviderMessage string   `json:"provider_message,omitempty"`
	DurationMS      int64    `json:"duration_ms"`
	// Form is what the body is, whatever its media type says.
	Form Form `json:"form,omitempty"`
	// Location is the host that a redirect leads to.
	Location string `json:"location,omitempty"`
	// ClockSkewMS is how far the provider's clock is ahead of ours. It has the
	// precision of its Date, which is a second.
	ClockSkewMS *int64 `json:"clock_skew_ms,omitempty"`
}

// ReportToken is what was extracted.
type ReportToken struct {
	Length       int        `json:"length"`
	ExpiresAt    *time.Time `json:"expires_at"`
	ExpiresIn    *int64     `json:"expires_in"` // milliseconds
	RefreshToken bool       `json:"refresh_token"`
}

// beginReport makes sure that there is a report to fill in.
func (c *call) beginReport() {
	if c.report = c.request.Report; c.report == nil {
		c.report = new(Report)
	}
}

// reportFailure notes in the report why there is no token.
func (c *call) reportFailure(failed *Error) *Error {
	c.report.Error, c.report.Kind, c.report.Class = failed.Error(), failed.Kind, failed.Class.String()
	return failed
}

// describe fills in what came back.
func (c *call) describe(a *answer, took time.Duration) {
	if c.request.Report == nil {
		return
	}
	r := &c.recipe.reading
	root, _ := parseDocument(a.body, r.contentType)
	said, redact := wordsOf(root), c.redactor(a, root)
	response := &ReportResponse{
		Status: a.status, ContentType: redact.text(a.header.Get("Content-Type")),
		Bytes: len(a.body), DurationMS: took.Milliseconds(),
		ProviderCode: redact.text(said.code), ProviderMessage: redact.text(said.message),
	}
	const most = 50
	response.Names = memberNames(root, redact, most)
	response.Form = formOf(a.body, root)
	response.Location = redact.text(c.redirectHost(a))
	response.ClockSkewMS = c.clockSkew(a.header, took)
	c.report.Response, c.report.Found = response, c.found(a, root, redact)
}

// reportToken describes a result at the instant now.
func reportToken(r Result, now time.Time) *ReportToken {
	t := &ReportToken{Length: len(r.Token.Access), RefreshToken: r.Token.Refresh != ""}
	if end := r.Token.ExpiresAt; !end.IsZero() {
		left := max(end.Sub(now).Milliseconds(), 0)
		t.ExpiresAt, t.ExpiresIn = &end, &left
	}
	return t
}
