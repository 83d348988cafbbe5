package adminapi

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Anybody may send requests that are refused, as fast as they like. Of the log
// lines about them the first of each second are written, and then one of many.
const (
	sampledFirst = 100
	sampledThen  = 1000
)

// Sampled is a log for lines that anybody may cause. It cannot be made to fill
// a disk, nor to hide what else happens.
func Sampled(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, sampledFirst, sampledThen)
	}))
}
