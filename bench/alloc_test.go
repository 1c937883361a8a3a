package bench

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestEchoAllocs: an echoed event costs at most two allocations, both of the
// handler's own: the string that it gets, and the interface that holds it for
// Emit. The client is a child process.
func TestEchoAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop things at random under the race detector")
	}
	const events = 50_000
	for name, cfg := range map[string]sockeye.Config{"mailbox": {}, "inline": {Inline: true}} {
		for _, form := range []string{"emit", "ack", "struct"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				addr, srv := serve(t, cfg)
				srv.On("ack", func(text string) string { return text })
				srv.On("struct", func(s *sockeye.Socket, p point) { _ = s.Emit("struct", p) })
				echo(t, addr, form, 1000) // pools have their first size
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				echo(t, addr, form, events)
				runtime.ReadMemStats(&after)
				per := float64(after.Mallocs-before.Mallocs) / events
				t.Logf("%.2f allocations an event", per)
				if form != "struct" && per > 2.25 { // those of connecting, and of the child, are in it
					t.Errorf("%.2f allocations an event", per)
				}
			})
		}
	}
}

// TestBroadcastAllocs: a broadcast allocates for itself, nothing for each of
// those who get it. They are in a child process, but for the last.
func TestBroadcastAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop things at random under the race detector")
	}
	const members, broadcasts = 1_000, 50
	addr, srv := serve(t, sockeye.Config{})
	hold(t, addr, members-1)
	last := wiretest.Connect(t, addr)
	emit := func() {
		for range broadcasts {
			_ = srv.To("all").Emit("news", "hello, all of you")
		}
		for range broadcasts {
			last.Expect(`42["news","hello, all of you"]`)
		}
	}
	emit() // pools have their first size
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	emit()
	runtime.ReadMemStats(&after)
	per := float64(after.Mallocs-before.Mallocs) / broadcasts
	t.Logf("%.1f allocations a broadcast, reading by the last included", per)
	if per > members/20 {
		t.Errorf("%.1f allocations a broadcast to %d", per, members)
	}
}

type point struct{ X, Y int }

var echoForms = map[string]struct{ send, want string }{
	"emit":   {`42["echo","hello, how are you?"]`, `42["echo","hello, how are you?"]`},
	"ack":    {`427["ack","hello, how are you?"]`, `437["hello, how are you?"]`},
	"struct": {`42["struct",{"X":1,"Y":2}]`, `42["struct",{"X":1,"Y":2}]`},
}

// echo has a child process send n events and wait for their answers.
func echo(t *testing.T, addr, form string, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestEchoClient$")
	cmd.Env = append(os.Environ(), "SOCKEYE_ECHO="+addr, "SOCKEYE_ECHO_FORM="+form, "SOCKEYE_ECHO_N="+strconv.Itoa(n))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "echoed\n") {
		t.Fatalf("child: %v: %s", err, out)
	}
}

// TestEchoClient is the child process of echo.
func TestEchoClient(t *testing.T) {
	addr := os.Getenv("SOCKEYE_ECHO")
	if addr == "" {
		return // not a test of its own
	}
	n, _ := strconv.Atoi(os.Getenv("SOCKEYE_ECHO_N"))
	form := echoForms[os.Getenv("SOCKEYE_ECHO_FORM")]
	w := wiretest.Connect(t, addr)
	for sent := 0; sent < n; sent += 100 {
		for range 100 {
			w.Write(form.send)
		}
		for range 100 {
			w.Expect(form.want)
		}
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(out, "echoed")
	_ = out.Flush()
}
