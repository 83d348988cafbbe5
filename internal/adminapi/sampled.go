package adminapi

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Anybody may send what is refused, and as fast as it can: of the lines about
// that, so many a second are written, and then each so many-th.
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
