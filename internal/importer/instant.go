package importer

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// instant reads a time as the column's type says: whole numbers are
// milliseconds or seconds since 1970, DATETIME is in the zone, TIMESTAMP in UTC,
// because the session is. Zero for none: an empty text (NULL), 0, '0000-00-00'.
func (c column) instant(text string, zone *time.Location) (time.Time, error) {
	switch c.kind {
	case "", "bigint", "int", "decimal":
		return epoch(text)
	case "datetime":
		return dateTime(text, zone)
	case "timestamp":
		return dateTime(text, time.UTC)
	}
	return time.Time{}, fmt.Errorf("is of the type %s: a time must be BIGINT (milliseconds or seconds), DATETIME or TIMESTAMP", c.kind)
}

// firstMillis tells the two units of a number apart. In milliseconds, less is
// before March 1973, when no token ended; in seconds, more is after the year
// 5138. An INT holds seconds only.
const firstMillis = 100_000_000_000

func epoch(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("is no whole number of milliseconds or seconds")
	case n == 0:
		return time.Time{}, nil
	case n < firstMillis:
		return time.Unix(n, 0), nil
	}
	return time.UnixMilli(n), nil
}

func dateTime(text string, zone *time.Location) (time.Time, error) {
	if text == "" || strings.HasPrefix(text, "0000-00-00") {
		return time.Time{}, nil
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", text, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("is no date and time")
	}
	return at, nil
}
