package sqlstore

import (
	"errors"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
)

// sessionVars are set on every connection.
//   - Strict mode: a value that does not fit is an error and not cut.
//   - wait_timeout: a client that was stopped inside a transaction loses it
//     after this time, so that the feed of changes knows when nothing can
//     come late any more (see feedWindow).
//   - innodb_lock_wait_timeout: the default of 50 s outlives every caller.
var sessionVars = map[string]string{
	"sql_mode":                 "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
	"time_zone":                "'+00:00'",
	"wait_timeout":             "60",
	"innodb_lock_wait_timeout": "5",
}

// parseDSN reads a DSN and sets what correctness needs. The driver's errors
// are not passed on: some quote the part that they stumbled over.
func parseDSN(dsn string, log *zap.Logger) (*mysql.Config, error) {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("mysql: the DSN is not readable: write user:password@tcp(host:3306)/schema, with special characters of parameters %-escaped")
	}
	if c.DBName == "" {
		return nil, errors.New("mysql: the DSN names no schema: write user:password@tcp(host:3306)/schema")
	}
	if err := c.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, err
	}
	c.ParseTime, c.Loc = true, time.UTC
	c.ClientFoundRows = true // an update that changes nothing is still a match
	// One round trip instead of three; safe with utf8mb4.
	c.InterpolateParams = true
	c.MultiStatements, c.AllowAllFiles = false, false
	c.CheckConnLiveness = true
	c.Logger = quietLogger{log: func(text string) { log.Debug("mysql driver", zap.String("says", text)) }}
	setDefault(&c.Timeout, 5*time.Second)
	setDefault(&c.ReadTimeout, 30*time.Second)
	setDefault(&c.WriteTimeout, 30*time.Second)
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	for name, value := range sessionVars {
		c.Params[name] = value
	}
	return c, nil
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}
