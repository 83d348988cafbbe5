package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-tokens/caddy-tokens/internal/reload"
)

// newestApp is the app of the configuration that was started last.
var newestApp reload.Newest[App]

// poolLog is the log of what outlives a configuration. The logs of a
// configuration are closed with it, so every line goes to those that are open
// now.
var poolLog = zap.New(newestCore{})

// newestCore hands every line to the newest log.
type newestCore struct{ fields []zapcore.Field }

func (c newestCore) core() zapcore.Core {
	log := caddy.Log().Named(appName)
	if app := newestApp.Load(); app != nil {
		log = app.log
	}
	return log.Core().With(c.fields)
}

// Enabled is part of zapcore.Core.
func (c newestCore) Enabled(l zapcore.Level) bool { return c.core().Enabled(l) }

// With is part of zapcore.Core.
func (c newestCore) With(fields []zapcore.Field) zapcore.Core {
	return newestCore{append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check is part of zapcore.Core. The line is written by the newest core itself.
func (c newestCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.LoggerName == "" {
		e.LoggerName = appName
	}
	return c.core().Check(e, ce)
}

// Write is part of zapcore.Core.
func (c newestCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return c.core().Write(e, fields)
}

// Sync is part of zapcore.Core.
func (c newestCore) Sync() error { return c.core().Sync() }
