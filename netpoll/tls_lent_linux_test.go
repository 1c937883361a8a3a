package netpoll_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// lentTLS serves a handler of net/http's by a way, to a peer that has little room for
// what it does not read.
func lentTLS(t *testing.T, way int, h http.HandlerFunc, change func(cfg *netpoll.Config)) (*netpoll.Group, *tls.Conn) {
	t.Helper()
	cfg := ways[way].cfg
	cfg.Fallback = h
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}, CipherSuites: []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	}}
	change(&cfg)
	g, addr := listenTLS(t, cfg, &mine{})
	peer := ways[way].peer.Clone()
	peer.InsecureSkipVerify = true
	c := tls.Client(dialWith(t, addr, 64<<10), peer)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return g, c
}

// TestTLSLentSlowReader: who reads an answer of net/http's at more than Config.MinRate,
// for longer than Config.WriteTimeout, gets all of it, whoever makes the records.
func TestTLSLentSlowReader(t *testing.T) {
	t.Parallel()
	want := pattern(20 << 20)
	for way := range ways {
		t.Run(ways[way].name, func(t *testing.T) {
			t.Parallel()
			g, c := lentTLS(t, way, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(want) }, func(cfg *netpoll.Config) {
				cfg.WriteTimeout = 200 * time.Millisecond
			})
			send(t, c, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 0, len(want))
			for len(got) < len(want) {
				n, err := io.ReadFull(resp.Body, got[len(got):min(len(got)+1<<20, len(want))])
				got = got[:len(got)+n]
				if err != nil {
					t.Fatalf("after %d bytes: %v", len(got), err)
				}
				time.Sleep(50 * time.Millisecond) // reading slowly is what is asked
			}
			if !bytes.Equal(got, want) || g.Stats().Timeouts != 0 {
				t.Errorf("other content: %v, timeouts: %d", !bytes.Equal(got, want), g.Stats().Timeouts)
			}
		})
	}
}

// TestTLSWriteBehindTimeout: who has hijacked a connection, and whose Write has not ended
// in time, may not write anything else: as by crypto/tls, the error stays.
func TestTLSWriteBehindTimeout(t *testing.T) {
	t.Parallel()
	for way := range ways {
		t.Run(ways[way].name, func(t *testing.T) {
			t.Parallel()
			wrote := make(chan [2]error, 1)
			_, c := lentTLS(t, way, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				var errs [2]error
				_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				_, errs[0] = conn.Write(pattern(20 << 20))
				_ = conn.SetWriteDeadline(time.Now().Add(limit))
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				wrote <- errs
				_, errs[1] = conn.Write([]byte("bye"))
				wrote <- errs
			}, func(*netpoll.Config) {})
			send(t, c, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
			if errs := within(t, "a write", wrote); !errors.Is(errs[0], os.ErrDeadlineExceeded) {
				t.Fatal(errs[0])
			}
			_, _ = io.Copy(io.Discard, c) // there is room again
			if errs := within(t, "a write", wrote); errs[1] == nil {
				t.Error("what was written behind it has gone out")
			}
		})
	}
}
