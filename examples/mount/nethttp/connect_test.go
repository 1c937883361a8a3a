package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/net/http2"

	"github.com/sockeye-io/sockeye"
)

// serverTime is what the http.Server gives a request and its answer: a WebSocket lives
// for longer.
const serverTime = 300 * time.Millisecond

// TestExtendedConnect opens a WebSocket over HTTP/2 (RFC 8441), which net/http does only
// in a process that has been started so.
func TestExtendedConnect(t *testing.T) {
	const env = "http2xconnect=1"
	if !strings.Contains(os.Getenv("GODEBUG"), env) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestExtendedConnect$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), "GODEBUG="+env)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	register(srv)
	s := httptest.NewUnstartedServer(routes(srv))
	s.EnableHTTP2 = true
	s.Config.ReadTimeout, s.Config.WriteTimeout = serverTime, serverTime
	s.StartTLS()
	defer s.Close()
	defer srv.Close()
	out, in := io.Pipe()
	u, err := url.Parse(s.URL + "/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: http.MethodConnect, URL: u, Host: u.Host, Body: out, Header: http.Header{
		":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"},
	}}
	resp, err := (&http2.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Fatal(resp.Proto, resp.Status)
	}
	defer time.AfterFunc(10*time.Second, func() { _ = in.CloseWithError(io.ErrUnexpectedEOF) }).Stop()
	br := bufio.NewReader(resp.Body)
	expect := func(prefix string) {
		t.Helper()
		h, err := ws.ReadHeader(br)
		if err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, min(h.Length, 4<<10))
		if _, err := io.ReadFull(br, payload); err != nil || !strings.HasPrefix(string(payload), prefix) {
			t.Fatalf("%q, %v, want %q", payload, err, prefix)
		}
	}
	send := func(text string) {
		t.Helper()
		if err := ws.WriteFrame(in, ws.MaskFrame(ws.NewTextFrame([]byte(text)))); err != nil {
			t.Fatal(err)
		}
	}
	expect(`0{"sid":"`)
	send("40")
	expect(`40{"sid":"`)
	send(`421["echo","hello"]`)
	expect(`431["hello"]`)
	time.Sleep(3 * serverTime)
	send(`422["echo","still here"]`)
	expect(`432["still here"]`)
	_ = in.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for srv.Stats().Net.Open > 0 {
		if ctx.Err() != nil {
			t.Fatal("it is not forgotten")
		}
		time.Sleep(time.Millisecond)
	}
}
