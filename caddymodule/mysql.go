package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/go-sql-driver/mysql"
)

// mysqlDSN returns the data source name with the environment filled in, and
// the database that it names without any credential. An error never quotes
// the name, which holds a password.
func mysqlDSN(text string) (dsn, server string, err error) {
	cfg, err := mysqlConfig(text)
	if err != nil {
		return "", "", err
	}
	if cfg.DBName == "" {
		return "", "", errors.New("the dsn names no database")
	}
	return cfg.FormatDSN(), fmt.Sprintf("%s(%s)/%s", cfg.Net, cfg.Addr, cfg.DBName), nil
}

func mysqlConfig(text string) (*mysql.Config, error) {
	if text == "" {
		return mysqlFromEnvironment()
	}
	dsn, err := resolve(text, nil)
	if err != nil {
		return nil, err
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("the dsn is not of the form user:password@tcp(host:3306)/database")
	}
	return cfg, nil
}

// mysqlFromEnvironment reads the variables that the earlier service knows.
// The port is 3306 where none is set, and a user may have no password.
func mysqlFromEnvironment() (*mysql.Config, error) {
	cfg := mysql.NewConfig()
	cfg.Net = "tcp"
	var host string
	for _, v := range []struct {
		name string
		to   *string
	}{{"MYSQL_HOST", &host}, {"MYSQL_USERNAME", &cfg.User}, {"MYSQL_DATABASE", &cfg.DBName}} {
		if *v.to = os.Getenv(v.name); *v.to == "" {
			return nil, fmt.Errorf("mysql without a dsn needs the environment variable %s", v.name)
		}
	}
	cfg.Passwd = os.Getenv("MYSQL_PASSWORD")
	cfg.Addr = net.JoinHostPort(host, cmp.Or(os.Getenv("MYSQL_PORT"), "3306"))
	return cfg, nil
}
