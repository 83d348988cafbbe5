package realm

import (
	"strconv"
	"testing"
)

// TestLeadIsWrittenAsItWasRead: 7% was served back as 7.000000000000001%.
func TestLeadIsWrittenAsItWasRead(t *testing.T) {
	for percent := 1; percent <= 50; percent++ {
		for _, text := range []string{strconv.Itoa(percent) + "%", strconv.Itoa(percent-1) + ".5%"} {
			lead, err := ParseLead(text)
			if err != nil || lead.String() != text {
				t.Errorf("%s became %s, %v", text, lead, err)
			}
		}
	}
}
