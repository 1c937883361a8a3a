// Package pgtest starts real PostgreSQL servers for tests.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Server is a PostgreSQL server.
type Server struct {
	Addr string // 127.0.0.1 and a port

	dir string
	cmd *exec.Cmd
}

// limit bounds a start.
const limit = 60 * time.Second

// program finds one of PostgreSQL's programs. It skips the test if it is missing; with
// CI=true it fails.
func program(t testing.TB, name string) string {
	t.Helper()
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // Debian's
	if path, err := exec.LookPath(name); err == nil {
		list = append(list, path)
	}
	if len(list) > 0 {
		return slices.Max(list)
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(name + " is missing")
	}
	t.Skip(name + " is missing")
	return ""
}

// command runs one of PostgreSQL's programs, which root may not.
func command(t testing.TB, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return cmd
}

// Start starts a server with an empty database, for as long as the test runs.
func Start(t testing.TB) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest") // the test's own folder is not PostgreSQL's user's to enter
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	initdb := command(t, dir, "initdb", "-D", filepath.Join(dir, "data"), "-U", "test", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	for end := time.Now().Add(limit); ; { // somebody may take the port
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.Addr = l.Addr().String()
		_ = l.Close()
		if err = s.start(t); err == nil {
			return s
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// start starts it, and waits until it takes connections.
func (s *Server) start(t testing.TB) error {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	s.cmd = command(t, s.dir, "postgres", "-D", filepath.Join(s.dir, "data"), "-p", port, "-h", "127.0.0.1", "-k", "", "-F",
		"-c", "shared_buffers=16MB", "-c", "autovacuum=off", "-c", "max_connections=100")
	var out bytes.Buffer
	s.cmd.Stderr = &out
	s.cmd.WaitDelay = 5 * time.Second
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			s.cmd = nil
			return fmt.Errorf("postgres has ended: %s", out.String())
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		c, err := pgx.Connect(ctx, s.URL())
		if err == nil {
			_ = c.Close(ctx)
		}
		cancel()
		if err == nil {
			return nil
		}
	}
	s.Kill()
	return errors.New("postgres does not start")
}

// URL is its database.
func (s *Server) URL() string { return "postgres://test@" + s.Addr + "/postgres?sslmode=disable" }

// Kill ends the server with SIGKILL; those of its processes that have connections find
// out and end.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // start waits for it
		s.cmd = nil
	}
}

// Restart starts it again, at the same address, with what it had.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		err := s.start(t)
		if err == nil {
			return
		}
		if time.Now().After(end) { // until then processes of before may still be there
			t.Fatal(err)
		}
	}
}

// Cut is Kill or Restart, as adaptertest wants it.
func (s *Server) Cut(t testing.TB, down bool) {
	t.Helper()
	if down {
		s.Kill()
	} else {
		s.Restart(t)
	}
}

// Pool is a new pool on the server, or on what stands in front of it, which is closed when
// the test ends.
func (s *Server) Pool(t testing.TB, addr string) *pgxpool.Pool {
	t.Helper()
	if addr == "" {
		addr = s.Addr
	}
	pool, err := pgxpool.New(t.Context(), "postgres://test@"+addr+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
