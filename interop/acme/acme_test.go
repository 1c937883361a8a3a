// Package acme has the server get its certificate from an ACME server, Pebble, as from
// Let's Encrypt.
package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

const domain = "sockeye.test"

// startDNS answers that every name is this host. Pebble asks by TCP.
func startDNS(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		answer := new(dns.Msg).SetReply(m)
		if q := m.Question[0]; q.Qtype == dns.TypeA {
			header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: q.Qclass, Ttl: 1}
			answer.Answer = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(answer)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = ln.Close()
		<-ended
	})
	return ln.Addr().String()
}

// startPebble starts an ACME server that knocks at that port, and returns the
// certificate that its own are signed by.
func startPebble(t *testing.T, port int) (directory *acme.Client, root []byte) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "20") // of a hundred
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	front := wfe.New(quiet, store, va.New(quiet, 1, port, true, startDNS(t), store), authority, []string{"pebble.test"}, true, false, 1, 1)
	pebble := front.Handler()
	// Package acme wants the order's address in the answer to its end, where Let's Encrypt
	// has it and Pebble has not.
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutPrefix(r.URL.Path, "/finalize-order/"); ok {
			w.Header().Set("Location", "https://"+r.Host+"/my-order/"+id)
		}
		pebble.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return &acme.Client{DirectoryURL: server.URL + wfe.DirectoryPath, HTTPClient: server.Client()}, authority.GetRootCert(0).PEM()
}

// lines is a log that several write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAutocert: the first handshake has autocert ask Pebble for a certificate, which is
// proved by tls-alpn-01 on the same port; clients trust it.
func TestAutocert(t *testing.T) {
	manager := &autocert.Manager{Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(domain), Cache: autocert.DirCache(t.TempDir())}
	var out lines
	srv, err := sockeye.New(sockeye.Config{TLS: manager.TLSConfig(), TLSHandshakeTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = srv.Close()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	srv.On("add", func(_ *sockeye.Socket, a, b int) int { return a + b })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr()
	var root []byte
	manager.Client, root = startPebble(t, addr.(*net.TCPAddr).Port)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(root)
	ours := &tls.Config{RootCAs: trusted, ServerName: domain}

	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", addr.String(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if state := conn.ConnectionState(); state.Version != tls.VersionTLS13 || len(state.VerifiedChains) == 0 {
		t.Errorf("%+v", state)
	}
	_ = conn.Close()
	if n := srv.Stats().Net; n.TLSHandshakes < 2 || n.CallbackPanics != 0 {
		t.Errorf("the authority has not knocked: %+v", n)
	}

	t.Run("Go", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, err := client.Dial(ctx, "https://"+addr.String(), client.Config{TLS: ours})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var sum int
		if answer, err := c.Call(ctx, "add", 1, 2); err != nil || answer.Decode(&sum) != nil || sum != 3 {
			t.Errorf("%d, %v", sum, err)
		}
	})
	t.Run("socket.io-client", func(t *testing.T) {
		if _, err := os.Stat("../clients/node_modules/socket.io-client"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err, "(run ci/clients.sh)")
		}
		file := filepath.Join(t.TempDir(), "root.pem")
		if err := os.WriteFile(file, root, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, transport := range []string{"polling", "websocket"} {
			cmd := exec.CommandContext(t.Context(), "node", "../clients/js/trusts.mjs", "https://"+addr.String(), domain, file, transport)
			if out, err := cmd.CombinedOutput(); err != nil || string(bytes.TrimSpace(out)) != "3" {
				t.Errorf("%s: %s %v", transport, out, err)
			}
		}
	})
}
