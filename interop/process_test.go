package interop_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// process is a server under test.
type process struct {
	// Immutable after start.
	cmd  *exec.Cmd
	addr string        // where it listens
	done chan struct{} // closed when it has ended

	// Immutable after done.
	err    error
	stats  serverStats
	output wiretest.Output
}

// serverStats is the part of the server's last line that every test checks.
type serverStats struct {
	HandlerPanics int
	Net           struct{ CallbackPanics int }
}

// start starts a server and waits until it listens. It is killed at the end of
// the test if it still runs.
func start(t *testing.T, name string, flags ...string) *process {
	t.Helper()
	p, err := launch(name, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, p.output.String())
		}
	})
	return p
}

// launch is start for goroutines that are not the test's own.
func launch(name string, flags ...string) (*process, error) {
	p := &process{done: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(binaries, name), append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
	p.cmd.Stderr = &p.output
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	listening := make(chan string, 1)
	go p.follow(stdout, listening)
	select {
	case p.addr = <-listening:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended at once: %w\n%s", name, p.err, p.output.String())
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		return nil, fmt.Errorf("%s does not listen\n%s", name, p.output.String())
	}
}

// follow reads the process's lines until its end.
func (p *process) follow(stdout io.Reader, listening chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			listening <- addr
		}
		if stats, ok := strings.CutPrefix(lines.Text(), "stats "); ok {
			if err := json.Unmarshal([]byte(stats), &p.stats); err != nil {
				fmt.Fprintln(&p.output, "stats line:", err)
			}
		}
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

// stop ends the server in good order: it must end by itself, without an error
// or a data race (which makes its exit code 66), and must not have panicked.
func (p *process) stop(t *testing.T, handlerPanics int) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("the server has ended before: %v", err)
	}
	p.ended(t, handlerPanics)
}

// ended waits for the end of a server that has been told to end.
func (p *process) ended(t *testing.T, handlerPanics int) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not end")
	}
	if p.err != nil {
		t.Errorf("the server ended with %v", p.err)
	}
	if p.stats.HandlerPanics != handlerPanics || p.stats.Net.CallbackPanics != 0 {
		t.Errorf("the server counted %d panics of handlers, want %d, and %d panics of its own, want 0",
			p.stats.HandlerPanics, handlerPanics, p.stats.Net.CallbackPanics)
	}
	if strings.Contains(p.output.String(), "DATA RACE") {
		t.Error("the server has a data race")
	}
}

// url is where clients find the server.
func (p *process) url() string { return "http://" + p.addr }
