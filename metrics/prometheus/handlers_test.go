package prometheus

import (
	"fmt"
	"strings"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// TestEvents: only events that have a handler are a label's value, and not more than
// MaxEvents of them.
func TestEvents(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{Logger: quiet})
	c := NewCollector(srv.Server, Options{MaxEvents: 3})
	srv.UseEvents(c.Events)
	srv.On("panics", func() { panic("on purpose") })
	srv.OnError(func(*sockeye.Socket, string, error) {})
	srv.Once("once", func() {})
	for i := range 4 {
		srv.On(fmt.Sprint("e", i), func() {})
	}
	peer := srv.Connect(t, sockeyetest.Options{})
	for i := range 20 {
		peer.Emit(fmt.Sprint("invented", i))
	}
	for _, event := range []string{"panics", "once", "once", "e0", "e1", "e2", "e3", "e3", "panics"} {
		peer.Emit(event)
	}
	got := values(gather(t, c))
	got.expect(t, map[string]float64{
		`sockeye_handler_duration_seconds{event="panics"}`: 2,
		`sockeye_handler_duration_seconds{event="once"}`:   2, // the second one had none, and the name is known
		`sockeye_handler_duration_seconds{event="e0"}`:     1,
		`sockeye_handler_duration_seconds{event="other"}`:  20 + 4,
	})
	n := 0
	for name := range got {
		if strings.HasPrefix(name, "sockeye_handler_duration_seconds") {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d series; there are 3 events and the others", n)
	}
}

// TestNoEvents: with a negative MaxEvents all events are counted together.
func TestNoEvents(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	c := NewCollector(srv.Server, Options{MaxEvents: -1, MaxNamespaces: -1})
	srv.UseEvents(c.Events)
	srv.On("say", func() {})
	srv.Connect(t, sockeyetest.Options{}).Emit("say")
	values(gather(t, c)).expect(t, map[string]float64{
		`sockeye_handler_duration_seconds{event="other"}`: 1,
		`sockeye_sockets{namespace="other"}`:              1,
	})
}

// TestTwoServers are told apart by their labels.
func TestTwoServers(t *testing.T) {
	reg := prom.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		srv := sockeyetest.NewServer(t, sockeye.Config{})
		if err := reg.Register(NewCollector(srv.Server, Options{Labels: map[string]string{"server": name}})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := reg.Gather(); err != nil {
		t.Fatal(err)
	}
}
