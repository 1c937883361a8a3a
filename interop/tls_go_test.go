package interop_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	goclient "github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
)

// goVersions are what crypto/tls can choose as a client.
var goVersions = []tlsChoice{{"TLSv1.3", tls.VersionTLS13, 0}, {"TLSv1.2", tls.VersionTLS12, 0}}

// peerTLS is a client's configuration.
func peerTLS(by tlsChoice) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: by.version, MaxVersion: by.version}
}

// fetch requests a page over a connection of its own, and returns what it was.
func fetch(t *testing.T, x *tlsServer, cfg *tls.Config) (*tls.ConnectionState, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg.Clone(), DisableKeepAlives: true}
	transport.TLSClientConfig.ClientSessionCache = cfg.ClientSessionCache
	c := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	resp, err := c.Get(x.url() + "/page?go")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.HasPrefix(b, []byte("page go by ")) {
		t.Errorf("%q, %v", b, err)
	}
	return resp.TLS, nil
}

// TestTLSGo: this project's client by both transports.
func TestTLSGo(t *testing.T) {
	for _, by := range goVersions {
		for _, transports := range [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}} {
			t.Run(by.name+"/"+transports[0]+transports[len(transports)-1], func(t *testing.T) {
				t.Parallel()
				x := startTLS(t, nil)
				c, err := goclient.Dial(t.Context(), x.url(), goclient.Config{Transports: transports, TLS: peerTLS(by)})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				told := make(chan []byte, 1)
				c.On("told", func(e *goclient.Event) {
					var b []byte
					_ = e.Decode(&b)
					told <- b
				})
				sent := make([]byte, 200_000)
				_, _ = rand.Read(sent)
				for range 3 {
					var got []byte
					answer, err := c.Call(t.Context(), "echo", sent)
					if err != nil || answer.Decode(&got) != nil || !bytes.Equal(got, sent) {
						t.Fatalf("%d bytes came back, %v", len(got), err)
					}
				}
				if err := c.Emit("tell", sent); err != nil {
					t.Fatal(err)
				}
				select {
				case got := <-told:
					if !bytes.Equal(got, sent) {
						t.Errorf("the room was told %d other bytes", len(got))
					}
				case <-time.After(10 * time.Second):
					t.Error("the room was not told")
				}
				x.check(t, by)
			})
		}
	}
}

// TestTLSClientCertificates: with one that the authority knows a peer is served, and
// refused without one and with another.
func TestTLSClientCertificates(t *testing.T) {
	for _, by := range goVersions {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			known := tlspeer.NewCertificate("known")
			leaf, err := x509.ParseCertificate(known.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			x := startTLS(t, func(cfg *tls.Config) {
				cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
				cfg.ClientCAs.AddCert(leaf)
			})
			peer := peerTLS(by)
			peer.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			for _, certificates := range [][]tls.Certificate{nil, {tlspeer.NewCertificate("other")}} {
				peer.Certificates = certificates
				if _, err := fetch(t, x, peer); err == nil {
					t.Errorf("with %d certificates: served", len(certificates))
				}
			}
			if n := x.srv.Stats().Net.TLSFaults; n != 2 {
				t.Errorf("%d faults are counted, want 2", n)
			}
			peer.Certificates = []tls.Certificate{known}
			for _, resumes := range []bool{false, true} {
				if state, err := fetch(t, x, peer); err != nil || state.DidResume != resumes {
					t.Errorf("with the right one: resumes %v, want %v, %v", state != nil && state.DidResume, resumes, err)
				}
			}
		})
	}
}

// TestTLSLive: a certificate and ticket keys that change while the server runs.
func TestTLSLive(t *testing.T) {
	for _, by := range goVersions {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			var current atomic.Pointer[tls.Certificate]
			var live *tls.Config
			x := startTLS(t, func(cfg *tls.Config) {
				cfg.Certificates = nil
				cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil }
				live = cfg
			})
			for _, name := range []string{"one", "two"} {
				c := tlspeer.NewCertificate(name)
				current.Store(&c)
				if state, err := fetch(t, x, peerTLS(by)); err != nil || state.PeerCertificates[0].DNSNames[0] != name {
					t.Errorf("not %s's certificate, %v", name, err)
				}
			}
			peer := peerTLS(by)
			peer.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			key := [...][32]byte{{1}, {2}, {3}}
			for i, step := range []struct {
				keys    [][32]byte // nil: as before
				resumes bool
			}{
				{nil, false},
				{nil, true}, // keys of crypto/tls's own
				{key[:1], false},
				{nil, true},
				{[][32]byte{key[1], key[0]}, true}, // the one before is still known
				{key[1:2], true},                   // and the ticket is by the new one
				{key[2:], false},
				{nil, true},
			} {
				if step.keys != nil {
					live.SetSessionTicketKeys(step.keys)
				}
				if state, err := fetch(t, x, peer); err != nil || state.DidResume != step.resumes {
					t.Errorf("step %d: resumes %v, want %v, %v", i, state != nil && state.DidResume, step.resumes, err)
				}
			}
			x.check(t, by)
		})
	}
}

// TestTLSProtocols: HTTP/2 is not offered, HTTP/1.1 is, whatever the configuration has.
func TestTLSProtocols(t *testing.T) {
	for _, protocols := range [][]string{nil, {"h2", "http/1.1"}, {"h2"}} {
		x := startTLS(t, func(cfg *tls.Config) { cfg.NextProtos = protocols })
		for _, by := range goVersions {
			for _, c := range []struct {
				offers []string
				want   string // "none" for a refusal
			}{
				{nil, ""}, {[]string{"http/1.1"}, "http/1.1"}, {[]string{"h2", "http/1.1"}, "http/1.1"}, {[]string{"h2"}, "none"},
			} {
				peer := peerTLS(by)
				peer.NextProtos = c.offers
				got := "none"
				if conn, err := tls.Dial("tcp", x.addr, peer); err == nil {
					got = conn.ConnectionState().NegotiatedProtocol
					_ = conn.Close()
				}
				if got != c.want {
					t.Errorf("by %v, of %v: %q, want %q", protocols, c.offers, got, c.want)
				}
			}
		}
	}
}
