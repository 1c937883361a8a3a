package interop_test

import (
	"strconv"
	"testing"
)

// TestEvents is what users do all day: events, acknowledgements, rooms,
// broadcasts, namespaces, middleware.
func TestEvents(t *testing.T) {
	p := start(t, "server")
	runs := eachClient(t, "events", p.url())
	p.stop(t, runs["panic-costs-that-event-only"])
}

// TestEnds is how connections end and begin again.
func TestEnds(t *testing.T) {
	p := start(t, "server")
	x := startProxy(t, p.addr)
	eachClient(t, "ends", p.url(), "via=http://"+x.front.Addr().String(), "control="+x.control.Addr().String())
	p.stop(t, 0)
}

// fastHeartbeat are the timings of the public protocol suites.
var fastHeartbeat = []string{"-ping-interval", "300ms", "-ping-timeout", "200ms"}

// TestHeartbeat is that clients are found alive, or not.
func TestHeartbeat(t *testing.T) {
	p := start(t, "server", fastHeartbeat...)
	eachClient(t, "heartbeat", p.url())
	p.stop(t, 0)
}

// TestLimits is what happens at the configured limits.
func TestLimits(t *testing.T) {
	p := start(t, "server", "-max-payload", "10000", "-connect-timeout", "300ms")
	eachClient(t, "limits", p.url())
	p.stop(t, 0)
}

// TestVersions is what all versions of the clients can do, those of Socket.IO 1
// and 2 included.
func TestVersions(t *testing.T) {
	p := start(t, "server", "-eio3")
	x := startProxy(t, p.addr)
	for _, version := range []string{"socket.io-client", "socket.io-client-3", "socket.io-client-2", "socket.io-client-1"} {
		for _, mode := range modes {
			t.Run(version+"/"+mode, func(t *testing.T) {
				record(t, version, mode)
				need(t, nodeModules)
				drive(t, append(clients[0].command("compat", p.url(), mode), "client="+version,
					"via=http://"+x.front.Addr().String(), "control="+x.control.Addr().String()),
					expected(t, "compat", "js", mode))
			})
		}
	}
	for _, mode := range modes {
		t.Run("java/"+mode, func(t *testing.T) {
			record(t, "java", mode)
			need(t, javaLib)
			drive(t, []string{
				"java", "-cp", javaLib + "/*", "clients/java/Driver.java", "compat", p.url(), mode,
				"via=http://" + x.front.Addr().String(), "control=" + x.control.Addr().String(),
			},
				expected(t, "compat", "java", mode))
		})
	}
	p.stop(t, 0)
}

// TestMsgpack is the packets of parser/msgpack, with JavaScript's parser of them
// and Python's.
func TestMsgpack(t *testing.T) {
	p := start(t, "msgpack")
	x := startProxy(t, p.addr)
	for _, mode := range modes {
		t.Run("js/"+mode, func(t *testing.T) {
			record(t, "js-msgpack", mode)
			need(t, nodeModules)
			drive(t, append(clients[0].command("compat", p.url(), mode), "parser=socket.io-msgpack-parser",
				"via=http://"+x.front.Addr().String(), "control="+x.control.Addr().String()),
				expected(t, "compat", "js", mode))
		})
		t.Run("python/"+mode, func(t *testing.T) {
			record(t, "python-msgpack", mode)
			need(t, venv)
			drive(t, append(pythonCommand("sync")("msgpack", p.url(), mode), "serializer=msgpack"), expected(t, "msgpack", "python", mode))
		})
	}
	p.stop(t, 0)
}

// TestCompressed is TestEvents with permessage-deflate on every message, both
// ways.
func TestCompressed(t *testing.T) {
	p := start(t, "server", "-deflate")
	js := clients[0]
	panics := 0
	for _, mode := range []string{"websocket", "upgrade"} {
		t.Run(mode, func(t *testing.T) {
			need(t, js.needs)
			drive(t, append(js.command("events", p.url(), mode), "deflate=1"), expected(t, "events", js.language, mode))
			panics++
		})
	}
	p.stop(t, panics)
}

// TestEngine is the bare Engine.IO echo.
func TestEngine(t *testing.T) {
	p := start(t, "server", "-eio-path", "/engine.io/")
	eachClient(t, "engine", p.url())
	p.stop(t, 0)
}

// TestStopped has the server's process stand still, end and be replaced under
// connected clients.
func TestStopped(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			js := clients[0]
			need(t, js.needs)
			first := start(t, "server", fastHeartbeat...)
			x := startProxy(t, first.addr)
			successor := make(chan *process, 1)
			go func() {
				<-first.done
				second, err := launch("server", fastHeartbeat...)
				if err == nil {
					x.setTarget(second.addr)
				} else {
					t.Error(err)
				}
				successor <- second
			}()
			drive(t, append(js.command("stopped", first.url(), mode),
				"via=http://"+x.front.Addr().String(), "pid="+strconv.Itoa(first.cmd.Process.Pid)),
				expected(t, "stopped", js.language, mode))
			_ = first.cmd.Process.Kill() // in case no case ended it: it does no harm after the end
			first.ended(t, 0)
			if second := <-successor; second != nil {
				second.stop(t, 0)
			}
		})
	}
}
