package presets

import "github.com/caddy-tokens/caddy-tokens/realm"

// Categories of the catalogue, in the order of its pages.
var Categories = []string{
	CategoryMessaging, CategoryCommerce, CategoryCloud, CategoryAI, CategoryDeveloper, CategoryBusiness, CategorySocial,
}

// The categories.
const (
	CategoryMessaging = "messaging"
	CategoryCommerce  = "commerce"
	CategoryCloud     = "cloud"
	CategoryAI        = "ai"
	CategoryDeveloper = "developer"
	CategoryBusiness  = "business"
	CategorySocial    = "social"
)

// Preset is one file of the catalogue, and how the API shows it: every list is
// there, be it empty.
type Preset struct {
	// Name is the file's, without its extension. It is what a realm writes after
	// preset.
	Name string `json:"name"`
	// Title is the provider's name for people.
	Title Text `json:"title"`
	// Category is one of Categories.
	Category string `json:"category"`
	// Fields are those that a secret needs, in the order in which people fill
	// them in: every one that the config reads, and no other.
	Fields []Field `json:"fields"`
	// Docs are the provider's pages, the one about the token first.
	Docs []string `json:"docs"`
	// Notes are sentences for the page: how long a token lives, what a new one
	// does to the one before, limits, address lists.
	Notes Notes `json:"notes"`
	// Errors are refusals of the provider that people meet, with what to do.
	Errors []KnownError `json:"errors"`
	// Unverified names what no page of the provider confirms. Where an answer in
	// the golden file is assumed, it stands here.
	Unverified []Text `json:"unverified"`
	// Example is a call to try the preset with. It needs no right beyond the
	// usual ones, and changes nothing. Presets without inject have none.
	Example *Example `json:"example,omitempty"`
	// Config is what the realm says where a stored one is silent.
	Config realm.Config `json:"config"`
}

// Text is a text in the languages of the pages.
type Text struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

// In returns the text in a language, "en" or "zh".
func (t Text) In(language string) string {
	if language == "zh" {
		return t.Zh
	}
	return t.En
}

// Notes are sentences in the languages of the pages, one for one.
type Notes struct {
	En []string `json:"en"`
	Zh []string `json:"zh"`
}

// In returns the sentences in a language, "en" or "zh".
func (n Notes) In(language string) []string {
	if language == "zh" {
		return n.Zh
	}
	return n.En
}

// Field is one field of a secret.
type Field struct {
	Name string `json:"name"`
	// Required fields must be in the secret, or in the realm's shared ones. Not
	// required are those with a default, parent, which names the key of the
	// secret whose token the recipes read, and those that only token_push reads.
	Required bool `json:"required"`
	// Confidential fields are credentials; the others are names and ids.
	Confidential bool `json:"confidential"`
	// Help says where the value is found, on one line.
	Help Text `json:"help"`
	// Shared fields belong to the app and not to an account: a realm has them in
	// shared, as a rule.
	Shared bool `json:"shared,omitempty"`
	// Pushed fields are tickets that the provider sends again and again: the
	// config names them in volatile.
	Pushed bool `json:"pushed,omitempty"`
	// Default is the value where nobody says another: it stands in the shared
	// fields of the config.
	Default string `json:"default,omitempty"`
}

// KnownError is a refusal of the provider, by its code, and what to do about it.
type KnownError struct {
	Code string `json:"code"`
	En   string `json:"en"`
	Zh   string `json:"zh"`
}

// Advice is what to do, in the languages of the pages.
func (e KnownError) Advice() Text { return Text{En: e.En, Zh: e.Zh} }

// Example is a request to the provider's API.
type Example struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	// Header has what the provider wants beside the token, such as a version.
	Header      map[string]string `json:"header,omitempty"`
	ContentType string            `json:"content_type,omitempty"`
	Body        string            `json:"body,omitempty"`
}

// fillLists makes the lists that the file leaves out.
func (p *Preset) fillLists() {
	orEmpty(&p.Fields)
	orEmpty(&p.Docs)
	orEmpty(&p.Notes.En)
	orEmpty(&p.Notes.Zh)
	orEmpty(&p.Errors)
	orEmpty(&p.Unverified)
}

func orEmpty[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
