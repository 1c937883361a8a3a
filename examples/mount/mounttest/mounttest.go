// Package mounttest tests the examples beside it, with real clients on every transport.
package mounttest

import (
	"context"
	_ "embed"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

//go:embed client.cjs
var js string

//go:embed client.py
var python string

const limit = 30 * time.Second

// Example is one of them.
type Example struct {
	Register func(srv *sockeye.Server)
	Serve    func(srv *sockeye.Server, ln net.Listener) error
	Bridged  bool // no connection moves to a loop
}

// HTTP serves what routes makes, with net/http.
func HTTP(routes func(srv *sockeye.Server) http.Handler) func(srv *sockeye.Server, ln net.Listener) error {
	return func(srv *sockeye.Server, ln net.Listener) error {
		return (&http.Server{Handler: routes(srv), ReadHeaderTimeout: limit}).Serve(ln)
	}
}

// Run runs the example with every client and transport.
func Run(t *testing.T, e Example) {
	srv, err := sockeye.New(sockeye.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e.Register(srv)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = e.Serve(srv, ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		_ = ln.Close()
	})
	url := "http://" + ln.Addr().String()
	for _, transports := range []string{"polling", "websocket", "polling+websocket"} {
		t.Run("go/"+transports, func(t *testing.T) { withGo(t, url, transports) })
		t.Run("js/"+transports, func(t *testing.T) {
			folder := clients(t, "node_modules/socket.io-client")
			run(t, "node", script(t, "client.cjs", js), folder, url, transports)
		})
		t.Run("python/"+transports, func(t *testing.T) {
			folder := clients(t, ".venv/bin/python")
			run(t, filepath.Join(folder, ".venv/bin/python"), script(t, "client.py", python), url, transports)
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := client.Dial(ctx, url, client.Config{Transports: []string{"websocket"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if st := srv.Stats().Net; (st.Bridged > 0) != e.Bridged || st.Mounted == 0 {
		t.Errorf("%d connections came by the handler, %d of %d are bridged", st.Mounted, st.Bridged, st.Open)
	}
}

// withGo also asks for another path on the connections that polling has used.
func withGo(t *testing.T, url, transports string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	own := &http.Transport{MaxConnsPerHost: 2}
	defer own.CloseIdleConnections()
	web := &http.Client{Transport: own}
	c, err := client.Dial(ctx, url, client.Config{Transports: strings.Split(transports, "+"), HTTPClient: web, NoReconnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []string{"x", strings.Repeat("y", 100_000)} {
		answer, err := c.Call(ctx, "echo", want)
		var got string
		if err != nil || answer.Decode(&got) != nil || got != want {
			t.Fatalf("%d bytes of %d came back, %v", len(got), len(want), err)
		}
	}
	for transports == "polling+websocket" && c.Transport() != "websocket" {
		if ctx.Err() != nil {
			t.Fatal("it was not upgraded")
		}
		time.Sleep(time.Millisecond)
	}
	if transports == "polling" {
		_ = c.Close() // its connections are free
	}
	for range 4 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "hello" {
			t.Errorf("another path: %s %q, %v", resp.Status, body, err)
		}
	}
}

// clients is the folder where ci/clients.sh installs clients; it has something there.
func clients(t *testing.T, something string) (folder string) {
	folder, err := filepath.Abs("../../../interop/clients")
	if err == nil {
		_, err = os.Stat(filepath.Join(folder, something))
	}
	if err != nil {
		if os.Getenv("SOCKEYE_INTEROP") != "" {
			t.Fatal(err)
		}
		t.Skip("not installed: ci/clients.sh does it")
	}
	return folder
}

func script(t *testing.T, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, command ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
