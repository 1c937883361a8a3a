package interop_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestLoadTool: cmd/sockeye-load, against Node's server and Flask's.
func TestLoadTool(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "sockeye-load")
	if out, err := exec.Command("go", "build", "-o", tool, "../cmd/sockeye-load").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for name, command := range map[string][]string{
		"Node":  {"node", "clients/js/load-server.mjs"},
		"Flask": {venv + "/python", "clients/python/load_server.py"},
	} {
		t.Run(name, func(t *testing.T) {
			need(t, nodeModules)
			need(t, venv)
			url := "http://" + startPeer(t, command)
			for _, transport := range []string{"websocket", "polling"} {
				t.Run(transport, func(t *testing.T) {
					run := func(args ...string) (r loadResult) {
						t.Helper()
						args = append(args, "-quiet", "-json", "-", "-transport", transport, "-connections", "10", "-duration", "500ms", url)
						cmd := exec.Command(tool, args...)
						out, err := cmd.Output()
						if err := json.Unmarshal(out, &r); err != nil {
							t.Fatalf("%v: %v\n%s", args, err, out)
						}
						if _, ended := err.(*exec.ExitError); err != nil && !ended {
							t.Fatal(err)
						}
						r.code = cmd.ProcessState.ExitCode()
						return r
					}
					good := func(r loadResult) loadResult {
						t.Helper()
						if r.code != 0 || r.Errors != 0 || r.Most != 10 {
							t.Errorf("%+v", r)
						}
						return r
					}
					good(run("-ramp", "50"))
					if r := good(run("-mode", "echo", "-namespace", "/custom")); r.Received < 10 {
						t.Errorf("%+v", r)
					}
					if r := good(run("-mode", "broadcast", "-event", "bcast", "-rate", "10")); r.Sent < 3 || r.Received != 10*r.Sent {
						t.Errorf("%+v", r)
					}
					if r := good(run("-mode", "broadcast", "-event", "others", "-rate", "10")); r.Sent < 3 || r.Received != 9*r.Sent {
						t.Errorf("%+v", r)
					}
					if r := good(run("-mode", "churn")); r.Joined <= 10 {
						t.Errorf("%+v", r)
					}
					r := run("-namespace", "/refused")
					if r.code != 1 || r.Errors != 10 || len(r.Kinds) != 1 || !strings.Contains(r.Kinds[0].Text, "not today") {
						t.Errorf("%+v", r)
					}
				})
			}
		})
	}
}

// loadResult is a part of what the tool's JSON has.
type loadResult struct {
	code     int
	Errors   int64
	Most     int   `json:"connections_most"`
	Joined   int64 `json:"connects_made"`
	Sent     int64
	Received int64
	Kinds    []struct {
		Kind, Text string
		Count      int64
	} `json:"errors_by_kind"`
}

// startPeer starts a server that prints its port, and ends with its input.
func startPeer(t *testing.T, command []string) (addr string) {
	t.Helper()
	var errs wiretest.Output
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = &errs
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
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(errs.String())
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if port := strings.TrimSpace(lines.Text()); port != "" && strings.Trim(port, "0123456789") == "" {
			addr = net.JoinHostPort("127.0.0.1", port)
			break
		}
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return addr
		}
	}
	t.Fatalf("it does not listen: %s", errs.String())
	return ""
}
