// Package proxies_test runs a server behind the proxies that users have.
package proxies_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
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
// own origin may connect, others not.
func TestProxies(t *testing.T) {
	if os.Getenv("SOCKEYE_PROXIES") == "" {
		t.Skip("make proxies runs it")
	}
	for _, p := range []struct {
		name, config     string
		timeouts, cookie bool // it has them
		run              func(config, dir string) []string
	}{
		{"nginx", "nginx.conf", true, false, func(config, dir string) []string {
			return []string{"-c", config, "-p", dir, "-e", "stderr", "-g", "daemon off; pid nginx.pid;"}
		}},
		{"haproxy", "haproxy.cfg", true, true, func(config, _ string) []string { return []string{"-db", "-f", config} }},
		{"caddy", "Caddyfile", false, true, func(config, _ string) []string {
			return []string{"run", "--config", config, "--adapter", "caddyfile"}
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			program, err := exec.LookPath(p.name)
			if err != nil {
				t.Skip(p.name, "is not installed")
			}
			// front starts the proxy in front of servers; with several the lines for
			// that count.
			front := func(t *testing.T, timeout string, addrs ...string) (url string) {
				text, err := os.ReadFile(filepath.Join("../../docs/proxy", p.config))
				if err != nil {
					t.Fatal(err)
				}
				front := freeAddr(t)
				dir := t.TempDir()
				config := filepath.Join(dir, p.config)
				pairs := []string{"127.0.0.1:8080", front, "60s", timeout, "127.0.0.1:3000", addrs[0]}
				if len(addrs) > 1 {
					pairs = append(pairs, "127.0.0.1:3001", addrs[1], "#| ", "", "  server one 127.0.0.1:3000     # in place", "  #")
				}
				if err := os.WriteFile(config, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(program, p.run(config, dir)...)
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
						t.Logf("%s: %s", p.name, out.String())
					}
				})
				for range 100 {
					if c, err := net.Dial("tcp", front); err == nil {
						_ = c.Close()
						return "http://" + front
					}
					select {
					case <-ended:
						t.Fatal("it has ended")
					case <-time.After(50 * time.Millisecond):
					}
				}
				t.Fatal("it does not listen")
				return ""
			}
			// behind starts a server, and the proxy in front of it.
			behind := func(t *testing.T, cfg sockeye.Config, timeout string) (url string) {
				return front(t, timeout, echoServer(t, cfg))
			}
			url := behind(t, sockeye.Config{}, "60s")
			for _, transports := range [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}} {
				t.Run(strings.Join(transports, " to "), func(t *testing.T) { throughProxy(t, url, transports) })
			}
			t.Run("origins", func(t *testing.T) { originsBehind(t, url) })
			t.Run("several processes", func(t *testing.T) {
				seen := sticks(t, front(t, "60s", echoServer(t, sockeye.Config{}), echoServer(t, sockeye.Config{})))
				if p.cookie && seen < 2 {
					t.Error("all clients come to one process")
				}
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

// echoServer runs a server, which answers by its address who it is.
func echoServer(t *testing.T, cfg sockeye.Config) (addr string) {
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
	return bound.String()
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
