package sockeye_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
)

// TestTLS: events go both ways over wss and https, polling included, and handlers are
// told that it is secure.
func TestTLS(t *testing.T) {
	t.Parallel()
	srv, err := sockeye.New(sockeye.Config{TLS: tlspeer.ServerConfig(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	srv.On("sum", func(s *sockeye.Socket, a, b int) (int, bool) { return a + b, s.Request().Secure() })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, transports := range [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}} {
		c, err := client.Dial(t.Context(), "https://"+addr.String(), client.Config{
			Transports: transports, TLS: &tls.Config{InsecureSkipVerify: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		var sum int
		var secure bool
		answer, err := c.Call(t.Context(), "sum", 1, 2)
		if err != nil || answer.Decode(&sum, &secure) != nil || sum != 3 || !secure {
			t.Errorf("%v: %d, secure %v, %v", transports, sum, secure, err)
		}
		_ = c.Close()
	}
}

// TestClientCertificate: who has shown one is known by it, to those who decide and later;
// who must show one and has none does not get in.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	cert := tlspeer.NewCertificate("ann")
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	cfg := tlspeer.ServerConfig()
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAnyClientCert, x509.NewCertPool()
	cfg.ClientCAs.AddCert(leaf)
	name := func(r *sockeye.Request) string {
		if r.TLS() == nil || r.HTTP().TLS == nil {
			return "nobody"
		}
		return r.TLS().PeerCertificates[0].DNSNames[0]
	}
	decided := make(chan string, 1)
	srv, err := sockeye.New(sockeye.Config{TLS: cfg, Logger: slog.New(slog.DiscardHandler), AllowRequest: func(r *sockeye.Request) error {
		decided <- name(r)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	srv.On("who", func(s *sockeye.Socket) string { return name(s.Request()) })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer := &tls.Config{InsecureSkipVerify: true}
	if _, err := client.Dial(t.Context(), "https://"+addr.String(), client.Config{TLS: peer.Clone()}); err == nil {
		t.Error("a peer without a certificate is in")
	}
	peer.Certificates = []tls.Certificate{cert}
	c, err := client.Dial(t.Context(), "https://"+addr.String(), client.Config{TLS: peer})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var who string
	answer, err := c.Call(t.Context(), "who")
	if err != nil || answer.Decode(&who) != nil || who != "ann" || <-decided != "ann" {
		t.Errorf("%q, %v", who, err)
	}
}

// TestListenAndServeTLS: a certificate of files, told at once if it is none.
func TestListenAndServeTLS(t *testing.T) {
	t.Parallel()
	srv, err := sockeye.New(sockeye.Config{Logger: slog.New(slog.DiscardHandler), Fallback: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.ListenAndServeTLS("127.0.0.1:0", "no.pem", "no.pem"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without files: %v", err)
	}
	certFile, keyFile, err := tlspeer.WriteFiles(t.TempDir(), tlspeer.Certificate(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ListenAndServeTLS("127.0.0.1:0", certFile, keyFile) }()
	for !srv.Health().Ready {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, sockeye.ErrServerClosed) {
		t.Error(err)
	}
	other, err := sockeye.New(sockeye.Config{TLS: tlspeer.ServerConfig(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.ListenAndServeTLS("127.0.0.1:0", certFile, keyFile); err == nil || !strings.Contains(err.Error(), "Config.TLS") {
		t.Errorf("two certificates: %v", err)
	}
}
