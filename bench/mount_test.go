package bench

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// hidden are connections that are nothing but net.Conns.
type hidden struct{ net.Listener }

func (h hidden) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

// ways are how a connection comes to a loop. Each returns how to dial.
var ways = []struct {
	name  string
	serve func(b *testing.B, srv *sockeye.Server) func() (net.Conn, error)
}{
	{"listener", func(b *testing.B, srv *sockeye.Server) func() (net.Conn, error) {
		addr, err := srv.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		return func() (net.Conn, error) { return net.Dial("tcp", addr.String()) }
	}},
	{"mounted", func(b *testing.B, srv *sockeye.Server) func() (net.Conn, error) {
		s := httptest.NewServer(srv.Handler())
		b.Cleanup(s.Close)
		return func() (net.Conn, error) { return net.Dial("tcp", s.Listener.Addr().String()) }
	}},
	{"bridge", func(b *testing.B, srv *sockeye.Server) func() (net.Conn, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go func() { _ = srv.Serve(hidden{ln}) }()
		return func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }
	}},
	{"mounted-TLS", func(b *testing.B, srv *sockeye.Server) func() (net.Conn, error) {
		s := httptest.NewTLSServer(srv.Handler())
		b.Cleanup(s.Close)
		return func() (net.Conn, error) {
			return tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		}
	}},
}

// openWebSocket opens a session on c.
func openWebSocket(c net.Conn, br *bufio.Reader) error {
	fmt.Fprint(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err == nil && resp.StatusCode != 101 {
		err = fmt.Errorf("%s", resp.Status)
	}
	if err == nil {
		_, err = wiretest.ReadFrame(br)
	}
	if err == nil {
		err = ws.WriteFrame(c, ws.MaskFrame(ws.NewTextFrame([]byte("40"))))
	}
	if err == nil {
		_, err = wiretest.ReadFrame(br)
	}
	return err
}

// BenchmarkMountedEcho answers one event after another on one WebSocket; the client's work
// is part of the CPU time.
func BenchmarkMountedEcho(b *testing.B) {
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			srv, err := sockeye.New(sockeye.Config{Inline: true})
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Close()
			srv.On("e", func(s *sockeye.Socket, v string) string { return v })
			c, err := w.serve(b, srv)()
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			br := bufio.NewReader(c)
			if err := openWebSocket(c, br); err != nil {
				b.Fatal(err)
			}
			frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`421["e","hello, hello, hello"]`))))
			began := cpu()
			for b.Loop() {
				if _, err := c.Write(frame); err != nil {
					b.Fatal(err)
				}
				if _, err := wiretest.ReadFrame(br); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-began)/float64(b.N)/1000, "cpu-us/op")
		})
	}
}

// BenchmarkMountedIdle is what an idle WebSocket takes of heap and stacks, that of its
// client, a bare net.Conn, subtracted as far as it is heap: an op is a connection.
func BenchmarkMountedIdle(b *testing.B) {
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			const n = 2000
			srv, err := sockeye.New(sockeye.Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Close()
			dial := w.serve(b, srv)
			var conns []net.Conn
			defer func() {
				for _, c := range conns {
					_ = c.Close()
				}
			}()
			for b.Loop() {
				before := inUse()
				for range n {
					c, err := dial()
					if err != nil {
						b.Fatal(err)
					}
					conns = append(conns, c)
					if err := openWebSocket(c, bufio.NewReaderSize(io.LimitReader(c, 1<<20), 256)); err != nil {
						b.Fatal(err)
					}
				}
				took := int64(inUse() - before)
				b.ReportMetric(float64(took)/n, "B/conn")
				b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			}
		})
	}
}
