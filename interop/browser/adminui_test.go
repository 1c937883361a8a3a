package browser

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adminui"
)

const adminPassword = "correct horse"

func adminHash(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(adminPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// startAdmin runs a server that is instrumented.
func startAdmin(t *testing.T, cfg sockeye.Config, opts adminui.Options) (*sockeye.Server, string) {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	srv.On("ask", func(s *sockeye.Socket, e *sockeye.Event) error { return s.Emit("answer", e.Arguments()...) })
	opts.Auth, opts.Logger = adminui.Basic("admin", adminHash(t)), cfg.Logger
	admin, err := adminui.Instrument(srv, opts)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		admin.Close()
		_ = srv.Close()
	})
	return srv, "http://" + addr.String()
}

// node runs a script of interop/clients to its end.
func node(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = "../clients"
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out, errs.String())
	}
	return string(out)
}

// TestAdminWire: an admin gets from this server what it gets from Node's.
func TestAdminWire(t *testing.T) {
	needClients(t)
	for _, c := range []struct {
		name     string
		mode     adminui.Mode
		readOnly bool
	}{{"development", adminui.Development, false}, {"production", adminui.Production, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait for what comes every two seconds
			_, url := startAdmin(t, sockeye.Config{}, adminui.Options{Mode: c.mode, ReadOnly: c.readOnly})
			ours := node(t, "js/admin.mjs", url, adminPassword, string(c.mode))
			readOnly := "false"
			if c.readOnly {
				readOnly = "true"
			}
			theirs := node(t, "js/admin.mjs", startNode(t, "js/admin_node.mjs", adminHash(t), string(c.mode), readOnly), adminPassword, string(c.mode))
			if ours != theirs || strings.Count(ours, "\n") < 8 {
				t.Errorf("Sockeye:\n%s\nNode:\n%s", ours, theirs)
			}
		})
	}
}

// startNode runs a server in Node and returns its address.
func startNode(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("node", args...)
	cmd.Dir = "../clients"
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends with it
		_ = cmd.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

// needClients skips where ci/clients.sh has not been.
func needClients(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../clients/node_modules/@socket.io/admin-ui"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the clients are not installed: ci/clients.sh does that")
	}
}
