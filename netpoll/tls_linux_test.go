package netpoll_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
)

// certificate is one of this host's own.
var certificate = sync.OnceValue(func() tls.Certificate { return newCertificate("localhost") })

func newCertificate(name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listenTLS is listen for peers that speak TLS.
func listenTLS(t *testing.T, cfg netpoll.Config, h netpoll.Handler) (*netpoll.Group, string) {
	t.Helper()
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	}
	g, _ := listen(t, cfg, h)
	addr, err := g.ListenTLS("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return g, addr.String()
}

func dialTLS(t *testing.T, addr string, cfg *tls.Config) *tls.Conn {
	t.Helper()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.InsecureSkipVerify = true
	c := tls.Client(dial(t, addr), cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// ways are how a connection may be sealed.
var ways = []struct {
	name string
	cfg  netpoll.Config
	peer *tls.Config
	kept uint64 // connections that keep a tls.Conn
}{
	{"1.3", netpoll.Config{}, &tls.Config{MinVersion: tls.VersionTLS13}, 0},
	{"1.3 by crypto-tls", netpoll.Config{PlainTLS: true}, &tls.Config{MinVersion: tls.VersionTLS13}, 1},
	{"1.2", netpoll.Config{}, &tls.Config{MaxVersion: tls.VersionTLS12}, 1},
	{"1.2 CBC", netpoll.Config{}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, 1},
}

// TestTLS: requests, small and large, claimed and net/http's, on one connection.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			cfg := way.cfg
			cfg.Loops = 2
			cfg.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if r.TLS == nil || !r.TLS.HandshakeComplete || r.TLS.Version < tls.VersionTLS12 {
					err = fmt.Errorf("the request's TLS is %+v", r.TLS)
				}
				fmt.Fprintf(w, "%s|%s|%v", r.URL.Path, b, err)
			})
			cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}, CipherSuites: []uint16{
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			}}
			g, addr := listenTLS(t, cfg, &mine{})
			c := dialTLS(t, addr, way.peer.Clone())
			r := bufio.NewReader(c)
			for i, size := range []int{0, 1, 100, 20_000, 300_000, 5} {
				body := bytes.Repeat([]byte{'a' + byte(i)}, size)
				for _, path := range []string{"/mine/x", "/theirs", "/mine/y"} {
					if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, size, body); err != nil {
						t.Fatal(err)
					}
					want := path + "|" + string(body)
					if path == "/theirs" {
						want += "|<nil>"
					}
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Fatalf("%s with %d bytes: %v", path, size, err)
					}
					got, err := io.ReadAll(resp.Body)
					if err != nil || string(got) != want {
						t.Fatalf("%s with %d bytes: %d came, %.50q, %v", path, size, len(got), got, err)
					}
				}
			}
			if s := g.Stats(); s.TLSHandshakes != 1 || s.TLSKept != way.kept || s.TLSFaults != 0 {
				t.Errorf("%+v", s)
			}
			_ = c.CloseWrite() // close_notify
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("the end is %d, %v", n, err)
			}
		})
	}
}

// TestTLSLentAgain: a connection that net/http gives back with a request that the loop
// lends again at once is not touched by the loop any more. The race detector tells.
func TestTLSLentAgain(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			cfg := way.cfg
			cfg.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s|%v", b, err)
			})
			cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}, CipherSuites: []uint16{
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			}}
			_, addr := listenTLS(t, cfg, &mine{})
			c := dialTLS(t, addr, way.peer.Clone())
			r := bufio.NewReader(c)
			const expecting = "POST /theirs HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
			for range 30 {
				if _, err := io.WriteString(c, "GET /theirs HTTP/1.1\r\nHost: h\r\n\r\n"+expecting); err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{"|<nil>", "", "12345|<nil>"} {
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Fatal(err)
					}
					if want == "" { // 100
						_, err = io.WriteString(c, "12345")
					}
					got, _ := io.ReadAll(resp.Body)
					if err != nil || string(got) != want {
						t.Fatalf("%s: %q, %v", resp.Status, got, err)
					}
				}
			}
		})
	}
}

// together is a net.Conn that sends what is written once release is called.
type together struct {
	net.Conn
	held *[]byte
}

func (c together) Write(b []byte) (int, error) {
	if *c.held == nil {
		return c.Conn.Write(b)
	}
	*c.held = append(*c.held, b...)
	return len(b), nil
}

// SetWriteDeadline leaves what is held alone: CloseWrite ends writing.
func (c together) SetWriteDeadline(time.Time) error { return nil }

// TestTLSLentWithItsEnd: a request for net/http in the same bytes as close_notify behind
// it is answered, and the end is seen behind the answer.
func TestTLSLentWithItsEnd(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			cfg := way.cfg
			cfg.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "answered") })
			cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}, CipherSuites: []uint16{
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			}}
			_, addr := listenTLS(t, cfg, &mine{})
			for range 10 {
				var held []byte
				peer := way.peer.Clone()
				peer.InsecureSkipVerify = true
				raw := dial(t, addr)
				c := tls.Client(together{raw, &held}, peer)
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				held = []byte{}
				_, _ = io.WriteString(c, "GET /theirs HTTP/1.1\r\nHost: h\r\n\r\n")
				_ = c.CloseWrite()
				if _, err := raw.Write(held); err != nil {
					t.Fatal(err)
				}
				held = nil
				got, err := io.ReadAll(c)
				if err != nil || !bytes.HasSuffix(got, []byte("answered")) {
					t.Fatalf("%q, %v", got, err)
				}
			}
		})
	}
}

// TestTLSCallbacksWait: handshakes whose callbacks wait, as autocert's does, until another
// handshake has been made keep no other from being made, however many they are.
func TestTLSCallbacksWait(t *testing.T) {
	t.Parallel()
	const waiting = 20
	for name, where := range map[string]func(cfg *tls.Config, wait func(name string)){
		"GetCertificate": func(cfg *tls.Config, wait func(string)) {
			own := certificate()
			cfg.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { wait(h.ServerName); return &own, nil }
		},
		"GetConfigForClient": func(cfg *tls.Config, wait func(string)) {
			cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { wait(h.ServerName); return nil, nil }
		},
		"VerifyConnection": func(cfg *tls.Config, wait func(string)) {
			cfg.VerifyConnection = func(s tls.ConnectionState) error { wait(s.ServerName); return nil }
		},
		"VerifyPeerCertificate": func(cfg *tls.Config, wait func(string)) {
			cfg.ClientAuth = tls.RequireAnyClientCert
			cfg.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
				c, err := x509.ParseCertificate(raw[0])
				if err == nil {
					wait(c.DNSNames[0])
				}
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over, entered := make(chan struct{}), make(chan struct{}, waiting)
			cfg := &tls.Config{Certificates: []tls.Certificate{certificate()}}
			where(cfg, func(name string) {
				if name == "waits" {
					entered <- struct{}{}
					<-over
				}
			})
			_, addr := listenTLS(t, netpoll.Config{TLS: cfg}, &mine{})
			peer := func(name string) *tls.Config {
				return &tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: []tls.Certificate{newCertificate(name)}}
			}
			ended := make(chan error, waiting)
			for range waiting {
				c := tls.Client(dial(t, addr), peer("waits"))
				go func() {
					_, err := c.Write([]byte("GET /mine/x HTTP/1.1\r\nHost: h\r\n\r\n"))
					if err == nil {
						_, err = c.Read(make([]byte, 1))
					}
					ended <- err
				}()
			}
			for range waiting {
				within(t, "a callback is called", entered)
			}
			c := dialTLS(t, addr, peer("other"))
			send(t, c, "GET /mine/x HTTP/1.1\r\nHost: h\r\n\r\n")
			if _, body := response(t, bufio.NewReader(c), "GET"); body != "/mine/x|" {
				t.Error(body)
			}
			close(over)
			for range waiting {
				if err := within(t, "who waited is answered", ended); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestTLSCallbacksEnd: a callback that waits, for as long as its handshake's context lives,
// keeps its place for others no longer than the handshake has time.
func TestTLSCallbacksEnd(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 2)
	g, addr := listenTLS(t, netpoll.Config{
		Loops: 1, MaxTLSHandshakes: 2, TLSHandshakeTimeout: 300 * time.Millisecond,
		TLS: &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName == "waits" {
				var err error
				select {
				case <-h.Context().Done():
					err = h.Context().Err()
				case <-time.After(limit):
				}
				ended <- err
				return nil, err
			}
			own := certificate()
			return &own, nil
		}},
	}, &mine{})
	for range 2 {
		c := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, ServerName: "waits"})
		go func() { _ = c.Handshake() }()
	}
	for range 2 {
		if err := within(t, "a callback ends", ended); err == nil {
			t.Error("its handshake's context has not ended")
		}
	}
	eventually(t, "they are forgotten", func() bool { s := g.Stats(); return s.Open == 0 && s.MemoryBytes == 0 })
	c := dialTLS(t, addr, &tls.Config{ServerName: "other"})
	send(t, c, "GET /mine/x HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, body := response(t, bufio.NewReader(c), "GET"); body != "/mine/x|" {
		t.Error(body)
	}
}

// TestTLSBridged: connections of a listener that is not the kernel's speak TLS as well,
// at the loops and at net/http, to the end.
func TestTLSBridged(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			cfg := way.cfg
			cfg.Loops = 2
			cfg.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s|%s|%v|%v", r.URL.Path, b, r.TLS != nil, err)
			})
			cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}, CipherSuites: []uint16{
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			}}
			g, _ := listen(t, cfg, &mine{})
			ln := wiretest.NewPipes()
			if _, err := g.Serve(ln, true); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			peer := way.peer.Clone()
			peer.InsecureSkipVerify = true
			c := tls.Client(pipe(t, func(near net.Conn) { ln.Conns <- near }, nil), peer)
			r := bufio.NewReader(c)
			for i, size := range []int{0, 1, 20_000, 300_000, 5} {
				body := bytes.Repeat([]byte{'a' + byte(i)}, size)
				for path, behind := range map[string]string{"/mine/x": "", "/theirs": "|true|<nil>"} {
					written := make(chan error, 1)
					go func() {
						_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, size, body)
						written <- err
					}()
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Fatalf("%s with %d bytes: %v", path, size, err)
					}
					got, err := io.ReadAll(resp.Body)
					if want := path + "|" + string(body) + behind; err != nil || string(got) != want {
						t.Fatalf("%s with %d bytes: %d came, %.50q, %v", path, size, len(got), got, err)
					}
					if err := within(t, "all is written", written); err != nil {
						t.Fatal(err)
					}
				}
			}
			if s := g.Stats(); s.TLSHandshakes != 1 || s.TLSKept != way.kept || s.TLSFaults != 0 {
				t.Errorf("%+v", s)
			}
			go func() { _ = c.CloseWrite() }()
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("the end is %d, %v", n, err)
			}
			eventually(t, "it is forgotten", func() bool { s := g.Stats(); return s.Open == 0 && s.Bridged == 0 && s.Lent == 0 })
		})
	}
}

// TestTLSTwice: a listener whose connections speak TLS already is not served with TLS
// again.
func TestTLSTwice(t *testing.T) {
	t.Parallel()
	g, _ := listen(t, netpoll.Config{TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}}, &mine{})
	pipes := wiretest.NewPipes()
	ended, err := g.Serve(tls.NewListener(pipes, &tls.Config{Certificates: []tls.Certificate{certificate()}}), true)
	if err != nil {
		t.Fatal(err)
	}
	far := pipe(t, func(near net.Conn) { pipes.Conns <- near }, nil)
	if err := within(t, "Serve ends", ended); err == nil || !strings.Contains(err.Error(), "speak TLS already") {
		t.Errorf("it ends with %v", err)
	}
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}
