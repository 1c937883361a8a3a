package bench

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
)

// nothing claims no path: every request belongs to Config.Fallback.
type nothing struct{ netpoll.Handler }

func (nothing) Claims([]byte) bool               { return false }
func (nothing) HandleClose(*netpoll.Conn, error) {}

// BenchmarkFallback is a static file of 10 kB from Config.Fallback, beside net/http
// alone: on a connection of its own, and as a page of 20 requests on one. cpu-us/op
// has the client, too, which is the same.
func BenchmarkFallback(b *testing.B) {
	file := strings.Repeat("0123456789", 1000)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/css")
		_, _ = io.WriteString(w, file)
	})
	plain := httptest.NewServer(h)
	defer plain.Close()
	g, err := netpoll.New(netpoll.Config{Fallback: h}, nothing{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = g.Close(context.Background()) }()
	addr, err := g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		requests int
	}{{"file", 1}, {"page", 20}} {
		for _, server := range []struct{ name, addr string }{
			{"net-http", plain.Listener.Addr().String()}, {"sockeye", addr.String()},
		} {
			b.Run(c.name+"/"+server.name, func(b *testing.B) {
				begin := cpu()
				for b.Loop() {
					getAll(b, server.addr, c.requests, len(file))
				}
				b.ReportMetric(float64((cpu()-begin).Microseconds())/float64(b.N), "cpu-us/op")
			})
		}
	}
}

// getAll asks for so many files, one after the other, on one connection.
func getAll(b *testing.B, addr string, requests, size int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range requests {
		if _, err := io.WriteString(c, "GET /style.css HTTP/1.1\r\nHost: h\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); int(n) != size || err != nil {
			b.Fatalf("%d bytes, %v", n, err)
		}
	}
}
