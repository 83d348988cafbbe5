package doctor

import "slices"

// words are the codes of all advice, each with its cases. Whoever says the advice
// in another language needs a text for each of them.
var words = map[string][]string{
	"address_not_listed": {"seen", "unseen"},
	"authorize_first":    {"person", "refresh_token"},
	"call_host":          nil,
	"call_method":        nil,
	"call_no_api":        nil,
	"call_not_found":     nil,
	"call_redirect":      nil,
	"call_unauthorized":  nil,
	"clock_skew":         {"ahead", "behind"},
	"computed_token":     nil,
	"dead_token":         nil,
	"fixed_token":        nil,
	"form_expected":      nil,
	"json_expected":      nil,
	"missing_field":      nil,
	"no_expiry":          {"unsaid", "absent", "alike"},
	"no_renew_on":        nil,
	"not_json":           {"page_not_found", "page_down", "page", "text", "xml", "empty"},
	"other_app":          nil,
	"parent":             {"missing", "refused"},
	"preset":             nil,
	"preset_call":        nil,
	"redirect":           {"named", "unnamed"},
	"refresh_token_dead": {"person", "refresh_token"},
	"same_value":         nil,
	"sandbox_host":       {"differ", "of_sandbox", "of_real"},
	"success_rule":       nil,
	"time_refused":       nil,
	"token_path":         {"alike", "absent"},
	"trial":              nil,
	"unattended":         nil,
	"unit":               {"other", "milliseconds", "seconds"},
	"unpushed":           nil,
	"unread_field":       nil,
	"wait":               nil,
}

// Words are all that advice can be about: a code, or code.case where the code has
// several texts, in alphabetical order.
func Words() []string {
	var list []string
	for code, cases := range words {
		if cases == nil {
			list = append(list, code)
		}
		for _, which := range cases {
			list = append(list, code+"."+which)
		}
	}
	for fault := range faultTexts {
		list = append(list, string(fault), "call_"+string(fault))
	}
	for _, field := range fieldTexts {
		list = append(list, field.code)
	}
	for _, r := range refusals {
		list = append(list, r.code)
	}
	slices.Sort(list)
	return list
}
