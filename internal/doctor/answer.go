package doctor

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// lookAtToken says why there is no token in an answer.
func (f *findings) lookAtToken() {
	if !f.isRefused() {
		return
	}
	answer := f.response()
	switch {
	case f.Report.Kind == grant.KindRedirect:
		to, which := answer.Location, "named"
		if to == "" {
			to, which = "another address", "unnamed"
		}
		f.addCase("redirect", which, values{"host": answer.Location}, "The provider redirects to ", to, ". Redirects are not followed, because they would carry the secret along. "+
			"Write the address that the provider documents: http instead of https, a missing or surplus slash at the end, or an old host look so; a login page means a wrong URL.")
		return
	case answer.Form == grant.FormHTML:
		which, text := pageText(answer.Status)
		f.addCase("not_json", which, nil, text)
		return
	case answer.Form == grant.FormText && f.Report.Kind == grant.KindBadResponse && f.Config.ContentType != realm.ContentText:
		f.addCase("not_json", "text", nil, "The answer is plain text, not JSON. If all of it is the token, write content_type text; otherwise the URL is wrong.")
		return
	case (answer.Form == grant.FormXML || answer.Form == grant.FormEmpty) && f.Report.Kind == grant.KindBadResponse:
		which := map[grant.Form]string{grant.FormXML: "xml", grant.FormEmpty: "empty"}[answer.Form]
		f.addCase("not_json", which, nil, "The answer is ", map[string]string{"xml": "XML", "empty": "empty"}[which],
			", and JSON is expected. Is the URL the one of the token endpoint? Some providers answer with JSON only if an argument or the header Accept asks for it.")
		return
	}
	f.lookAtPath()
}

// pageText says what a page in place of a token means, and names the case.
func pageText(status int) (which, text string) {
	text = "The answer is an HTML page and no JSON. "
	switch {
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return "page_not_found", text + "The host is there, but not this path or method: compare url and method with the provider's page."
	case status >= http.StatusInternalServerError:
		return "page_down", text + "With this status it is an error page of a server in front of the provider: the provider may be down."
	}
	return "page", text + "It comes from a wrong URL (the page of a web site), from a login page, or from a proxy between here and the provider."
}

// lookAtPath finds a token_path that leads to no token.
func (f *findings) lookAtPath() {
	for _, v := range f.Report.Found {
		isToken := v.What == "token" && f.response().ProviderCode == "" && f.response().Status < http.StatusBadRequest
		switch {
		case !isToken || v.Found && v.Type != "object" && v.Type != "list":
		case len(v.Alike) > 0:
			alike := strings.Join(v.Alike, ", ")
			f.addCase("token_path", "alike", values{"path": v.At, "names": alike},
				"token_path ", v.At, " does not lead to a token. By their names, these may hold it: ", alike, ".")
		case !v.Found && len(f.response().Names) > 0:
			names := strings.Join(f.response().Names, ", ")
			f.addCase("token_path", "absent", values{"path": v.At, "names": names}, "The answer has no ", v.At, ". At its top level it has: ", names, ".")
		}
	}
	if rule := f.Report.Rule; rule != nil && rule.List == "success" && rule.At != "" && f.response().ProviderCode == "" {
		for _, v := range f.Report.Found {
			if v.What == "token" && v.Found {
				f.addCase("success_rule", "", values{"path": rule.At}, "The answer holds a token, and the success rule for ", rule.At, " does not match it. Is the rule right?")
			}
		}
	}
}

// lookAtExpiry finds a token whose end is read wrong.
func (f *findings) lookAtExpiry() {
	x := f.Report.Expiry
	if x == nil || f.Report.Token == nil {
		return
	}
	life := time.Duration(0)
	if x.ExpiresIn != nil {
		life = time.Duration(*x.ExpiresIn) * time.Millisecond
	}
	switch {
	case x.OtherUnit != "":
		f.addCase("unit", "other", values{"unit": x.Unit, "other": x.OtherUnit}, "The expiry makes no sense as ", unitNames[x.Unit], ". It looks like ", unitNames[x.OtherUnit], ": write expires_in_unit ", x.OtherUnit, ".")
	case x.From == "answer" && x.Unit == realm.UnitSeconds && isLikelyMilliseconds(life):
		days, meant := strconv.Itoa(int(life.Hours()/24)), plainDuration(life/1000)
		f.addCase("unit", "milliseconds", values{"days": days, "meant": meant},
			"The token would live ", days, " days. If the provider says ", meant, ", the expiry is in milliseconds: write expires_in_unit ms.")
	case x.From == "answer" && x.Unit == realm.UnitMilliseconds && life > 0 && life < time.Minute:
		meant := plainDuration(life * 1000)
		f.addCase("unit", "seconds", values{"life": life.String(), "meant": meant},
			"The token would live ", life.String(), ". If the provider says ", meant, ", the expiry is in seconds: write expires_in_unit s.")
	case x.From == "default":
		f.adviseNoExpiry()
	}
}

// unitNames are the units in words.
var unitNames = map[string]string{
	realm.UnitSeconds: "seconds", realm.UnitMilliseconds: "milliseconds", realm.UnitEpoch: "seconds since 1970",
	realm.UnitEpochMillis: "milliseconds since 1970", realm.UnitRFC3339: "a date", realm.UnitJWT: "a JWT",
}

// isLikelyMilliseconds reports whether a life that was read as seconds may have
// been meant as milliseconds: as such it would be one of whole minutes, and as
// seconds it is one of weeks. Lives of 30, 60, 90 or 180 days are not taken for
// it, because a thousandth of them has no whole minutes.
func isLikelyMilliseconds(life time.Duration) bool {
	const week = 7 * 24 * time.Hour
	thousandth := life / 1000
	return life > week && thousandth >= time.Minute && thousandth%time.Minute == 0
}

// plainDuration writes a duration as people do: 2 h, 90 min, 7200 s.
func plainDuration(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// adviseNoExpiry says what to do about an answer that does not tell the end of the
// token.
func (f *findings) adviseNoExpiry() {
	which, v := "unsaid", values{}
	text := "The realm does not say how long a token lives, and 5 minutes are assumed. "
	for _, value := range f.Report.Found {
		if value.What != "expires_in" || value.Found {
			continue
		}
		if value.At != "" {
			which, v["path"] = "absent", value.At
			text = "The answer has no " + value.At + ", and 5 minutes are assumed. "
		}
		if len(value.Alike) > 0 {
			v["names"] = strings.Join(value.Alike, ", ")
			f.addCase("no_expiry", "alike", v, text, "By its name, this may be the expiry: write expires_in_path ", strings.Join(value.Alike, ", or "), ".")
			return
		}
	}
	f.addCase("no_expiry", which, v, text, "If the answer tells it nowhere, write the lifetime that the provider documents: lifetime 2h.")
}

// maxSkew is how far clocks may be apart.
const maxSkew = time.Minute

// clockWords are refusals of a signature or a JWT because of its time.
var clockWords = regexp.MustCompile(`(?i)\b(iat|nbf|exp)\b|timestamp|time ?stamp|clock|request (has )?expired|requesttimetooskewed|时间戳|过期的请求`)

// lookAtClock finds a clock that is wrong, here or there.
func (f *findings) lookAtClock() {
	answer := f.response()
	if answer.ClockSkewMS != nil {
		skew := (time.Duration(*answer.ClockSkewMS) * time.Millisecond).Round(time.Second)
		which, side := "ahead", "ahead of"
		if skew < 0 {
			which, side, skew = "behind", "behind", -skew
		}
		if skew > maxSkew {
			f.addCase("clock_skew", which, values{"skew": skew.String()}, "The provider's clock is ", skew.String(), " ", side,
				" that of this machine. Signatures and JWTs are refused then, and tokens end at the wrong time: set this clock by NTP.")
			return
		}
	}
	if f.isRefused() && clockWords.MatchString(answer.ProviderMessage) {
		f.add("time_refused", "The provider refuses the time in the request (a timestamp, or iat and exp of a JWT). "+
			"The clocks agree as far as the answer shows: is the time in the unit and the zone that the provider wants, and exp not too far ahead?")
	}
}
