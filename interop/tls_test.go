package interop_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// The TLS of the event loops, with the TLS of others: OpenSSL's, alone and in curl,
// Node.js and Python, Java's, and Go's. Each is run by all that it can choose.

// tlsChoice is what a client is told to speak.
type tlsChoice struct {
	name    string // as OpenSSL and Java name a suite of TLS 1.3
	version uint16
	suite   uint16 // 0 for any
}

var tlsChoices = []tlsChoice{
	{"TLS_AES_128_GCM_SHA256", tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256},
	{"TLS_AES_256_GCM_SHA384", tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384},
	{"TLS_CHACHA20_POLY1305_SHA256", tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256},
	{"TLSv1.2", tls.VersionTLS12, 0},
}

// eachTLS runs a test by each choice, against a server that must see that choice and
// no fault.
func eachTLS(t *testing.T, run func(t *testing.T, x *tlsServer, by tlsChoice)) {
	t.Helper()
	for _, by := range tlsChoices {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			x := startTLS(t, nil)
			run(t, x, by)
			x.check(t, by)
		})
	}
}

// check compares the server's handshakes with what the client was to choose.
func (x *tlsServer) check(t *testing.T, by tlsChoice) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.shakes) == 0 {
		t.Error("there was no handshake")
	}
	for _, s := range x.shakes {
		if s.Version != by.version || by.suite != 0 && s.CipherSuite != by.suite {
			t.Errorf("a handshake by %s, %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite))
		}
	}
	n := x.srv.Stats().Net
	if n.TLSFaults != 0 {
		t.Errorf("%d faults of TLS are counted", n.TLSFaults)
	}
	if n.CallbackPanics != 0 {
		t.Errorf("%d panics of the server's own", n.CallbackPanics)
	}
	if kept := n.TLSKept != 0; kept != (by.version == tls.VersionTLS12) {
		t.Errorf("%d of %d connections kept crypto/tls's records", n.TLSKept, n.TLSHandshakes)
	}
}

// tlsServer is a server in this process.
type tlsServer struct {
	srv  *sockeye.Server
	addr string
	log  wiretest.Output

	mu     sync.Mutex
	shakes []tls.ConnectionState // guarded by mu
}

// startTLS starts a server with a Fallback: /page tells what the connection speaks,
// /sum what it was sent, and /large/N sends N bytes. Namespace "/" echoes and has a room.
func startTLS(t *testing.T, change func(*tls.Config)) *tlsServer {
	t.Helper()
	x := &tlsServer{}
	cfg := tlspeer.ServerConfig()
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.shakes = append(x.shakes, s)
		return nil
	}
	if change != nil {
		change(cfg)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "page %s by %s, %s\n", r.URL.RawQuery, tls.VersionName(r.TLS.Version), tls.CipherSuiteName(r.TLS.CipherSuite))
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		fmt.Fprintf(w, "sum %d %x %v\n", n, h.Sum(nil), err)
	})
	mux.HandleFunc("/large/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.PathValue("n"), &n)
		_, _ = w.Write(bytes.Repeat([]byte{'x'}, n))
	})
	srv, err := sockeye.New(sockeye.Config{TLS: cfg, Fallback: mux, Logger: slog.New(slog.NewTextHandler(&x.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = srv.Close()
		if t.Failed() {
			t.Logf("the server wrote:\n%s", x.log.String())
		}
	})
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("room") })
	srv.On("echo", func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack(e.Arguments()...) })
	srv.On("tell", func(_ *sockeye.Socket, e *sockeye.Event) error { return srv.To("room").Emit("told", e.Arguments()...) })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.srv, x.addr = srv, addr.String()
	return x
}

func (x *tlsServer) url() string { return "https://" + x.addr }

// resumed is how many of the handshakes so far resumed a session.
func (x *tlsServer) resumed() (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.shakes {
		if s.DidResume {
			n++
		}
	}
	return n
}

// toolDeadline is for all that a tool does; it takes a second or two.
const toolDeadline = 30 * time.Second

// tool is a program that the test talks to.
type tool struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu    sync.Mutex
	cond  sync.Cond
	out   []byte // both outputs; guarded by mu
	seen  int    // how much of out until has gone past
	ended bool   // guarded by mu
}

// needTool skips the test without the program.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
}

func startTool(t *testing.T, name string, args ...string) *tool {
	t.Helper()
	needTool(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), toolDeadline)
	x := &tool{t: t, cmd: exec.CommandContext(ctx, name, args...)}
	x.cond.L = &x.mu
	x.cmd.Stdout, x.cmd.Stderr = x, x
	x.cmd.WaitDelay = time.Second
	x.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	var err error
	if x.stdin, err = x.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := x.cmd.Wait()
		x.mu.Lock()
		defer x.mu.Unlock()
		if err != nil {
			x.out = fmt.Appendf(x.out, "\n(ended with %v)\n", err)
		}
		x.ended = true
		x.cond.Broadcast()
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return x
}

// Write takes the tool's outputs.
func (x *tool) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.out = append(x.out, b...)
	x.cond.Broadcast()
	return len(b), nil
}

// until waits for a text in what the tool writes, behind the one before.
func (x *tool) until(text string) {
	x.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		if i := bytes.Index(x.out[x.seen:], []byte(text)); i >= 0 {
			x.seen += i + len(text)
			return
		}
		if x.ended {
			x.t.Fatalf("no %q in what the tool wrote:\n%s", text, x.out[x.seen:])
		}
		x.cond.Wait()
	}
}

// say writes to the tool.
func (x *tool) say(text string) {
	x.t.Helper()
	if _, err := io.WriteString(x.stdin, text); err != nil {
		x.t.Fatal(err)
	}
}

// end waits for the tool's end, which must be a good one, and returns all it wrote.
func (x *tool) end() string {
	x.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	for !x.ended {
		x.cond.Wait()
	}
	if s := x.cmd.ProcessState; !s.Success() {
		x.t.Errorf("%s: %v\n%s", filepath.Base(x.cmd.Path), s, x.out)
	}
	return string(x.out)
}

// get is a request as text.
func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
}

// The request that the loops answer by themselves; the pages are net/http's.
const pollPath = "/socket.io/?EIO=4&transport=polling"

// TestTLSOpenSSL: pages, resumed sessions, and keys that change while the connection is
// the loop's and while it is lent to net/http.
func TestTLSOpenSSL(t *testing.T) {
	eachTLS(t, func(t *testing.T, x *tlsServer, by tlsChoice) {
		args := []string{"s_client", "-connect", x.addr, "-servername", "localhost", "-alpn", "h2,http/1.1", "-msg"}
		if by.version == tls.VersionTLS13 {
			args = append(args, "-tls1_3", "-ciphersuites", by.name)
		} else {
			args = append(args, "-tls1_2")
		}
		session := filepath.Join(t.TempDir(), "session.pem")

		first := startTool(t, "openssl", append(args, "-sess_out", session)...)
		first.until("New, ")
		first.until("ALPN protocol: http/1.1")
		first.say(get("/page?one", "Connection: close"))
		first.until("page one by ")
		if out := first.end(); strings.Contains(out, "unexpected eof") {
			t.Errorf("the connection ended without close_notify:\n%s", out)
		}

		second := startTool(t, "openssl", append(args, "-sess_in", session)...)
		second.until("Reused, ")
		if by.version == tls.VersionTLS13 {
			for _, path := range []string{pollPath, "/page?lent", pollPath} {
				want := map[bool]string{true: `0{"sid"`, false: "page lent by "}[path == pollPath]
				for range 2 {
					second.say(get(path))
					second.until(want)
				}
				second.say("k\n") // a KeyUpdate
				second.until("KeyUpdate")
				second.say(get(path))
				second.until(want)
				second.say("K\n") // and one that asks for one
				second.until(">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
				second.say(get(path)) // what is owed comes with the answer, at the latest
				second.until("<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
				second.until(want)
				second.say("K\n")
				second.until(">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
				second.say(get(path))
				second.until(want)
			}
		}
		second.say(get("/large/300000"))
		second.until(strings.Repeat("x", 10_000))
		second.say(get("/page?last", "Connection: close"))
		second.until("page last by ")
		second.end()
		if n := x.resumed(); n != 1 {
			t.Errorf("%d handshakes resumed a session, want 1", n)
		}
	})
}

// TestTLSCurl: pages, a large body, and one connection for several requests, of which
// some are the loop's and some are lent to net/http.
func TestTLSCurl(t *testing.T) {
	eachTLS(t, func(t *testing.T, x *tlsServer, by tlsChoice) {
		args := []string{"-sS", "-k", "-m", "20", "-w", "connects %{num_connects} http %{http_version}\n"}
		if by.version == tls.VersionTLS13 {
			args = append(args, "--tlsv1.3", "--tls13-ciphers", by.name)
		} else {
			args = append(args, "--tlsv1.2", "--tls-max", "1.2")
		}
		curl := func(more ...string) string {
			t.Helper()
			return startTool(t, "curl", append(args, more...)...).end()
		}
		named := tls.VersionName(by.version)
		out := curl(x.url()+"/page?a", x.url()+pollPath, x.url()+"/large/200000", x.url()+"/page?b", x.url()+pollPath)
		for _, want := range []string{"page a by " + named, "page b by " + named, `0{"sid"`, strings.Repeat("x", 200_000)} {
			if !strings.Contains(out, want) {
				t.Errorf("no %.50q in\n%.2000s", want, out)
			}
		}
		if strings.Count(out, "connects 1 http 1.1") != 1 || strings.Count(out, "connects 0 http 1.1") != 4 {
			t.Errorf("not one connection for all:\n%.2000s", strings.ReplaceAll(out, "xxxx", ""))
		}

		body := bytes.Repeat([]byte("0123456789"), 30_000)
		file := filepath.Join(t.TempDir(), "body")
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("sum %d %x <nil>\n", len(body), sha256.Sum256(body))
		for _, header := range []string{"Expect:", "Expect: 100-continue", "Transfer-Encoding: chunked"} {
			more := append([]string{"-H", header, "--data-binary", "@" + file, x.url() + "/sum", "--next"}, args...) // which forgets them
			out := curl(append(more, x.url()+"/page?c")...)
			if !strings.Contains(out, want) || !strings.Contains(out, "page c by "+named) || !strings.Contains(out, "connects 0") {
				t.Errorf("%s: %s", header, out)
			}
		}
	})
}

// TestTLSNode: socket.io-client by both transports, and resumed sessions.
func TestTLSNode(t *testing.T) {
	need(t, nodeModules)
	eachTLS(t, func(t *testing.T, x *tlsServer, by tlsChoice) {
		args := []string{"--tls-min-v1.3", "--tls-cipher-list=" + by.name}
		if by.version == tls.VersionTLS12 {
			args = []string{"--tls-max-v1.2"}
		}
		startTool(t, "node", append(args, "clients/js/tls.mjs", x.url())...).until("served")
		if n := x.resumed(); n == 0 {
			t.Error("no session was resumed")
		}
	})
}

// TestTLSPython: ssl, which cannot choose suites of TLS 1.3, and python-socketio over it.
func TestTLSPython(t *testing.T) {
	for _, by := range []tlsChoice{{"TLSv1_3", tls.VersionTLS13, 0}, {"TLSv1_2", tls.VersionTLS12, 0}} {
		run := func(python string, more ...string) func(*testing.T) {
			return func(t *testing.T) {
				t.Parallel()
				if len(more) != 0 {
					need(t, python)
				}
				x := startTLS(t, nil)
				startTool(t, python, append([]string{"clients/python/tls.py", x.addr, by.name}, more...)...).until("served")
				if n := x.resumed(); n != 1 {
					t.Errorf("%d sessions were resumed, want 1", n)
				}
				x.check(t, by)
			}
		}
		t.Run(by.name, run("python3"))
		t.Run(by.name+"/socketio", run(filepath.Join(venv, "python"), "socketio"))
	}
}

// TestTLSJava: java.net.http, pages and a WebSocket, with keys that change after each
// 64 KiB that Java sends.
func TestTLSJava(t *testing.T) {
	t.Parallel()
	needTool(t, "javac") // a JDK: java alone cannot run a source file
	args := []string{"clients/java/Tls.java"}
	var servers []*tlsServer
	for _, by := range tlsChoices {
		x := startTLS(t, nil)
		servers = append(servers, x)
		args = append(args, x.url(), by.name)
	}
	java := startTool(t, "java", args...)
	for i, by := range tlsChoices {
		java.until("served " + by.name)
		servers[i].check(t, by)
	}
	java.end()
}
