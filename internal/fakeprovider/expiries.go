package fakeprovider

import (
	"net/http"
	"time"
)

// expiries are the forms in which an expiry has been seen. The token can
// be used in all of them.
func expiries() []Answer {
	said := func(name, value string, life time.Duration) Answer {
		body := `{"NAME":"TOKEN","EXPIRY":` + value + `}`
		return Answer{Name: "expiry " + name, Usable: true, Life: life, reply: raw(http.StatusOK, jsonType, body)}
	}
	return []Answer{
		said("text", `"7200"`, twoHours),
		said("text with blanks", `" 7200 "`, twoHours),
		said("decimal", `7200.0`, twoHours),
		said("fraction", `7200.5`, twoHours+500*time.Millisecond),
		said("exponent", `1e3`, 1000*time.Second),
		said("null", `null`, 0),
		said("zero", `0`, 0),
		said("negative", `-5`, 0),
		said("milliseconds", `7200000`, 7_200_000*time.Second),
		said("absurd", `1e20`, 0),
		said("text nan", `"NaN"`, 0),
		said("date", `"2030-01-02 03:04:05"`, 0),
		said("words", `"two hours"`, 0),
		said("empty", `""`, 0),
		said("boolean", `true`, 0),
		said("nested", `{"seconds":7200}`, 0),
		said("beyond int64", `9223372036854775808`, 0),
		{Name: "expiry absent", Usable: true, reply: raw(http.StatusOK, jsonType, `{"NAME":"TOKEN"}`)},
	}
}
