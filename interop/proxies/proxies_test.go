// Package proxies_test runs a server behind the proxies that users have.
package proxies_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// TestProxies runs the configurations of docs/proxy with the programs that they are
// for: by every transport events pass both ways, large ones too; a connection outlives
// the proxy's timeouts because it is pinged, and only therefore; pages of the proxy's
// own origin may connect, others not; with several processes a client stays with its
// own, and comes to another one when that shuts down.
func TestProxies(t *testing.T) {
	if os.Getenv("SOCKEYE_PROXIES") == "" {
		t.Skip("make proxies runs it")
	}
	for _, p := range []struct {
		name, config     string
		second           string // the line of a second process alone
		timeouts, cookie bool   // it has them
		run              func(config, dir string) []string
	}{
		{"nginx", "nginx.conf", "server 127.0.0.1:3001", true, false, func(config, dir string) []string {
			return []string{"-c", config, "-p", dir, "-e", "stderr", "-g", "daemon off; pid nginx.pid;"}
		}},
		{"haproxy", "haproxy.cfg", "server two", true, true, func(config, _ string) []string {
			return []string{"-db", "-f", config}
		}},
		{"caddy", "Caddyfile", "to 127.0.0.1:3001", false, true, func(config, _ string) []string {
			return []string{"run", "--config", config, "--adapter", "caddyfile"}
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			program, err := exec.LookPath(p.name)
			if err != nil {
				t.Skip(p.name, "is not installed")
			}
			// front starts the proxy in front of servers; with several the lines for
			// that count, without sticky only that of a second process.
			front := func(t *testing.T, timeout string, sticky bool, addrs ...string) (url string) {
				text, err := os.ReadFile(filepath.Join("../../docs/proxy", p.config))
				if err != nil {
					t.Fatal(err)
				}
				front := freeAddr(t)
				dir := t.TempDir()
				pairs := []string{"127.0.0.1:8080", front, "60s", timeout, "127.0.0.1:3000", addrs[0]}
				switch {
				case len(addrs) > 1 && !sticky:
					second := "#| " + p.second
					if !strings.Contains(string(text), second) {
						t.Fatalf("%s has no line %s", p.config, second)
					}
					text = bytes.Replace(text, []byte(second), []byte(p.second), 1)
					pairs = append(pairs, "127.0.0.1:3001", addrs[1], " cookie two", "")
				case len(addrs) > 1:
					pairs = append(pairs, "127.0.0.1:3001", addrs[1], "#| ", "", "  server one 127.0.0.1:3000     # in place", "  #")
				}
				config := strings.NewReplacer(pairs...).Replace(string(text))
				startProxy(t, program, dir, front, p.config, config, p.run)
				return "http://" + front
			}
			// behind starts a server, and the proxy in front of it.
			behind := func(t *testing.T, cfg sockeye.Config, timeout string) (url string) {
				_, addr := echoServer(t, cfg)
				return front(t, timeout, false, addr)
			}
			url := behind(t, sockeye.Config{}, "60s")
			for _, transports := range [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}} {
				t.Run(strings.Join(transports, " to "), func(t *testing.T) { throughProxy(t, url, transports) })
			}
			t.Run("origins", func(t *testing.T) { originsBehind(t, url) })
			t.Run("addresses", func(t *testing.T) {
				seen := make(chan *sockeye.Request, 1)
				url := behind(t, sockeye.Config{
					TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
					AllowRequest:   func(r *sockeye.Request) error { seen <- r; return nil },
				}, "60s")
				handshakeFrom(t, url, "127.0.0.5")
				r := <-seen
				if r.Address() != "127.0.0.5" || r.Secure() || !strings.HasPrefix(r.RemoteAddr(), "127.0.0.1:") {
					t.Errorf("Address %q, Secure %v, RemoteAddr %q; X-Forwarded-For %q, -Proto %q", r.Address(), r.Secure(), r.RemoteAddr(), r.Headers()["X-Forwarded-For"], r.Headers()["X-Forwarded-Proto"])
				}
			})
			t.Run("several processes", func(t *testing.T) {
				one, oneAddr := echoServer(t, sockeye.Config{})
				two, twoAddr := echoServer(t, sockeye.Config{})
				url := front(t, "60s", true, oneAddr, twoAddr)
				if seen := sticks(t, url); p.cookie && seen < 2 {
					t.Error("all clients come to one process")
				}
				before := [2]uint64{one.Stats().Engine.Opened, two.Stats().Engine.Opened}
				if kept := keptAtTheirs(t, url); kept != manyPeers {
					t.Errorf("%d of %d sessions stay at their process", kept, manyPeers)
				}
				if one.Stats().Engine.Opened == before[0] || two.Stats().Engine.Opened == before[1] {
					t.Error("all addresses come to one process")
				}
				if keptAtTheirs(t, front(t, "60s", false, oneAddr, twoAddr)) == manyPeers {
					t.Error("sessions stay at their process without the lines for it: this test sees nothing")
				}
				comesToAnother(t, url, map[string]*sockeye.Server{oneAddr: one, twoAddr: two})
			})
			if !p.timeouts {
				return
			}
			t.Run("pinged", func(t *testing.T) {
				t.Parallel()
				staysFor(t, behind(t, sockeye.Config{PingInterval: 500 * time.Millisecond}, "2s"), 5*time.Second, true)
			})
			t.Run("not pinged", func(t *testing.T) {
				t.Parallel()
				staysFor(t, behind(t, sockeye.Config{PingInterval: time.Minute}, "2s"), 5*time.Second, false)
			})
		})
	}
}

// startProxy starts a program with a configuration of that name, until the test ends.
func startProxy(t *testing.T, program, dir, front, name, text string, run func(config, dir string) []string) {
	t.Helper()
	config := filepath.Join(dir, name)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, run(config, dir)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s: %s", program, out.String())
		}
	})
	for range 100 {
		if c, err := net.Dial("tcp", front); err == nil {
			_ = c.Close()
			listensThereOnly(t, front)
			return
		}
		select {
		case <-ended:
			t.Fatal("it has ended")
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("it does not listen")
}

// handshakeFrom opens a session from an address of this machine, with what a client
// could forge.
func handshakeFrom(t *testing.T, url, from string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "203.0.113.66")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("Forwarded", "for=203.0.113.66;proto=https")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	h := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
	resp, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}

// TestProxiesOfConnections: proxies that pass connections on as they are tell whose they
// are by the PROXY protocol, version 1 or 2; events pass on every transport, and health
// checks are no faults.
func TestProxiesOfConnections(t *testing.T) {
	if os.Getenv("SOCKEYE_PROXIES") == "" {
		t.Skip("make proxies runs it")
	}
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, p := range []struct {
		name, config string
		checks       bool
		run          func(t *testing.T, config, dir string) []string
	}{
		{"nginx", "nginx-stream.conf", false, func(t *testing.T, config, dir string) []string {
			global := "daemon off; pid nginx.pid;"
			if about, _ := exec.Command("nginx", "-V").CombinedOutput(); bytes.Contains(about, []byte("--with-stream=dynamic")) {
				module := os.Getenv("NGINX_STREAM_MODULE")
				if module == "" {
					module = "/usr/lib/nginx/modules/ngx_stream_module.so"
				}
				if _, err := os.Stat(module); err != nil {
					t.Skip("nginx has no module stream: apt-get install libnginx-mod-stream")
				}
				global = "load_module " + module + "; " + global
			}
			return []string{"-c", config, "-p", dir, "-e", "stderr", "-g", global}
		}},
		{"haproxy", "haproxy-tcp.cfg", true, func(_ *testing.T, config, _ string) []string {
			return []string{"-db", "-f", config}
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			program, err := exec.LookPath(p.name)
			if err != nil {
				t.Skip(p.name, "is not installed")
			}
			text, err := os.ReadFile(filepath.Join("../../docs/proxy", p.config))
			if err != nil {
				t.Fatal(err)
			}
			seen := make(chan *sockeye.Request, 100)
			srv, addr := echoServer(t, sockeye.Config{
				ProxyProtocol: local,
				AllowRequest:  func(r *sockeye.Request) error { seen <- r; return nil },
			})
			front := freeAddr(t)
			startProxy(t, program, t.TempDir(), front, p.config, strings.NewReplacer("127.0.0.1:8080", front, "127.0.0.1:3000", addr).Replace(string(text)),
				func(config, dir string) []string { return p.run(t, config, dir) })
			url := "http://" + front
			for _, transports := range [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}} {
				c, err := client.Dial(t.Context(), url, client.Config{Transports: transports})
				if err != nil {
					t.Fatal(err)
				}
				want := bytes.Repeat([]byte("sockeye "), 64_000)
				answer, err := c.Call(t.Context(), "echo", want)
				var got []byte
				if err != nil || answer.Decode(&got) != nil || !bytes.Equal(got, want) {
					t.Errorf("%v: %d bytes, %v", transports, len(got), err)
				}
				c.Close()
				<-seen
			}
			handshakeFrom(t, url, "127.0.0.5")
			if r := <-seen; r.Address() != "127.0.0.5" || !strings.HasPrefix(r.RemoteAddr(), "127.0.0.5:") || r.Secure() {
				t.Errorf("Address %q, RemoteAddr %q, Secure %v", r.Address(), r.RemoteAddr(), r.Secure())
			}
			if before := srv.Stats().Net.Accepted; p.checks {
				for range 200 {
					if srv.Stats().Net.Accepted > before+1 {
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
				if srv.Stats().Net.Accepted <= before+1 {
					t.Error("no health check has come")
				}
			}
			if s := srv.Stats().Net; s.BadProxyHeaders != 0 || s.BadRequests != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// echoServer runs a server, which answers by its address who it is.
func echoServer(t *testing.T, cfg sockeye.Config) (srv *sockeye.Server, addr string) {
	t.Helper()
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv.On("echo", func(s *sockeye.Socket, v []byte) []byte { return v })
	srv.On("push", func(s *sockeye.Socket, n int) error { return s.Emit("pushed", strings.Repeat("x", n)) })
	srv.On("transport", func(s *sockeye.Socket) string { return s.Transport() })
	bound, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	srv.On("who", bound.String)
	srv.On("from", func(s *sockeye.Socket) string { return s.Handshake().Headers.Get("X-Forwarded-For") })
	srv.On("proto", func(s *sockeye.Socket) string { return s.Handshake().Headers.Get("X-Forwarded-Proto") })
	srv.On("ask", func(s *sockeye.Socket) (text string, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		answer, err := s.Call(ctx, "question")
		if err != nil {
			return "", err
		}
		return text, answer.Decode(&text)
	})
	return srv, bound.String()
}

// listensThereOnly: the configurations name 127.0.0.1, so that another address of the
// machine has no proxy.
func listensThereOnly(t *testing.T, front string) {
	t.Helper()
	if c, err := net.Dial("tcp", strings.Replace(front, "127.0.0.1", "127.0.0.2", 1)); err == nil {
		_ = c.Close()
		t.Error("it listens on other addresses, too")
	}
}

// manyPeers are so many that not all of them are of one process by chance.
const manyPeers = 24

// keptAtTheirs tells how many polling sessions, each of an address and with cookies of
// its own, come to their process by every request, each by a connection of its own.
func keptAtTheirs(t *testing.T, url string) (kept int) {
	t.Helper()
	for i := range manyPeers {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}}
		h := &http.Client{
			Jar: jar, Timeout: 10 * time.Second,
			Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true},
		}
		do := func(method, query, body string) (status int, text string) {
			r, err := http.NewRequest(method, url+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := h.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(b)
		}
		var open struct{ SID string }
		status, text := do(http.MethodGet, "", "")
		if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "0")), &open); err != nil {
			t.Fatal(status, text, err)
		}
		kept++
		// A client sends nothing more before its connect is answered; 1 closes.
		for _, request := range [][2]string{{"POST", "40"}, {"GET", ""}, {"POST", `420["who"]`}, {"GET", ""}, {"POST", "1"}} {
			status, text := do(request[0], "&sid="+open.SID, request[1])
			if strings.Contains(text, "Session ID unknown") {
				kept--
				break
			}
			if status != http.StatusOK {
				t.Fatal(request, status, text)
			}
		}
	}
	return kept
}

// comesToAnother: a client whose process shuts down is told "transport close", and
// connects to the other process by itself.
func comesToAnother(t *testing.T, url string, servers map[string]*sockeye.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(ctx, url, client.Config{HTTPClient: &http.Client{Jar: jar}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	gone, back := make(chan string, 10), make(chan struct{}, 10)
	c.OnDisconnect(func(reason string) { gone <- reason })
	c.OnReconnect(func(int) { back <- struct{}{} })
	first, err := ask(ctx, c, "who")
	if err != nil || servers[first] == nil {
		t.Fatal(first, err)
	}
	if err := servers[first].Shutdown(ctx); err != nil {
		t.Error(err)
	}
	begun := time.Now()
	select {
	case reason := <-gone:
		if reason != "transport close" {
			t.Errorf("the client is told %q", reason)
		}
	case <-ctx.Done():
		t.Fatal("the client is not told")
	}
	select {
	case <-back:
		t.Logf("back after %v", time.Since(begun).Round(10*time.Millisecond))
	case <-ctx.Done():
		t.Fatal("the client does not come back")
	}
	if now, err := ask(ctx, c, "who"); err != nil || now == first || servers[now] == nil {
		t.Errorf("it was at %s, and is at %s: %v", first, now, err)
	}
}

// sticks tells how many servers clients come to; each stays with its own.
func sticks(t *testing.T, url string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for i := range 8 {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		transports := [][]string{{"polling"}, {"polling", "websocket"}}[i%2]
		c, err := client.Dial(ctx, url, client.Config{Transports: transports, HTTPClient: &http.Client{Jar: jar}, NoReconnect: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for answers, got := 0, ""; answers < 5 || got != transports[len(transports)-1]; answers++ {
			if got, err = ask(ctx, c, "who"); err != nil {
				t.Fatal(err)
			}
			seen[got] = true
			if got, err = ask(ctx, c, "transport"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return len(seen)
}

// ask is what an event's handler answers.
func ask(ctx context.Context, c *client.Client, event string) (text string, err error) {
	answer, err := c.Call(ctx, event)
	if err == nil {
		err = answer.Decode(&text)
	}
	return text, err
}

// freeAddr is an address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func throughProxy(t *testing.T, url string, transports []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, url, client.Config{Transports: transports})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pushed := make(chan int, 10)
	c.On("pushed", func(e *client.Event) {
		var text string
		_ = e.Decode(&text)
		pushed <- len(text)
	})
	want := bytes.Repeat([]byte("sockeye "), 64_000)
	for range 3 {
		answer, err := c.Call(ctx, "echo", want)
		var got []byte
		if err != nil || answer.Decode(&got) != nil || !bytes.Equal(got, want) {
			t.Fatalf("echo: %d bytes, %v", len(got), err)
		}
		if err := c.Emit("push", 500_000); err != nil {
			t.Fatal(err)
		}
		select {
		case n := <-pushed:
			if n != 500_000 {
				t.Fatalf("%d bytes are pushed", n)
			}
		case <-ctx.Done():
			t.Fatal("nothing is pushed")
		}
	}
	want2 := transports[len(transports)-1]
	for { // the upgrade takes its time
		got, err := ask(ctx, c, "transport")
		if err != nil {
			t.Fatal(err)
		}
		if got == want2 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.On("question", func(e *client.Event) { _ = e.Ack("answer") })
	for event, want := range map[string]string{"ask": "answer", "proto": "http"} {
		if got, err := ask(ctx, c, event); err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", event, got, err, want)
		}
	}
	if from, err := ask(ctx, c, "from"); err != nil || from != "127.0.0.1" {
		t.Errorf("X-Forwarded-For is %q (%v)", from, err)
	}
}

// originsBehind: the proxy passes Host on, so that a page of its own is known.
func originsBehind(t *testing.T, url string) {
	for origin, want := range map[string]int{url: 200, "http://elsewhere.example": 403} {
		r, err := http.NewRequest(http.MethodGet, url+"/socket.io/?EIO=4&transport=polling", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a page of %s: %d, want %d", origin, resp.StatusCode, want)
		}
	}
}

// staysFor tells whether an idle WebSocket and an idle polling session live for d.
func staysFor(t *testing.T, url string, d time.Duration, want bool) {
	ctx, cancel := context.WithTimeout(context.Background(), d+20*time.Second)
	defer cancel()
	for _, transport := range []string{"websocket", "polling"} {
		c, err := client.Dial(ctx, url, client.Config{Transports: []string{transport}, NoReconnect: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		gone := make(chan string, 1)
		c.OnDisconnect(func(reason string) { gone <- reason })
		select {
		case reason := <-gone:
			if want {
				t.Errorf("%s: %s", transport, reason)
			}
		case <-time.After(d):
			if !want {
				t.Errorf("%s: lives though it is not pinged", transport)
			}
		}
	}
}
