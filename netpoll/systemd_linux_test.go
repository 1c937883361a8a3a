package netpoll_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// activated is the child that systemd would start: it tells what it has been given, and
// serves it until its input ends.
func activated() {
	all, names, err := netpoll.SystemdListeners()
	fmt.Println("error:", err)
	for i, ln := range all {
		fmt.Println("listener:", names[i], ln.Addr().Network(), ln.Addr())
	}
	again, _, err := netpoll.SystemdListeners()
	fmt.Println("again:", len(again), err, os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID")+os.Getenv("LISTEN_FDNAMES"))
	out, err := exec.Command("sh", "-c", "ls -l /proc/$$/fd").Output()
	for _, ln := range all {
		f, _ := ln.(interface{ File() (*os.File, error) }).File()
		socket, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", f.Fd()))
		_ = f.Close()
		fmt.Println("a child has it:", strings.Contains(string(out), socket), err)
	}
	g, err := netpoll.New(netpoll.Config{Loops: 1, Logger: quiet}, &mine{})
	if err != nil {
		panic(err)
	}
	for _, ln := range all {
		if _, err := g.Serve(ln, false); err != nil {
			fmt.Println("serve:", err)
		}
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestMain(m *testing.M) {
	if os.Getenv("SOCKEYE_ACTIVATED") != "" {
		activated()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// activate starts the child as systemd does: the sockets from descriptor 3 on, and
// LISTEN_PID, which a shell knows that becomes the child.
func activate(t *testing.T, pid, env string, files ...*os.File) (out *bufio.Reader) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "LISTEN_PID="+pid+" exec "+os.Args[0])
	cmd.Env = append(os.Environ(), append(strings.Fields(env), "SOCKEYE_ACTIVATED=1")...)
	cmd.ExtraFiles, cmd.Stderr = files, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		kill.Stop()
	})
	return bufio.NewReader(stdout)
}

// said is what the child has said until it was ready.
func said(t *testing.T, out *bufio.Reader) (lines []string) {
	t.Helper()
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", lines, err)
		}
		if line = strings.TrimSpace(line); line == "ready" {
			return lines
		}
		lines = append(lines, line)
	}
}

// TestSystemdListeners: a child gets sockets as systemd passes them on, and serves who
// has connected before it was there.
func TestSystemdListeners(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	var files []*os.File
	for _, ln := range []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), unix.(*net.UnixListener)} {
		f, err := ln.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	early := dial(t, tcp.Addr().String())
	out := activate(t, "$$", "LISTEN_FDS=2 LISTEN_FDNAMES=web:local", files...)
	lines := said(t, out)
	want := []string{
		"error: <nil>", "listener: web tcp " + tcp.Addr().String(), "listener: local unix " + path,
		"again: 0 <nil>", "a child has it: false <nil>", "a child has it: false <nil>",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	local, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	_ = local.SetDeadline(time.Now().Add(limit))
	for _, c := range []net.Conn{early, dial(t, tcp.Addr().String()), local} {
		send(t, c, "%s", get("/mine/a"))
		if _, body := response(t, bufio.NewReader(c), "GET"); body != "/mine/a|" {
			t.Errorf("%q", body)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// TestSystemdFaults: what systemd passes on that cannot be served, and what is not for
// this process.
func TestSystemdFaults(t *testing.T) {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	datagrams, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	accepted := os.NewFile(uintptr(fds[0]), "accepted")
	defer accepted.Close()
	defer syscall.Close(fds[1])
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, c := range []struct {
		pid, env string
		files    []*os.File
		want     []string
	}{
		{"$$", "LISTEN_FDS=1", []*os.File{datagrams}, []string{"descriptor 3", "no stream socket"}},
		{"$$", "LISTEN_FDS=1", []*os.File{accepted}, []string{`"unknown"`, "Accept=no"}},
		{"$$", "LISTEN_FDS=2 LISTEN_FDNAMES=a", []*os.File{null}, []string{`3 of systemd, "a"`, "non-socket"}},
		{"$$", "LISTEN_FDS=-1", nil, []string{"LISTEN_FDS is"}},
		{"$$", "LISTEN_FDS=999999", nil, []string{"LISTEN_FDS is"}},
		{"1", "LISTEN_FDS=1", []*os.File{datagrams}, []string{"error: <nil>"}},
		{"$$", "LISTEN_FDNAMES=a", nil, []string{"error: <nil>"}},
		{"$$", "LISTEN_FDS=0", nil, []string{"error: <nil>"}},
	} {
		lines := strings.Join(said(t, activate(t, c.pid, c.env, c.files...)), "\n")
		for _, want := range c.want {
			if !strings.Contains(lines, want) || strings.Contains(lines, "listener:") {
				t.Errorf("%s: %s\nwant %q", c.env, lines, want)
			}
		}
	}
}
