package netpoll_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// TestConfigFaults: New tells every fault of its configuration, and panics for none.
func TestConfigFaults(t *testing.T) {
	_, err := netpoll.New(netpoll.Config{
		Loops: -1, MaxConns: -1, MaxBodyBytes: -1, MaxMessageBytes: math.MaxInt, MaxQueuedBytes: -1, MaxMemory: -1, MaxMessagesPerSecond: 70_000,
		MaxPostedJobs: -1, MaxFallback: -1, MaxHeadBytes: -1, MinRate: -1, CloseTimeout: -1, PerAddress: netpoll.AddressLimits{Conns: -1, HandshakesPerSecond: -1, MessagesPerSecond: -1},
	}, &app{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range strings.Fields("Loops MaxConns MaxBodyBytes MaxMessageBytes MaxQueuedBytes MaxMemory MaxMessagesPerSecond MaxPostedJobs " +
		"MaxFallback MaxHeadBytes MinRate CloseTimeout PerAddress.Conns PerAddress.HandshakesPerSecond PerAddress.MessagesPerSecond") {
		if !strings.Contains(err.Error(), "Config."+field+" ") {
			t.Errorf("%s is missing in: %v", field, err)
		}
	}
	if all, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); !ok || len(all.Unwrap()) != 15 {
		t.Errorf("want 15 faults: %v", err)
	}
}

// TestContradictingLimits: a limit that another one makes useless is a fault, and so
// is a time without a unit.
func TestContradictingLimits(t *testing.T) {
	for field, cfg := range map[string]netpoll.Config{
		"MaxRequestLineBytes": {MaxRequestLineBytes: 4096, MaxHeadBytes: 1024},
		"MaxQueuedBytes":      {MaxQueuedBytes: 4096, MaxMemory: 1024},
		"MaxBodyBytes":        {MaxBodyBytes: 4096, MaxMemory: 1024},
		"MaxMessageBytes":     {MaxMessageBytes: 4096, MaxMemory: 1024},
		"HeadTimeout":         {HeadTimeout: 10},
		"BodyTimeout":         {BodyTimeout: 30},
		"WriteTimeout":        {WriteTimeout: 60},
		"IdleTimeout":         {IdleTimeout: 75},
		"CloseTimeout":        {CloseTimeout: 5},
	} {
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "netpoll: Config."+field+" is ") {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, cfg := range []netpoll.Config{{}, {MaxHeadBytes: 1024}, {HeadTimeout: -1, IdleTimeout: time.Millisecond}, {MaxMemory: 1 << 20}} {
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
}
