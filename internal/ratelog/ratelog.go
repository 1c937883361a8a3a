// Package ratelog writes what peers bring about into a log: a few lines a second
// for each reason, however many peers there are, and how many were left out.
//
//	if log.Debugs() { // the line costs nothing when nobody reads it
//		log.Debug("bad frame", "netpoll: a peer broke the protocol", "err", err)
//	}
package ratelog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// burst is how many lines a reason has at once, perSecond how many in the long run.
	burst     = 10
	perSecond = 1

	// maxReasons bounds the reasons that are told apart. They are constants of the
	// program; who makes them from what peers send shares the last one.
	maxReasons = 256
	otherwise  = "other reasons"
)

// Log is a log with a limit for each reason. Its methods may be called from any
// goroutine; the logger is called under no lock.
type Log struct {
	// Immutable after New.
	logger *slog.Logger
	now    func() time.Time

	// Guarded by mu.
	mu      sync.Mutex
	reasons map[string]*bucket
}

// bucket is what a reason may still write.
type bucket struct {
	tokens     float64
	at         time.Time // when tokens was right
	suppressed int       // lines left out since the last one
}

// New makes a Log that writes to logger.
func New(logger *slog.Logger) *Log { return newLog(logger, time.Now) }

func newLog(logger *slog.Logger, now func() time.Time) *Log {
	return &Log{logger: logger, now: now, reasons: map[string]*bucket{}}
}

// Debugs tells whether anybody reads lines at Debug.
func (l *Log) Debugs() bool { return l.logger.Enabled(context.Background(), slog.LevelDebug) }

// Debug writes a line at Debug unless the reason has had its share.
func (l *Log) Debug(reason, message string, args ...any) {
	l.write(slog.LevelDebug, reason, message, args)
}

// Warn writes a line at Warn unless the reason has had its share.
func (l *Log) Warn(reason, message string, args ...any) {
	l.write(slog.LevelWarn, reason, message, args)
}

// Error writes a line at Error unless the reason has had its share.
func (l *Log) Error(reason, message string, args ...any) {
	l.write(slog.LevelError, reason, message, args)
}

func (l *Log) write(level slog.Level, reason, message string, args []any) {
	ctx := context.Background()
	if !l.logger.Enabled(ctx, level) {
		return
	}
	suppressed, ok := l.take(reason)
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	l.logger.Log(ctx, level, message, args...)
}

// take takes a line from what the reason may write; suppressed is how many were left
// out before it.
func (l *Log) take(reason string) (suppressed int, ok bool) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.reasons[reason]
	if b == nil && len(l.reasons) >= maxReasons {
		reason = otherwise
		b = l.reasons[reason]
	}
	if b == nil {
		b = &bucket{tokens: burst, at: now}
		l.reasons[reason] = b
	}
	b.tokens = min(burst, b.tokens+perSecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.tokens < 1 {
		b.suppressed++
		return 0, false
	}
	b.tokens--
	suppressed, b.suppressed = b.suppressed, 0
	return suppressed, true
}
