package sockeye_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// Each test of this file keeps a connection of its own beside the fault and
// sees at its end that it is still served.

func bystander(t *testing.T, addr string) (stillServed func()) {
	t.Helper()
	w := wiretest.Connect(t, addr)
	w.Expect(`42["auth",{}]`)
	return func() {
		t.Helper()
		w.Write(`42["message","alive"]`)
		w.Expect(`42["message-back","alive"]`)
	}
}

func TestMalformedHTTP(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{HeadTimeout: 50 * time.Millisecond, BodyTimeout: 50 * time.Millisecond}, reference)
	defer bystander(t, addr)()
	const get = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n"
	const post = "POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: h\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"no request line":            {"\x16\x03\x01\x02\x00\r\n\r\n", 400},
		"bad version":                {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
		"no host":                    {"GET / HTTP/1.1\r\n\r\n", 400},
		"two hosts":                  {get + "Host: i\r\n\r\n", 400},
		"space before colon":         {get + "A : b\r\n\r\n", 400},
		"bare LF":                    {"GET / HTTP/1.1\nHost: h\n\n", 400},
		"folded header":              {get + "A: b\r\n c\r\n\r\n", 400},
		"long line":                  {"GET /" + strings.Repeat("a", 9_000) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
		"large head":                 {get + "A: " + strings.Repeat("a", 17_000) + "\r\n\r\n", 431},
		"many fields":                {get + strings.Repeat("A: b\r\n", 101) + "\r\n", 431},
		"length and chunked":         {post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"two lengths":                {post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"negative length":            {post + "Content-Length: -1\r\n\r\n", 400},
		"bad chunk":                  {post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		"chunk longer than it says":  {post + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400},
		"slow head":                  {get, 408},
		"slow body":                  {strings.Replace(post, "POST", "GET", 1) + "Content-Length: 10\r\n\r\nabc", 408},
		"huge length":                {post + "Content-Length: 99999999999\r\n\r\n", 400},
		"upgrade without a key":      {"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", 400},
		"upgrade, version 8":         {"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 426},
		"websocket without upgrade":  {"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"nothing serves other paths": {"GET /other HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404},
	} {
		t.Run(name, func(t *testing.T) {
			conn := wiretest.Dial(t, addr)
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(wiretest.Limit))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
		})
	}
	if n := srv.Stats().Net.BadRequests; n < 15 {
		t.Errorf("%d bad requests counted", n)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond) // later ones would overtake if they could
		fmt.Fprint(w, r.URL.Path)
	})}, nil)
	conn := wiretest.Dial(t, addr)
	var all bytes.Buffer
	for i := range 30 {
		if i%3 == 0 {
			all.WriteString("GET /socket.io/?EIO=4&transport=polling&sid=no HTTP/1.1\r\nHost: h\r\n\r\n")
		} else {
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
		}
	}
	if _, err := conn.Write(all.Bytes()); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(wiretest.Limit))
	br := bufio.NewReader(conn)
	for i := range 30 {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		body, _ := io.ReadAll(resp.Body)
		want := "/" + strconv.Itoa(i)
		if i%3 == 0 {
			want = `{"code":1,"message":"Session ID unknown"}`
		}
		if string(body) != want {
			t.Fatalf("answer %d is %q, want %q", i, body, want)
		}
	}
}

func TestBadFrames(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{MaxPayload: 1000}, reference)
	defer bystander(t, addr)()
	text := func(b string) []byte { return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(b)))) }
	reserved := text("42[]")
	reserved[0] |= 0x40
	for name, c := range map[string]struct {
		frame []byte
		code  int
	}{
		"unmasked":         {ws.MustCompileFrame(ws.NewTextFrame([]byte("42[]"))), 1002},
		"reserved bit":     {reserved, 1002},
		"reserved opcode":  {[]byte{0x83, 0x80, 0, 0, 0, 0}, 1002},
		"over the limit":   {text(strings.Repeat("a", 1001)), 1009},
		"2^63 bytes":       {[]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 1009},
		"not UTF-8":        {text("42[\"\xff\"]"), 1007},
		"long ping":        {append([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...), 1002},
		"orphan fragment":  {[]byte{0x80, 0x80, 0, 0, 0, 0}, 1002},
		"close, one byte":  {[]byte{0x88, 0x81, 0, 0, 0, 0, 3}, 1002},
		"ping flood":       {bytes.Repeat([]byte{0x89, 0x80, 0, 0, 0, 0}, 1001), 1008},
		"empty fragments":  {append([]byte{0x01, 0x80, 0, 0, 0, 0}, bytes.Repeat([]byte{0x00, 0x80, 0, 0, 0, 0}, 1001)...), 1008},
		"close is replied": {[]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			w := wiretest.Connect(t, addr)
			if _, err := w.Conn.Write(c.frame); err != nil {
				t.Fatal(err)
			}
			if code := w.ExpectClosed(); code != c.code {
				t.Errorf("closed with %d, want %d", code, c.code)
			}
		})
	}
	if n := srv.Stats().Net.BadFrames; n < 10 {
		t.Errorf("%d bad frames counted", n)
	}
}

func TestBodyOverTheLimit(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{MaxPayload: 1000}, reference)
	defer bystander(t, addr)()
	p := wiretest.ConnectPoll(t, addr)
	p.Post(`42["message","`+strings.Repeat("a", 1000)+`"]`, 413, "")
	p.Post(`42["message","the session lives"]`, 200, "ok")
	for got := ""; !strings.Contains(got, "the session lives"); {
		_, body := p.Get()
		if got += body; body == "" {
			t.Fatalf("got %q", got)
		}
	}
	q := wiretest.ConnectPoll(t, addr)
	q.Post(strings.Repeat("\x1e", 900), 200, "ok") // as the reference: ok, and closed
	if status, _ := q.Get(); status != 400 {
		t.Errorf("after a flood of separators: %d", status)
	}
}

// TestClientsThatVanish: in whatever state, by FIN or by RST, nothing is left.
func TestClientsThatVanish(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, reference)
	defer bystander(t, addr)()
	settled := func(what string) {
		t.Helper()
		http.DefaultClient.CloseIdleConnections()
		eventually(t, func() bool {
			s := srv.Stats()
			return s.Engine.Sessions == 1 && srv.Of("/").Len() == 1
		})
	}
	const get = "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: h\r\n\r\n"
	states := map[string]func(t *testing.T) net.Conn{
		"before the request": func(t *testing.T) net.Conn { return wiretest.Dial(t, addr) },
		"in the head": func(t *testing.T) net.Conn {
			c := wiretest.Dial(t, addr)
			fmt.Fprint(c, "GET /socket.io/?EIO=4")
			return c
		},
		"waiting poll": func(t *testing.T) net.Conn {
			c := wiretest.Dial(t, addr)
			fmt.Fprintf(c, get, pollHandshake(t, addr))
			return c
		},
		"websocket":                      func(t *testing.T) net.Conn { return wiretest.Connect(t, addr).Conn },
		"websocket before the namespace": func(t *testing.T) net.Conn { return open(t, addr).Conn },
		"in a frame": func(t *testing.T) net.Conn {
			c := wiretest.Connect(t, addr).Conn
			_, _ = c.Write([]byte{0x81, 0xfe, 10})
			return c
		},
		"with output unread": func(t *testing.T) net.Conn {
			w := wiretest.Connect(t, addr)
			for range 100 {
				w.Write(`42["message","` + strings.Repeat("a", 10_000) + `"]`)
			}
			return w.Conn
		},
	}
	for name, enter := range states {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", reset ", reset), func(t *testing.T) {
				c := enter(t)
				if reset {
					_ = c.(*net.TCPConn).SetLinger(0)
				}
				_ = c.Close()
				settled(name)
			})
		}
	}
	t.Run("during the probe", func(t *testing.T) {
		sid := pollHandshake(t, addr)
		c := wiretest.Dial(t, addr)
		fmt.Fprintf(c, get, sid)
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&sid="+sid)
		w.Write("2probe")
		w.Expect("3probe")
		_ = w.Conn.Close()
		_ = c.Close() // answered by the probe's noop: its end is no end of the session
		eventually(t, func() bool { return srv.Stats().Net.Open <= 2 })
	})
}

// TestSlowConsumer: a peer that does not read is cut off; the others get all.
func TestSlowConsumer(t *testing.T) {
	const patience = 300 * time.Millisecond
	addr, srv := serve(t, sockeye.Config{SlowTimeout: patience}, nil)
	slow := wiretest.Connect(t, addr)
	_ = wiretest.ConnectPoll(t, addr) // never polls
	const others, messages = 20, 400
	received := make(chan struct{}, others)
	for range others {
		w := wiretest.Connect(t, addr)
		go func() {
			for i := range messages {
				w.Expect(`42["n",` + strconv.Itoa(i) + `,"*`)
				received <- struct{}{}
			}
		}()
	}
	text := strings.Repeat("x", 50_000)
	for i := range messages {
		_ = srv.Emit("n", i, text)
		for range others { // their pace: they are not slow
			within(t, received)
		}
	}
	eventually(t, func() bool { s := srv.Stats(); return s.Net.SlowConsumers == 1 && s.Engine.SlowConsumers == 1 })
	eventually(t, func() bool { return srv.Of("/").Len() == others })
	_ = slow.Conn.Close()
}

// TestPanics: a panic in any callback costs what it was called for.
func TestPanics(t *testing.T) {
	reported := make(chan string, 10)
	addr, srv := serve(t, sockeye.Config{
		Inline:   true,
		Fallback: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("fallback") }),
		AllowRequest: func(r *engine.Request) error {
			if r.Query().Get("panic") != "" {
				panic("allowRequest")
			}
			return nil
		},
	}, func(srv *sockeye.Server) {
		reference(srv)
		srv.Of("/middleware").Use(func(*sockeye.Socket) error { panic("middleware") })
		srv.Of("/disconnect").OnDisconnect(func(*sockeye.Socket, sockeye.Reason) { panic("disconnect") })
		srv.On("panic", func(*sockeye.Socket) { panic("inline handler") })
		srv.On("ask", func(s *sockeye.Socket) error {
			return s.EmitWithAck(func(sockeye.Args, error) { panic("answer") }, "question")
		})
		srv.OnError(func(_ *sockeye.Socket, event string, _ error) {
			reported <- event
			panic("OnError")
		})
	})
	defer bystander(t, addr)()
	// As in net/http: the connection is closed.
	if resp, err := http.Get("http://" + addr + "/other"); !errors.Is(err, io.EOF) {
		t.Errorf("fallback: %v, %v", resp, err)
	}
	resp, err := http.Get("http://" + addr + "/socket.io/?EIO=4&transport=polling&panic=1")
	if err != nil || resp.StatusCode != 403 {
		t.Errorf("AllowRequest: %v, %v", resp, err)
	}
	w := wiretest.Connect(t, addr)
	w.Expect(`42["auth",{}]`)
	w.Write(`42["panic"]`)
	if got := within(t, reported); got != "panic" {
		t.Errorf("reported %q", got)
	}
	w.Write(`42["ask"]`)
	w.Expect(`420["question"]`)
	w.Write(`430[]`)
	w.Write("40/middleware,")
	w.Expect("44/middleware,*")
	w.Write("40/disconnect,")
	w.Expect("40/disconnect,*")
	w.Write("41/disconnect,")
	w.Write(`42["message","still here"]`)
	w.Expect(`42["message-back","still here"]`)
	if n := srv.Stats().Net.CallbackPanics; n != 1 { // the fallback's
		t.Errorf("%d panics reached a loop", n-1)
	}
}

func TestAllowRequest(t *testing.T) {
	refused := make(chan string, 10)
	addr, _ := serve(t, sockeye.Config{
		Origins: []string{"https://a.example"}, Credentials: true,
		AllowRequest: func(r *engine.Request) error {
			if r.Header("X-Token") != "secret" && !r.Query().Has("t") {
				return fmt.Errorf("the database's password is 1234: %w", &sockeye.ConnectError{Message: "who are you?"})
			}
			if r.Query().Has("t") {
				return errors.New("the database's password is 1234")
			}
			return nil
		},
		OnRefused: func(_ *sockeye.Request, x sockeye.Refusal) { refused <- x.Reason },
		Cookie:    &http.Cookie{Name: "io", Path: "/", HttpOnly: true},
	}, reference)
	ask := func(method, token string) (*http.Response, string) {
		t.Helper()
		req, _ := http.NewRequest(method, "http://"+addr+"/socket.io/?EIO=4&transport=polling", nil)
		req.Header.Set("X-Token", token)
		req.Header.Set("Origin", "https://a.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp, string(b)
	}
	resp, body := ask("GET", "wrong")
	var refusal struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal([]byte(body), &refusal); err != nil || resp.StatusCode != 403 || refusal.Code != 4 || refusal.Message != "who are you?" {
		t.Errorf("refusal: %d %s", resp.StatusCode, body)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "https://a.example" || resp.Header.Get("Vary") != "Origin" {
		t.Errorf("CORS on a refusal: %v", resp.Header)
	}
	if why := within(t, refused); !strings.Contains(why, "1234") {
		t.Errorf("OnRefused is told %q", why)
	}
	other, err := http.Get("http://" + addr + "/socket.io/?EIO=4&transport=polling&t=1")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(other.Body)
	_ = other.Body.Close()
	if other.StatusCode != 403 || string(b) != `{"code":4,"message":"Forbidden"}` {
		t.Errorf("an error for the log alone: %d %s", other.StatusCode, b)
	}
	resp, body = ask("GET", "secret")
	if resp.StatusCode != 200 || !strings.HasPrefix(body, `0{"sid":"`) {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if c := resp.Cookies(); len(c) != 1 || c[0].Name != "io" || c[0].Value != body[9:29] || !c[0].HttpOnly {
		t.Errorf("cookies: %v", c)
	}
	if resp, _ = ask("OPTIONS", ""); resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
}

func TestUnixSocket(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	path := t.TempDir() + "/socket"
	if _, err := srv.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	resp, err := client.Get("http://h/socket.io/?EIO=4&transport=polling")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
	client.CloseIdleConnections()
}

// TestFallbackStreams: what a handler flushes arrives before it returns, and a
// large body arrives whole.
func TestFallbackStreams(t *testing.T) {
	more := make(chan struct{})
	addr, _ := serve(t, sockeye.Config{Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
			return
		}
		fmt.Fprint(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-more
		fmt.Fprint(w, "second\n")
	})}, reference)
	defer bystander(t, addr)()
	resp, err := http.Get("http://" + addr + "/events")
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(resp.Body)
	if line, _ := br.ReadString('\n'); line != "first\n" {
		t.Errorf("got %q", line)
	}
	close(more)
	if line, _ := br.ReadString('\n'); line != "second\n" {
		t.Errorf("got %q", line)
	}
	const size = 20 << 20
	resp, err = http.Post("http://"+addr+"/upload", "", bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != fmt.Sprint(size, " <nil>") && string(b) != fmt.Sprint(size)+"<nil>" {
		t.Errorf("got %q", b)
	}
}

func TestMaxConns(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{MaxConns: 3}, reference)
	first := wiretest.Connect(t, addr)
	defer bystander(t, addr)()
	_ = wiretest.Connect(t, addr)
	waiting := make(chan error, 1)
	go func() { // the kernel takes it; the server does not yet
		resp, err := http.Get("http://" + addr + "/socket.io/?EIO=4&transport=polling")
		if err == nil && resp.StatusCode != 200 {
			err = errors.New(resp.Status)
		}
		waiting <- err
	}()
	select {
	case err := <-waiting:
		t.Fatalf("a fourth connection was served: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	_ = first.Conn.Close()
	if err := within(t, waiting); err != nil {
		t.Error(err)
	}
}

// TestMalformedBodyForFallback: the handler learns what is wrong, and its answer goes
// out; what is behind is not taken for a request.
func TestMalformedBodyForFallback(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, "malformed", http.StatusBadRequest)
		}
	})}, reference)
	defer bystander(t, addr)()
	for _, body := range []string{"Z\r\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5;\x00\r\nhello\r\n0\r\n\r\n"} {
		conn := wiretest.Dial(t, addr)
		if _, err := io.WriteString(conn, "POST /other HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+body+"GET /other HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(wiretest.Limit))
		answers, err := io.ReadAll(conn)
		if !bytes.HasPrefix(answers, []byte("HTTP/1.1 400 ")) || bytes.Count(answers, []byte("HTTP/1.1 ")) != 1 {
			t.Errorf("%q: %q, %v", body, answers, err)
		}
	}
}
