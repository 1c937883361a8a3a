//go:build unix

package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// TestServe: a server serves listeners that others have made, until it ends, and closes
// them then.
func TestServeKernels(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	srv.On("sum", func(a, b int) int { return a + b })
	ended := make(chan error, 2)
	path := filepath.Join(t.TempDir(), "s")
	var all []net.Listener
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", path}} {
		ln, err := net.Listen(at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ln)
		go func() { ended <- srv.Serve(ln) }()
	}
	for _, ln := range all {
		cfg := client.Config{NoReconnect: true}
		if ln.Addr().Network() == "unix" {
			cfg.Transports = []string{"polling"}
			cfg.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			}}}
		}
		url := "http://" + ln.Addr().String()
		if ln.Addr().Network() == "unix" {
			url = "http://local"
		}
		c, err := client.Dial(t.Context(), url, cfg)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Call(t.Context(), "sum", 1, 2)
		var sum int
		if err != nil || answer.Decode(&sum) != nil || sum != 3 {
			t.Errorf("%v: %d, %v", ln.Addr(), sum, err)
		}
		c.Close()
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	for range all {
		if err := within(t, ended); !errors.Is(err, sockeye.ErrServerClosed) {
			t.Error(err)
		}
	}
	if err := srv.Serve(other); !errors.Is(err, sockeye.ErrServerClosed) {
		t.Error(err)
	}
	for _, ln := range append(all, other) {
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v is open: %v", ln.Addr(), err)
		}
	}
}

// TestReusePort: two servers in one process listen on one port, and both get
// connections.
func TestReusePort(t *testing.T) {
	addr, one := serve(t, sockeye.Config{ReusePort: true}, nil)
	two, err := sockeye.New(sockeye.Config{ReusePort: true})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if _, err := two.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		c, err := client.Dial(t.Context(), "http://"+addr, client.Config{Transports: []string{"websocket"}, NoReconnect: true})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if one.Stats().Engine.Opened > 0 && two.Stats().Engine.Opened > 0 {
			return
		}
	}
	t.Errorf("%d and %d sessions", one.Stats().Engine.Opened, two.Stats().Engine.Opened)
}

// TestAddressesBehindProxies: what a handler, AllowRequest and the application's own
// pages see of a client behind a proxy: by the PROXY protocol, by fields, by both, and
// by none.
func TestAddressesBehindProxies(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	const header, fields = "PROXY TCP4 10.1.2.3 192.0.2.2 4321 443\r\n", "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\n"
	for _, c := range []struct {
		name            string
		cfg             sockeye.Config
		header, fields  string
		address, remote string // of 127.0.0.1 if they are ""
		secure          bool
	}{
		{"none", sockeye.Config{}, "", fields, "", "", false},
		{"PROXY", sockeye.Config{ProxyProtocol: local}, header, fields, "10.1.2.3", "10.1.2.3:4321", false},
		{"fields", sockeye.Config{TrustedProxies: local}, "", fields, "203.0.113.1", "", true},
		{"both", sockeye.Config{ProxyProtocol: local, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, header, fields, "203.0.113.1", "10.1.2.3:4321", true},
		{"fields of a client behind PROXY", sockeye.Config{ProxyProtocol: local, TrustedProxies: local}, header, fields, "10.1.2.3", "10.1.2.3:4321", false},
		{"no fields", sockeye.Config{TrustedProxies: local}, "", "", "", "", false},
	} {
		seen := make(chan [3]string, 1)
		c.cfg.AllowRequest = func(r *sockeye.Request) error {
			seen <- [3]string{r.Address(), r.RemoteAddr(), fmt.Sprint(r.Secure())}
			return nil
		}
		handled := make(chan sockeye.Handshake, 1)
		c.cfg.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })
		addr, _ := serve(t, c.cfg, func(srv *sockeye.Server) {
			srv.OnConnection(func(s *sockeye.Socket) { handled <- s.Handshake() })
		})
		dial := func() net.Conn {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(conn, c.header); err != nil {
				t.Fatal(err)
			}
			return conn
		}
		var from string
		cl := &http.Client{Transport: &fieldsTransport{c.fields, &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			conn := dial()
			if from == "" {
				from = conn.LocalAddr().String()
			}
			return conn, nil
		}}}}
		sock, err := client.Dial(t.Context(), "http://"+addr, client.Config{Transports: []string{"polling"}, HTTPClient: cl, NoReconnect: true})
		if err != nil {
			t.Fatal(c.name, err)
		}
		defer sock.Close()
		remote, address := c.remote, c.address
		if remote == "" {
			remote = from
		}
		if address == "" {
			address = "127.0.0.1"
		}
		if got, want := within(t, seen), [3]string{address, remote, fmt.Sprint(c.secure)}; got != want {
			t.Errorf("%s: %q, want %q", c.name, got, want)
		}
		if h := within(t, handled); h.Address != address || h.Secure != c.secure {
			t.Errorf("%s: Handshake has %q, %v", c.name, h.Address, h.Secure)
		}
		conn := dial()
		defer conn.Close()
		fmt.Fprintf(conn, "GET /page HTTP/1.0\r\n%s\r\n", c.fields)
		b, err := io.ReadAll(conn)
		if c.remote == "" {
			remote = conn.LocalAddr().String()
		}
		if _, body, _ := strings.Cut(string(b), "\r\n\r\n"); body != remote {
			t.Errorf("%s: net/http sees %q, want %q (%v)", c.name, body, remote, err)
		}
	}
}

// fieldsTransport adds fields to requests.
type fieldsTransport struct {
	lines string
	http.RoundTripper
}

func (f *fieldsTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for line := range strings.Lines(f.lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Set(name, value)
	}
	return f.RoundTripper.RoundTrip(r)
}
