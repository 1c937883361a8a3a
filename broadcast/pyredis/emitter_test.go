package pyredis

import (
	"errors"
	"testing"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// TestEmitterMisuse: the protocol's own events are refused, and namespaces begin with a slash, as
// with the other emitters.
func TestEmitterMisuse(t *testing.T) {
	e := NewEmitter(nil, Options{}) // nothing is sent
	for _, event := range []string{"connect", "disconnect", "connect_error"} {
		if err := e.Emit(t.Context(), event); !errors.Is(err, cluster.ErrReservedEvent) {
			t.Errorf("%s: %v", event, err)
		}
	}
	for given, want := range map[string]string{"": "/", "chat": "/chat", "/chat": "/chat"} {
		if got := e.Of(given).namespace; got != want {
			t.Errorf("%q is %q", given, got)
		}
	}
}
