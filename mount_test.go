package sockeye_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// mount makes a server that is mounted, not listening.
func mount(t testing.TB, cfg sockeye.Config) *sockeye.Server {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv.On("echo", func(s *sockeye.Socket, v any) any { return v })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		eventually(t, func() bool { s := srv.Stats().Net; return s.Open == 0 && s.Bridged == 0 && s.Lent == 0 })
	})
	return srv
}

// site is an http.Server with srv on it.
func site(t testing.TB, h http.Handler, how func(s *httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)
	if how == nil {
		how = (*httptest.Server).Start
	}
	how(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// hidden is a ResponseWriter without Hijack.
type hidden struct{ http.ResponseWriter }

// TestMountTransports: each transport, through whatever net/http does with the connection.
func TestMountTransports(t *testing.T) {
	plain := (*httptest.Server).Start
	for _, c := range []struct {
		name      string
		start     func(s *httptest.Server)
		wrap      func(h http.Handler) http.Handler
		bridged   bool
		websocket bool
	}{
		{"plain", plain, nil, false, true},
		{"TLS", (*httptest.Server).StartTLS, nil, true, true},
		{"HTTP/2", func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }, nil, true, true},
		{"hidden", plain, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(hidden{w}, r) })
		}, true, false},
		{"prefix", plain, func(h http.Handler) http.Handler { return http.StripPrefix("/api", h) }, false, true},
	} {
		for _, transports := range [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}} {
			t.Run(c.name+"/"+strings.Join(transports, "+"), func(t *testing.T) {
				srv := mount(t, sockeye.Config{})
				h := srv.Handler()
				path := "/socket.io/"
				if c.wrap != nil {
					h = c.wrap(h)
				}
				if c.name == "prefix" {
					path = "/api" + path
				}
				s := site(t, h, c.start)
				cfg := client.Config{Path: path, Transports: transports, NoReconnect: true}
				if s.TLS != nil {
					cfg.HTTPClient = s.Client()
					cfg.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
					if len(transports) > 1 || transports[0] == "websocket" {
						cfg.TLS = cfg.TLS.Clone()
						cfg.TLS.NextProtos = nil // a WebSocket is HTTP/1.1
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), wiretest.Limit)
				defer cancel()
				conn, err := client.Dial(ctx, s.URL, cfg)
				if !c.websocket && len(transports) == 1 && transports[0] == "websocket" {
					if err == nil || !strings.Contains(err.Error(), "501") {
						t.Fatalf("error %v, want one with 501", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				for _, size := range []int{1, 100_000} {
					want := strings.Repeat("x", size)
					answer, err := conn.Call(ctx, "echo", want)
					var got string
					if err != nil || answer.Decode(&got) != nil || got != want {
						t.Fatalf("%d bytes: %d came back, error %v", size, len(got), err)
					}
				}
				if c.websocket && len(transports) == 2 {
					eventually(t, func() bool { return conn.Transport() == "websocket" })
				}
				st := srv.Stats().Net
				if st.Mounted == 0 || !c.bridged && st.Bridged > 0 && os.Getenv("SOCKEYE_BRIDGE") == "" {
					t.Errorf("%d mounted, %d bridged", st.Mounted, st.Bridged)
				}
			})
		}
	}
}

// TestMountRecorder: long-polling works without a connection.
func TestMountRecorder(t *testing.T) {
	srv := mount(t, sockeye.Config{})
	ask := func(r *http.Request) (int, string) {
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	status, body := ask(httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
	if status != 200 || !strings.HasPrefix(body, `0{"sid":"`) {
		t.Fatalf("%d %q", status, body)
	}
	sid := "/socket.io/?EIO=4&transport=polling&sid=" + body[9:29]
	if status, body := ask(httptest.NewRequest("POST", sid, strings.NewReader("40"))); status != 200 || body != "ok" {
		t.Errorf("%d %q", status, body)
	}
	if status, body := ask(httptest.NewRequest("GET", sid, nil)); status != 200 || !strings.HasPrefix(body, `40{"sid"`) {
		t.Errorf("%d %q", status, body)
	}
	// Who does not wait any longer.
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		ask(httptest.NewRequest("GET", sid, nil).WithContext(ctx))
	}()
	eventually(t, func() bool { return srv.Stats().Net.Bridged == 1 })
	cancel()
	within(t, waiting)
	eventually(t, func() bool { return srv.Stats().Net.Open == 0 })
}

// TestMountAnswers: what does not come to a loop, or not far.
func TestMountAnswers(t *testing.T) {
	srv := mount(t, sockeye.Config{MaxPayload: 1000})
	s := site(t, srv.Handler(), nil)
	p := wiretest.OpenPoll(t, s.Listener.Addr().String())
	post := func(body io.Reader) *http.Request {
		r, _ := http.NewRequest("POST", p.URL, body)
		return r
	}
	get := func(path string) *http.Request {
		r, _ := http.NewRequest("GET", s.URL+path, nil)
		return r
	}
	continued := post(strings.NewReader("3"))
	continued.Header.Set("Expect", "100-continue")
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		text   string
	}{
		{"elsewhere", get("/elsewhere"), 404, `/socket.io/ is served here, and not /elsewhere: mount`},
		{"no transport", get("/socket.io/"), 400, "Transport unknown"},
		{"no session", get("/socket.io/?EIO=4&transport=polling&sid=x"), 400, "Session ID unknown"},
		{"large, announced", post(strings.NewReader(strings.Repeat("x", 1001))), 413, ""},
		{"large, chunked", post(io.LimitReader(zeros{}, 1001)), 413, ""},
		{"100-continue", continued, 200, "ok"},
		{"as large as may be", post(io.LimitReader(zeros{}, 1000)), 200, "ok"},
	} {
		resp, err := http.DefaultClient.Do(c.r)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(body), c.text) {
			t.Errorf("%s: %d %q, want %d %q", c.name, resp.StatusCode, body, c.status, c.text)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// keep is a connection on which requests follow each other.
type keep struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
}

func keepAlive(t *testing.T, addr string) *keep {
	c := wiretest.Dial(t, addr)
	_ = c.SetDeadline(time.Now().Add(wiretest.Limit))
	return &keep{t, c, bufio.NewReader(c)}
}

func (k *keep) do(request string) (int, string) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, request); err != nil {
		k.t.Fatal(err)
	}
	return k.answer()
}

func (k *keep) answer() (int, string) {
	k.t.Helper()
	resp, err := http.ReadResponse(k.br, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

const pollPath = "/socket.io/?EIO=4&transport=polling"

// TestMountEachHandshake: on a connection that has moved, each handshake comes through
// the handlers in front, and other paths are the http.Server's.
func TestMountEachHandshake(t *testing.T) {
	srv := mount(t, sockeye.Config{MaxPendingSessions: 3})
	var seen, states atomic.Int32
	mux := http.NewServeMux()
	var s *httptest.Server
	mux.Handle("/socket.io/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Header.Get("Token") != "right" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		srv.Handler().ServeHTTP(w, r)
	}))
	mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) {
		if user, _ := r.Context().Value(http.ServerContextKey).(*http.Server); user != s.Config {
			t.Error("another http.Server")
		}
		if r.Context().Value(connKey{}) != "context" {
			t.Error("ConnContext was not asked")
		}
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.SetReadDeadline(time.Now().Add(time.Minute)), rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.Flush()); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, "other")
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhijacked")
		_ = conn.Close()
	})
	s = site(t, mux, func(s *httptest.Server) {
		s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, "context")
		}
		s.Config.ConnState = func(net.Conn, http.ConnState) { states.Add(1) }
		s.Start()
	})
	addr := s.Listener.Addr().String()
	k := keepAlive(t, addr)
	request := func(method, target, token, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nToken: %s\r\nContent-Length: %d\r\n\r\n%s", method, target, addr, token, len(body), body)
	}
	status, body := k.do(request("GET", pollPath, "right", ""))
	if status != 200 {
		t.Fatalf("%d %q", status, body)
	}
	session := pollPath + "&sid=" + body[9:29]
	if status, body := k.do(request("POST", session, "", "40")); status != 200 || body != "ok" || seen.Load() != 1 {
		t.Errorf("a request of the session: %d %q, %d seen", status, body, seen.Load())
	}
	if status, _ := k.do(request("GET", session, "", "")); status != 200 || seen.Load() != 1 {
		t.Errorf("a poll: %d, %d seen", status, seen.Load())
	}
	if status, body := k.do(request("GET", pollPath, "wrong", "")); status != 401 || seen.Load() != 2 {
		t.Errorf("a handshake without token: %d %q, %d seen", status, body, seen.Load())
	}
	for i := range 3 {
		if status, body := k.do(request("GET", pollPath, "right", "")); status != 200 {
			t.Errorf("handshake %d: %d %q", i, status, body)
		}
		if status, body := k.do(request("GET", "/other", "", "")); status != 200 || body != "other" {
			t.Errorf("another path: %d %q", status, body)
		}
	}
	// Still the same connection, whose sessions are counted. The first one is established.
	if status, body := k.do(request("GET", pollPath, "right", "")); status != 503 {
		t.Errorf("beyond MaxPendingSessions: %d %q", status, body)
	}
	if st := srv.Stats().Net; st.Mounted != 1 || st.Accepted != 1 || st.Open != 1 {
		t.Errorf("%d mounted, %d accepted, %d open", st.Mounted, st.Accepted, st.Open)
	}
	// Pipelined: what has been read behind a request is not lost.
	if _, err := io.WriteString(k.conn, request("GET", "/other", "", "")+request("POST", session, "", "3")+request("GET", pollPath, "wrong", "")); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 200, 401} {
		if status, body := k.answer(); status != want {
			t.Errorf("pipelined %d: %d %q, want %d", i, status, body, want)
		}
	}
	if status, body := k.do(request("GET", "/hijack", "", "")); status != 200 || body != "hijacked" {
		t.Errorf("%d %q", status, body)
	}
	eventually(t, func() bool { st := srv.Stats().Net; return st.Open == 0 && st.Lent == 0 })
	if states.Load() == 0 {
		t.Error("ConnState was not told")
	}
}

// TestMountTLSOther: over TLS, a request for another path has its TLS state.
func TestMountTLSOther(t *testing.T) {
	srv := mount(t, sockeye.Config{})
	secure := make(chan bool, 1)
	srv.OnConnect(func(s *sockeye.Socket) error {
		secure <- s.Handshake().Secure
		return nil
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv.Handler())
	mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS != nil && r.TLS.HandshakeComplete) })
	s := site(t, mux, (*httptest.Server).StartTLS)
	raw := wiretest.Dial(t, s.Listener.Addr().String())
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	k := &keep{t, c, bufio.NewReader(c)}
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n" }
	_, body := k.do(get(pollPath))
	for range 2 {
		if _, body := k.do(get("/other")); body != "true" {
			t.Errorf("%q", body)
		}
	}
	sid := pollPath + "&sid=" + body[9:29]
	k.do("POST " + sid + " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n40")
	if !within(t, secure) {
		t.Error("Handshake.Secure is false")
	}
	if st := srv.Stats().Net; st.Bridged != 1 || st.Open != 1 {
		t.Errorf("%d bridged, %d open", st.Bridged, st.Open)
	}
	_ = raw.Close()
	eventually(t, func() bool { return srv.Stats().Net.Bridged == 0 })
}

type contextKey string

// TestMountEscapedPath: a path that is ours for net/http, which has unescaped it, and not
// for a loop, which compares what has come, is answered once, and not sent around.
func TestMountEscapedPath(t *testing.T) {
	for _, c := range []struct {
		name string
		wrap func(w http.ResponseWriter) http.ResponseWriter
	}{
		{"moved", func(w http.ResponseWriter) http.ResponseWriter { return w }},
		{"bridged", func(w http.ResponseWriter) http.ResponseWriter { return hidden{w} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			srv := mount(t, sockeye.Config{Fallback: mux})
			var seen atomic.Int32
			mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, r *http.Request) {
				if seen.Add(1) > 10 {
					panic(http.ErrAbortHandler)
				}
				srv.Handler().ServeHTTP(c.wrap(w), r)
			})
			k := keepAlive(t, site(t, mux, nil).Listener.Addr().String())
			for i := range int32(2) {
				status, body := k.do("GET /socket%2Eio/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
				if status != 404 || !strings.Contains(body, "/socket%2Eio/") || seen.Load() != i+1 {
					t.Fatalf("%d %q, seen %d times", status, body, seen.Load())
				}
			}
			if status, body := k.do("GET " + pollPath + " HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 {
				t.Errorf("%d %q", status, body)
			}
		})
	}
}

// TestMountInFallback: a server that is mounted in its own Fallback, whose connections
// come back to the loop, with their TLS if they have it.
func TestMountInFallback(t *testing.T) {
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(fmt.Sprintf("%x", version), func(t *testing.T) {
			mux := http.NewServeMux()
			cfg := sockeye.Config{Fallback: mux}
			if version != 0 {
				cfg.TLS = tlspeer.ServerConfig()
			}
			srv := mount(t, cfg)
			mux.Handle("/api/", http.StripPrefix("/api", srv.Handler()))
			addr, err := srv.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			conn := wiretest.Dial(t, addr.String())
			_ = conn.SetDeadline(time.Now().Add(wiretest.Limit))
			if version != 0 {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
			}
			k := &keep{t, conn, bufio.NewReader(conn)}
			for i := range 3 {
				status, body := k.do("GET /api" + pollPath + " HTTP/1.1\r\nHost: x\r\n\r\n")
				if status != 200 || !strings.HasPrefix(body, `0{"sid":"`) {
					t.Fatalf("handshake %d: %d %q", i, status, body)
				}
				session := "/api" + pollPath + "&sid=" + body[9:29]
				if status, body := k.do("POST " + session + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40"); status != 200 || body != "ok" {
					t.Fatalf("%d %q", status, body)
				}
			}
			if st := srv.Stats().Net; st.Accepted != 1 || st.Open != 1 {
				t.Errorf("%d accepted, %d open", st.Accepted, st.Open)
			}
		})
	}
}

// TestMountTwo: two servers in one http.Server. A connection goes to and fro between them,
// and each of them, and the handlers beside them, know that it has TLS.
func TestMountTwo(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			mux := http.NewServeMux()
			seen := make(chan string, 1)
			var servers [2]*sockeye.Server
			for i := range servers {
				path := fmt.Sprintf("/%d/", i)
				servers[i] = mount(t, sockeye.Config{Path: path, MaxPendingSessions: 1000, AllowRequest: func(r *sockeye.Request) error {
					seen <- fmt.Sprintf("%s %v", r.RemoteAddr(), r.Secure())
					return nil
				}})
				mux.Handle(path, servers[i].Handler())
			}
			mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %v", r.RemoteAddr, r.TLS != nil) })
			start := (*httptest.Server).Start
			if secure {
				start = (*httptest.Server).StartTLS
			}
			conn := wiretest.Dial(t, site(t, mux, start).Listener.Addr().String())
			_ = conn.SetDeadline(time.Now().Add(wiretest.Limit))
			want := fmt.Sprintf("%v %v", conn.LocalAddr(), secure)
			if secure {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			k := &keep{t, conn, bufio.NewReader(conn)}
			before := 0
			for i := range 60 {
				path := fmt.Sprintf("/%d/?EIO=4&transport=polling", i%2)
				if status, body := k.do("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 {
					t.Fatalf("%d %q", status, body)
				}
				if got := within(t, seen); got != want {
					t.Fatalf("AllowRequest sees %s, want %s", got, want)
				}
				if status, body := k.do("GET /other HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 || body != want {
					t.Fatalf("another handler: %d %q, want %q", status, body, want)
				}
				if i == 10 {
					before = runtime.NumGoroutine()
				}
			}
			eventually(t, func() bool { return runtime.NumGoroutine() < before+10 })
			for _, srv := range servers {
				if st := srv.Stats().Net; st.Open > 1 || st.Bridged > 1 {
					t.Errorf("%d open, %d bridged", st.Open, st.Bridged)
				}
			}
			_ = conn.Close()
			for _, srv := range servers {
				eventually(t, func() bool { st := srv.Stats().Net; return st.Open == 0 && st.Bridged == 0 && st.Lent == 0 })
			}
		})
	}
}

// TestMountInAnother: a server in the Fallback of another one knows what that knows of the
// peer: its address by the PROXY protocol, and that it speaks TLS, with a proxy or with it.
func TestMountInAnother(t *testing.T) {
	const v2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x14\x0a\x01\x02\x03\xc0\x00\x02\x02\x10\xe1\x01\xbb\x20\x00\x05\x01\x00\x00\x00\x00"
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, c := range []struct {
		name, header string
		proxies      []netip.Prefix
		tls          bool
		want         string
	}{
		{"plain", "", nil, false, "127.0.0.1 false"},
		{"TLS", "", nil, true, "127.0.0.1 true"},
		{"PROXY", "PROXY TCP4 10.1.2.3 192.0.2.2 4321 443\r\n", local, false, "10.1.2.3 false"},
		{"PROXY, TLS", "PROXY TCP4 10.1.2.3 192.0.2.2 4321 443\r\n", local, true, "10.1.2.3 true"},
		{"PROXY with TLS", v2, local, false, "10.1.2.3 true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			cfg := sockeye.Config{Path: "/front/", Fallback: mux, ProxyProtocol: c.proxies}
			if c.tls {
				cfg.TLS = tlspeer.ServerConfig()
			}
			front := mount(t, cfg)
			seen := make(chan string, 1)
			srv := mount(t, sockeye.Config{PerAddress: sockeye.AddressLimits{Conns: 1}, AllowRequest: func(r *sockeye.Request) error {
				seen <- fmt.Sprintf("%s %v", r.Address(), r.Secure())
				return nil
			}})
			mux.Handle("/socket.io/", srv.Handler())
			addr, err := front.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			conn := wiretest.Dial(t, addr.String())
			_ = conn.SetDeadline(time.Now().Add(wiretest.Limit))
			_, _ = io.WriteString(conn, c.header)
			if c.tls {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			k := &keep{t, conn, bufio.NewReader(conn)}
			for range 2 {
				if status, body := k.do("GET " + pollPath + " HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 {
					t.Fatalf("%d %q", status, body)
				}
				if got := within(t, seen); got != c.want {
					t.Errorf("AllowRequest sees %s, want %s", got, c.want)
				}
			}
			_ = conn.Close()
			for _, s := range []*sockeye.Server{front, srv} {
				eventually(t, func() bool { st := s.Stats().Net; return st.Open == 0 && st.Bridged == 0 && st.Lent == 0 })
			}
		})
	}
}

// wrapper is a ResponseWriter whose Hijack puts something around the connection.
type wrapper struct{ http.ResponseWriter }

type wrapped struct{ net.Conn }

func (w wrapper) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return wrapped{conn}, brw, err
}

// TestMountWrapped: a handler in front that puts something around the connection does so
// with each handshake on it, and no layers pile up.
func TestMountWrapped(t *testing.T) {
	srv := mount(t, sockeye.Config{MaxPendingSessions: 1000})
	h := srv.Handler()
	s := site(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrapper{w}, r) }), nil)
	k := keepAlive(t, s.Listener.Addr().String())
	before := 0
	for i := range 40 {
		status, body := k.do("GET " + pollPath + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if status != 200 {
			t.Fatalf("handshake %d: %d %q", i, status, body)
		}
		if status, body := k.do("POST " + pollPath + "&sid=" + body[9:29] + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40"); status != 200 || body != "ok" {
			t.Fatalf("%d %q", status, body)
		}
		if i == 5 {
			before = runtime.NumGoroutine()
		}
	}
	eventually(t, func() bool { return runtime.NumGoroutine() < before+10 })
	_ = k.conn.Close()
	eventually(t, func() bool { st := srv.Stats().Net; return st.Open == 0 && st.Bridged == 0 && st.Lent == 0 })
}

// TestMountContext: the request's context is there while the handshake is decided on; what
// is left of it is Config.ContextValues.
func TestMountContext(t *testing.T) {
	for _, c := range []struct {
		keys []any
		want string
	}{{nil, "<nil> <nil>"}, {[]any{contextKey("user")}, "ada <nil>"}} {
		for _, decide := range []bool{false, true} {
			cfg := sockeye.Config{ContextValues: c.keys}
			during := make(chan string, 1)
			if decide {
				cfg.AllowRequest = func(r *sockeye.Request) error {
					during <- fmt.Sprint(r.Context().Value(contextKey("user")), " ", r.Context().Value(contextKey("pooled")))
					return nil
				}
			}
			srv := mount(t, cfg)
			after := make(chan string, 1)
			returned := make(chan struct{})
			srv.OnConnect(func(s *sockeye.Socket) error {
				<-returned
				ctx := s.Request().Context()
				after <- fmt.Sprint(ctx.Value(contextKey("user")), " ", ctx.Value(contextKey("pooled")))
				return nil
			})
			s := site(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(returned)
				ctx := context.WithValue(r.Context(), contextKey("user"), "ada")
				srv.Handler().ServeHTTP(w, r.WithContext(context.WithValue(ctx, contextKey("pooled"), "route")))
			}), nil)
			w := wiretest.DialWS(t, s.Listener.Addr().String(), "/socket.io/?EIO=4&transport=websocket")
			w.Expect("0{*")
			w.Write("40")
			w.Expect(`40{"sid":"*`)
			if decide {
				if got := within(t, during); got != "ada route" {
					t.Errorf("keys %v, during the decision: %q", c.keys, got)
				}
			}
			if got := within(t, after); got != c.want {
				t.Errorf("keys %v, decided on %v: %q is left, want %q", c.keys, decide, got, c.want)
			}
		}
	}
}

// TestMountNoGoroutines: of connections that have moved no goroutine stays.
func TestMountNoGoroutines(t *testing.T) {
	if os.Getenv("SOCKEYE_BRIDGE") != "" {
		t.Skip("the bridge has goroutines")
	}
	const n = 2000
	srv := mount(t, sockeye.Config{})
	s := site(t, srv.Handler(), nil)
	addr := s.Listener.Addr().String()
	before := runtime.NumGoroutine()
	var crowd sync.WaitGroup
	fail := make(chan error, n)
	conns := make([]net.Conn, n)
	for part := range 8 {
		crowd.Go(func() {
			for i := part; i < n; i += 8 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					fail <- err
					return
				}
				conns[i] = c
				_ = c.SetDeadline(time.Now().Add(3 * wiretest.Limit))
				if err := openSession(c, i%2 == 0); err != nil {
					fail <- err
					return
				}
			}
		})
	}
	crowd.Wait()
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	select {
	case err := <-fail:
		t.Fatal(err)
	default:
	}
	if st := srv.Stats(); st.Net.Open != n || st.Net.Mounted != n || st.Engine.Sessions != n {
		t.Errorf("%d open, %d mounted, %d sessions", st.Net.Open, st.Net.Mounted, st.Engine.Sessions)
	}
	eventually(t, func() bool { return runtime.NumGoroutine() < before+20 })
}

// openSession makes a session, by a WebSocket or by a poll that waits.
func openSession(c net.Conn, websocket bool) error {
	br := bufio.NewReaderSize(c, 512)
	if websocket {
		fmt.Fprint(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err == nil && resp.StatusCode != 101 {
			err = errors.New(resp.Status)
		}
		return err
	}
	fmt.Fprint(c, "GET "+pollPath+" HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("%s %w", resp.Status, err)
	}
	_, err = fmt.Fprintf(c, "GET %s&sid=%s HTTP/1.1\r\nHost: h\r\n\r\n", pollPath, body[9:29])
	return err
}

// TestMountLimits: MaxConns exactly, several at once, and after the end.
func TestMountLimits(t *testing.T) {
	const n, tries = 3, 12
	srv := mount(t, sockeye.Config{MaxConns: n})
	s := site(t, srv.Handler(), nil)
	addr := s.Listener.Addr().String()
	var crowd sync.WaitGroup
	var in, refused atomic.Int32
	for range tries {
		crowd.Go(func() {
			k := keepAlive(t, addr)
			if _, err := fmt.Fprint(k.conn, "GET "+pollPath+" HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				return
			}
			resp, err := http.ReadResponse(k.br, nil)
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == 200:
				in.Add(1)
			case resp.StatusCode == 503:
				refused.Add(1)
			}
		})
	}
	crowd.Wait()
	if in.Load() != n || refused.Load() != tries-n {
		t.Errorf("%d are in, %d refused", in.Load(), refused.Load())
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if resp, body := fetch(t, s.URL+pollPath); resp.StatusCode != 503 || !strings.Contains(body, "shutting down") {
		t.Errorf("after the end: %d %q", resp.StatusCode, body)
	}
}

// TestMountBodiesAreCounted: a request whose body is still coming has a place, and what has
// come of it is charged, though its connection has not moved yet.
func TestMountBodiesAreCounted(t *testing.T) {
	srv := mount(t, sockeye.Config{MaxConns: 2, MaxPayload: 100_000, MaxMemory: 1 << 20})
	addr := site(t, srv.Handler(), nil).Listener.Addr().String()
	const handshake = "GET " + pollPath + " HTTP/1.1\r\nHost: h\r\n\r\n"
	var slow [2]*keep
	for i := range slow {
		slow[i] = keepAlive(t, addr)
		fmt.Fprintf(slow[i].conn, "POST %s&sid=x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n%s", pollPath, strings.Repeat("x", 50_000))
	}
	eventually(t, func() bool { st := srv.Stats().Net; return st.Open == 2 && st.MemoryBytes >= 65_536 })
	if status, body := keepAlive(t, addr).do(handshake); status != 503 {
		t.Errorf("a third: %d %q", status, body)
	}
	if status, body := slow[0].do(strings.Repeat("x", 50_000)); status != 400 || !strings.Contains(body, "Session ID unknown") {
		t.Errorf("%d %q", status, body)
	}
	_ = slow[1].conn.Close()
	eventually(t, func() bool { st := srv.Stats().Net; return st.Open == 1 && st.MemoryBytes == 0 })
	if status, body := keepAlive(t, addr).do(handshake); status != 200 {
		t.Errorf("behind them: %d %q", status, body)
	}

	// Near MaxMemory.
	srv = mount(t, sockeye.Config{MaxPayload: 1 << 20, MaxMemory: 4 << 20})
	addr = site(t, srv.Handler(), nil).Listener.Addr().String()
	var most [8]*keep
	for i := range most {
		most[i] = keepAlive(t, addr)
		fmt.Fprintf(most[i].conn, "POST %s&sid=x HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n", pollPath)
		go func() { _, _ = most[i].conn.Write(make([]byte, 899_999)) }()
	}
	refused := make(chan int, len(most))
	for _, k := range most {
		go func() {
			if resp, err := http.ReadResponse(k.br, nil); err == nil {
				refused <- resp.StatusCode
			}
		}()
	}
	if status := within(t, refused); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	if n := srv.Stats().Net.MemoryBytes; n > 4<<20 {
		t.Errorf("%d bytes", n)
	}
	for _, k := range most {
		_ = k.conn.Close()
	}
	eventually(t, func() bool { return srv.Stats().Net.MemoryBytes == 0 })
}

// TestMountSlowBody: a body that does not come in time is answered; a peer that leaves in
// the middle of one is forgotten.
func TestMountSlowBody(t *testing.T) {
	srv := mount(t, sockeye.Config{BodyTimeout: 50 * time.Millisecond})
	var inside atomic.Int32
	s := site(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside.Add(1)
		defer inside.Add(-1)
		srv.Handler().ServeHTTP(w, r)
	}), nil)
	head := "POST " + pollPath + "&sid=x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n4"
	k := keepAlive(t, s.Listener.Addr().String())
	if status, _ := k.do(head); status != 408 {
		t.Errorf("status %d, want 408", status)
	}
	if n, err := k.br.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%d bytes, %v: the connection is open", n, err)
	}
	k = keepAlive(t, s.Listener.Addr().String())
	fmt.Fprint(k.conn, head)
	_ = k.conn.Close()
	eventually(t, func() bool { return inside.Load() == 0 })
	if st := srv.Stats().Net; st.Mounted != 0 || st.Open != 0 {
		t.Errorf("%d mounted, %d open", st.Mounted, st.Open)
	}
}

// TestMountMinRate: a body that comes at more than MinRate, for longer than BodyTimeout, is
// waited for before the connection moves, too.
func TestMountMinRate(t *testing.T) {
	srv := mount(t, sockeye.Config{BodyTimeout: 500 * time.Millisecond, MinRate: 2_000})
	k := keepAlive(t, site(t, srv.Handler(), nil).Listener.Addr().String())
	body := strings.Repeat("x", 18_000)
	fmt.Fprintf(k.conn, "POST %s&sid=x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", pollPath, len(body))
	for ; len(body) > 0; body = body[600:] {
		if _, err := io.WriteString(k.conn, body[:600]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // sending slowly is what is asked
	}
	if status, text := k.answer(); status != 400 || !strings.Contains(text, "Session ID unknown") {
		t.Errorf("%d %q", status, text)
	}
}

// TestMountTimeouts: the times of an http.Server are for its answers, and not for how long
// a poll waits.
func TestMountTimeouts(t *testing.T) {
	const limit = time.Second / 2 // one of the http.Server's
	for _, c := range []struct {
		name string
		wrap func(w http.ResponseWriter) http.ResponseWriter
		how  func(s *httptest.Server)
	}{
		{"HTTP/2", nil, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }},
		{"hidden", func(w http.ResponseWriter) http.ResponseWriter { return passesDeadlines{hidden{w}, w} }, (*httptest.Server).Start},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := mount(t, sockeye.Config{})
			s := site(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.wrap != nil {
					w = c.wrap(w)
				}
				srv.Handler().ServeHTTP(w, r)
			}), func(s *httptest.Server) {
				s.Config.ReadTimeout, s.Config.WriteTimeout = limit, limit
				c.how(s)
			})
			ctx, cancel := context.WithTimeout(context.Background(), wiretest.Limit)
			defer cancel()
			conn, err := client.Dial(ctx, s.URL, client.Config{Transports: []string{"polling"}, HTTPClient: s.Client(), NoReconnect: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			came := make(chan struct{})
			conn.On("late", func(*client.Event) { close(came) })
			conn.OnDisconnect(func(reason string) { t.Log(reason) })
			eventually(t, func() bool { return srv.Stats().Net.Bridged > 0 }) // a poll waits
			time.Sleep(4 * limit)                                             // for longer than it may take to answer it
			if err := srv.Emit("late"); err != nil {
				t.Fatal(err)
			}
			within(t, came)
		})
	}
}

// passesDeadlines is a ResponseWriter that hides Hijack alone.
type passesDeadlines struct {
	hidden
	w http.ResponseWriter
}

func (p passesDeadlines) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(p.w).SetReadDeadline(t)
}

func (p passesDeadlines) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(p.w).SetWriteDeadline(t)
}

// TestMountUnread: a peer that does not read its answer keeps no handler of the bridge's
// for longer than WriteTimeout, whether the loop still has a part of the answer or not.
func TestMountUnread(t *testing.T) {
	for _, size := range []int{16 << 20, 30_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			srv := mount(t, sockeye.Config{WriteTimeout: 200 * time.Millisecond, CloseTimeout: 100 * time.Millisecond, MaxQueuedBytes: 64 << 20})
			served, over := make(chan struct{}), make(chan struct{}, 10)
			s := site(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Stuck") != "" {
					defer close(served)
					srv.Handler().ServeHTTP(stuck{hidden{w}, over}, r)
					return
				}
				srv.Handler().ServeHTTP(hidden{w}, r)
			}), nil)
			t.Cleanup(func() { over <- struct{}{} }) // whatever has happened
			k := keepAlive(t, s.Listener.Addr().String())
			_, body := k.do("GET " + pollPath + " HTTP/1.1\r\nHost: h\r\n\r\n")
			session := pollPath + "&sid=" + body[9:29]
			k.do("POST " + session + " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n40")
			k.do("GET " + session + " HTTP/1.1\r\nHost: h\r\n\r\n")
			if err := srv.Emit("large", strings.Repeat("x", size)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(k.conn, "GET "+session+" HTTP/1.1\r\nHost: h\r\nStuck: yes\r\n\r\n")
			within(t, served)
			eventually(t, func() bool { return srv.Stats().Net.Bridged == 0 })
		})
	}
}

// stuck is a ResponseWriter that hides Hijack, and whose peer reads nothing: Write waits
// until its deadline is over.
type stuck struct {
	hidden
	over chan struct{}
}

func (s stuck) Write([]byte) (int, error) {
	<-s.over
	return 0, os.ErrDeadlineExceeded
}

func (s stuck) SetWriteDeadline(at time.Time) error {
	if !at.IsZero() {
		time.AfterFunc(time.Until(at), sync.OnceFunc(func() { s.over <- struct{}{} }))
	}
	return nil
}

// TestMountGone: the peer leaves while AllowRequest decides, which is slow, or panics.
func TestMountGone(t *testing.T) {
	decide := make(chan struct{})
	asked := make(chan struct{}, 1)
	srv := mount(t, sockeye.Config{AllowRequest: func(r *sockeye.Request) error {
		asked <- struct{}{}
		<-decide
		if r.Header("Panic") != "" {
			panic("on purpose")
		}
		return nil
	}})
	var inside atomic.Int32
	s := site(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside.Add(1)
		defer inside.Add(-1)
		srv.Handler().ServeHTTP(w, r)
	}), nil)
	k := keepAlive(t, s.Listener.Addr().String())
	fmt.Fprint(k.conn, "GET "+pollPath+" HTTP/1.1\r\nHost: h\r\n\r\n")
	within(t, asked)
	if inside.Load() != 1 {
		t.Error("the handler has returned, and its context ended, before the decision")
	}
	_ = k.conn.Close()
	eventually(t, func() bool { return srv.Stats().Net.Open == 0 })
	close(decide)
	eventually(t, func() bool { return inside.Load() == 0 })
	if st := srv.Stats().Engine; st.Opened != 0 {
		t.Errorf("%d sessions", st.Opened)
	}
	k = keepAlive(t, s.Listener.Addr().String())
	if status, _ := k.do("GET " + pollPath + " HTTP/1.1\r\nHost: h\r\nPanic: yes\r\n\r\n"); status != 403 {
		t.Errorf("a panic: status %d, want 403", status)
	}
	eventually(t, func() bool { return inside.Load() == 0 })
}

// TestMountPanic: a panic of a handler for another path, on a connection that has moved, is
// its http.Server's own.
func TestMountPanic(t *testing.T) {
	srv := mount(t, sockeye.Config{})
	var told wiretest.Output
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv.Handler())
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("on purpose") })
	s := site(t, mux, func(s *httptest.Server) {
		s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&told, nil), slog.LevelError)
		s.Start()
	})
	k := keepAlive(t, s.Listener.Addr().String())
	k.do("GET " + pollPath + " HTTP/1.1\r\nHost: h\r\n\r\n")
	fmt.Fprint(k.conn, "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n")
	if n, err := k.br.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came", n)
	}
	_ = k.conn.Close()
	eventually(t, func() bool { return strings.Contains(told.String(), "on purpose") && srv.Stats().Net.Open == 0 })
}

// TestServe: listeners of every kind.
func TestServe(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	inMemory := wiretest.NewPipes()
	for _, c := range []struct {
		name    string
		ln      func() net.Listener
		dial    func(addr net.Addr) (net.Conn, error)
		bridged bool
	}{
		{
			"tcp", func() net.Listener { ln, _ := net.Listen("tcp", "127.0.0.1:0"); return ln },
			func(a net.Addr) (net.Conn, error) { return net.Dial("tcp", a.String()) }, false,
		},
		{
			"unix", func() net.Listener { ln, _ := net.Listen("unix", t.TempDir()+"/s"); return ln },
			func(a net.Addr) (net.Conn, error) { return net.Dial("unix", a.String()) }, false,
		},
		{"tls", func() net.Listener {
			ln, _ := net.Listen("tcp", "127.0.0.1:0")
			return tls.NewListener(ln, &tls.Config{Certificates: cert.TLS.Certificates})
		}, func(a net.Addr) (net.Conn, error) {
			return tls.Dial("tcp", a.String(), &tls.Config{InsecureSkipVerify: true})
		}, true},
		{"memory", func() net.Listener { return inMemory }, func(net.Addr) (net.Conn, error) {
			near, far := net.Pipe()
			inMemory.Conns <- near
			return far, nil
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := mount(t, sockeye.Config{})
			ln := c.ln()
			ended := make(chan error, 1)
			go func() { ended <- srv.Serve(ln) }()
			conn, err := c.dial(ln.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(wiretest.Limit))
			if err := openSession(conn, true); err != nil {
				t.Fatal(err)
			}
			if n := srv.Stats().Net.Bridged; os.Getenv("SOCKEYE_BRIDGE") == "" && (n == 1) != c.bridged {
				t.Errorf("%d bridged", n)
			}
			go func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() }()
			ctx, cancel := context.WithTimeout(context.Background(), wiretest.Limit)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if err := within(t, ended); err != sockeye.ErrServerClosed {
				t.Errorf("Serve: %v", err)
			}
			if err := srv.Serve(c.ln()); err != sockeye.ErrServerClosed {
				t.Errorf("Serve after Shutdown: %v", err)
			}
		})
	}
}

// connKey finds what ConnContext has put in.
type connKey struct{}
