//go:build unix

package netpoll_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// whole tells what a response is, for comparison: all but its date.
func whole(resp *http.Response, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, length %d, encoding %q, close %v\n", resp.Proto, resp.Status, resp.ContentLength, resp.TransferEncoding, resp.Close)
	for _, h := range []http.Header{resp.Header, resp.Trailer} {
		for _, k := range slices.Sorted(maps.Keys(h)) {
			if k != "Date" {
				fmt.Fprintf(&b, "%s: %q\n", k, h[k])
			}
		}
		b.WriteString("\n")
	}
	return b.String() + body
}

// conversation sends requests in one piece, reads as many responses, and the
// connection's end.
func conversation(t *testing.T, addr string, requests ...string) string {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	send(t, c, "%s", strings.Join(requests, ""))
	r := bufio.NewReader(c)
	var b strings.Builder
	for i, request := range requests {
		method, _, _ := strings.Cut(request, " ")
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintf(&b, "%d: %v\n", i, err)
			return b.String()
		}
		body, err := io.ReadAll(resp.Body)
		cut := ""
		if err != nil { // a reset here, the end there
			cut = "cut"
		}
		fmt.Fprintf(&b, "%d: %s %s\n", i, whole(resp, string(body)), cut)
		if resp.Close {
			rest, err := io.ReadAll(r)
			fmt.Fprintf(&b, "closed behind %q: %v\n", rest, err)
			return b.String()
		}
	}
	return b.String()
}

// everything is what handlers may do with a request.
func everything(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %q %v %q %q", r.Method, r.RequestURI, r.Host, b, err, r.TransferEncoding, r.Header["X"])
	})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("on purpose") })
	mux.HandleFunc("/panic-late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/context", func(w http.ResponseWriter, r *http.Request) {
		srv, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		_, port, _ := net.SplitHostPort(r.Host)
		_, at, err := net.SplitHostPort(local.String())
		remote, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprint(w, srv != nil, port == at, err, remote)
	})
	mux.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		_ = http.NewResponseController(w).Flush()
		fmt.Fprintf(w, "%q", r.Trailer)
		w.Header().Set("X-Sum", fmt.Sprint(len(b)))
		w.Header().Set(http.TrailerPrefix+"X-Late", "undeclared")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		_, _ = io.WriteString(w, "hinted")
	})
	mux.HandleFunc("/deadlines", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		fmt.Fprint(w, rc.SetReadDeadline(time.Now().Add(time.Hour)), rc.SetWriteDeadline(time.Now().Add(time.Hour)), rc.EnableFullDuplex())
		_, readFrom := w.(io.ReaderFrom)
		fmt.Fprint(w, readFrom)
	})
	mux.HandleFunc("/too-late", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Error(err)
		}
		_, err := io.ReadAll(r.Body)
		fmt.Fprint(w, errors.Is(err, os.ErrDeadlineExceeded))
	})
	mux.HandleFunc("/max", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10))
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/unread", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "not read") })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pattern(300_000)) })
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "five!")
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "closing")
	})
	mux.HandleFunc("/nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

// TestAsNetHTTP: requests that are not claimed are net/http's, whatever they ask
// for.
func TestAsNetHTTP(t *testing.T) {
	t.Parallel()
	h := everything(t)
	ours, theirs := func() string {
		_, addr := listen(t, netpoll.Config{Fallback: h}, &mine{})
		return addr
	}(), beside(t, h)
	last := "GET /close HTTP/1.1\r\nHost: h\r\n\r\n"
	chunked := "Transfer-Encoding: chunked\r\n"
	for _, requests := range [][]string{
		{"GET /echo?a=b HTTP/1.1\r\nHost: h\r\nX: 1\r\nX: 2\r\n\r\n", last},
		{"HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"HEAD /large HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", last},
		{"PUT /echo HTTP/1.1\r\nHost: h\r\n" + chunked + "\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", last},
		{"POST /trailer HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTrailer: X-T\r\n" + chunked + "\r\n3\r\nabc\r\n0\r\nX-T: v\r\n\r\n", last},
		{"GET /trailer HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n", last},
		{"GET /deadlines HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"HEAD /panic HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"GET /panic-late HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"POST /max HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n01234567890123456789"},
		{"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n01234567890123456789", last},
		{"POST /unread HTTP/1.1\r\nHost: h\r\n" + chunked + "\r\n3\r\nabc\r\n0\r\n\r\n", last},
		{"GET /large HTTP/1.1\r\nHost: h\r\n\r\n", "GET /large HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"GET /length HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"GET /none HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", last},
		{"GET http://h/echo HTTP/1.1\r\nHost: other\r\n\r\n", last},
		{"GET /echo HTTP/1.0\r\n\r\n"},
		{"GET /large HTTP/1.0\r\n\r\n"},
		{"GET /length HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", last},
		{"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"},
		{"POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"},
	} {
		got, want := conversation(t, ours, requests...), conversation(t, theirs, requests...)
		if got != want {
			t.Errorf("%q\nsockeye:  %s\nnet/http: %s", requests, got, want)
		}
	}
	// What differs with the server's own port.
	for _, addr := range []string{theirs, ours} {
		if _, got := ask(t, addr, "GET /context HTTP/1.1\r\nHost: "+addr+"\r\n\r\n"); got != "true true <nil>127.0.0.1" {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

// TestReadDeadlineOfHandler: a handler ends its own reading, and answers.
func TestReadDeadlineOfHandler(t *testing.T) {
	t.Parallel()
	eachServer(t, netpoll.Config{}, everything(t), func(t *testing.T, addr string) {
		c := dial(t, addr)
		send(t, c, "POST /too-late HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n%s", pattern(100_000))
		if resp, body := response(t, bufio.NewReader(c), "POST"); body != "true" || !resp.Close {
			t.Errorf("close %v, %s", resp.Close, body)
		}
	})
}

// TestInformational: 1xx on their way, 100 only for who asks for the content.
func TestInformational(t *testing.T) {
	t.Parallel()
	eachServer(t, netpoll.Config{}, everything(t), func(t *testing.T, addr string) {
		var got []int
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, code)
			if code == http.StatusEarlyHints && h.Get("Link") == "" {
				t.Error("hints without the link")
			}
			return nil
		}}
		tr := &http.Transport{ExpectContinueTimeout: limit}
		defer tr.CloseIdleConnections()
		do := func(method, path, body string) string {
			got = nil
			r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, "http://"+addr+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body != "" {
				r.Header.Set("Expect", "100-continue")
			}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		if body := do("GET", "/hints", ""); body != "hinted" || !slices.Equal(got, []int{103, 102}) {
			t.Errorf("%s after %v", body, got)
		}
		if body := do("POST", "/echo", "expected"); !strings.Contains(body, `"expected"`) || !slices.Equal(got, []int{100}) {
			t.Errorf("%s after %v", body, got)
		}
		if body := do("POST", "/unread", "not wanted"); body != "not read" || len(got) > 0 {
			t.Errorf("%s after %v", body, got)
		}
	})
}

// TestFlushArrives: what is flushed is there while the handler goes on and reads
// more of a large content.
func TestFlushArrives(t *testing.T) {
	t.Parallel()
	const gathered = 64 << 10 // before a handler begins
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.CopyN(io.Discard, r.Body, gathered); err != nil {
			t.Error(err)
		}
		for i := range 3 {
			b, err := io.ReadAll(io.LimitReader(r.Body, 1))
			fmt.Fprintf(w, "%d:%s%v;", i, b, err)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	eachServer(t, netpoll.Config{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		h(w, r)
	}), func(t *testing.T, addr string) {
		c := dial(t, addr)
		send(t, c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100003\r\n\r\n%s", pattern(gathered))
		r := bufio.NewReader(c)
		var resp *http.Response
		for i, b := range []string{"a", "b", "c"} {
			send(t, c, "%s", b)
			if i == 0 {
				var err error
				if resp, err = http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
			}
			want := fmt.Sprintf("%d:%s<nil>;", i, b)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
	})
}

// TestHijack: a handler takes the connection over, with what its peer has sent
// behind the request.
func TestHijack(t *testing.T) {
	t.Parallel()
	for _, head := range []string{
		"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
	} {
		ended := make(chan error, 2)
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				ended <- err
				return
			}
			go func() { // the handler is over by now
				defer conn.Close()
				_, _ = io.WriteString(conn, "raw\n")
				_, err := io.Copy(conn, rw)
				ended <- err
			}()
		})
		eachServer(t, netpoll.Config{}, h, func(t *testing.T, addr string) {
			c := dial(t, addr)
			early, more := "bytes behind the request;", string(pattern(100_000))
			send(t, c, "%s%s", head, early)
			r := bufio.NewReader(c)
			if line, err := r.ReadString('\n'); err != nil || line != "raw\n" {
				t.Fatalf("%q, %v", line, err)
			}
			go func() {
				_, _ = io.WriteString(c, more)
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(r)
			if string(got) != early+more || err != nil {
				t.Errorf("%q: %d bytes came back, %v; want %d", head, len(got), err, len(early+more))
			}
			if err := within(t, "the end", ended); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHijackedIsNotCounted: the connection is its handler's. The group neither
// counts nor closes it.
func TestHijackedIsNotCounted(t *testing.T) {
	t.Parallel()
	hijacked := make(chan net.Conn, 1)
	closed := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		hijacked <- conn
	})
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{closed: func(_ *netpoll.Conn, err error) { closed <- err }})
	c := dial(t, addr)
	send(t, c, "%s", get("/x"))
	conn := within(t, "the connection", hijacked)
	defer conn.Close()
	if err := within(t, "HandleClose", closed); !errors.Is(err, netpoll.ErrHijacked) {
		t.Errorf("HandleClose: %v", err)
	}
	eventually(t, "it is counted out", func() bool { s := g.Stats(); return s.Open == 0 && s.Lent == 0 })
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
	send(t, conn, "still here")
	b := make([]byte, 10)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "still here" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestFileToSlowReader has the kernel send a large file to a peer that reads now
// and then, for longer than Config.WriteTimeout.
func TestFileToSlowReader(t *testing.T) {
	t.Parallel()
	want := pattern(20 << 20)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })
	g, addr := listen(t, netpoll.Config{Fallback: h, WriteTimeout: 200 * time.Millisecond, CloseTimeout: 50 * time.Millisecond}, &mine{})
	c := dialWith(t, addr, 256<<10)
	send(t, c, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	r := bufio.NewReaderSize(c, 1<<20)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		n, err := io.ReadFull(resp.Body, got[len(got):min(len(got)+1<<20, len(want))])
		got = got[:len(got)+n]
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		time.Sleep(50 * time.Millisecond) // reading slowly is what is asked
	}
	if !bytes.Equal(got, want) {
		t.Error("other content than the file's")
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("behind it: %v", err)
	}
	if took := time.Since(begun); took < time.Second || g.Stats().Timeouts != 0 {
		t.Errorf("it took %v, timeouts: %d", took, g.Stats().Timeouts)
	}
}

// dialogue is a sequence of requests on one connection, and the answers.
type dialogue struct {
	requests []byte
	answers  []string
	methods  []string
}

// randomDialogue mixes claimed and unclaimed requests.
func randomDialogue(rnd *rand.Rand) (d dialogue) {
	for i := range 2 + rnd.IntN(8) {
		body := string(pattern([]int{0, 1, 30, 3000, 70_000}[rnd.IntN(5)]))
		if len(body) == 70_000 && rnd.IntN(3) > 0 {
			body = "abc"
		}
		path := fmt.Sprintf([]string{"/mine/%d", "/mine/late/%d", "/other/%d", "/other/early/%d"}[rnd.IntN(4)], i)
		method := []string{"POST", "POST", "GET", "HEAD"}[rnd.IntN(4)]
		head := method + " " + path + " HTTP/1.1\r\nHost: h\r\nX-Padding: " + strings.Repeat("x", rnd.IntN(300)) + "\r\n"
		switch {
		case method != "POST":
			d.requests = append(d.requests, head+"\r\n"...)
			body = ""
		case rnd.IntN(2) == 0:
			d.requests = append(d.requests, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)...)
		default:
			d.requests = append(d.requests, head+"Transfer-Encoding: chunked\r\n\r\n"...)
			for rest := body; len(rest) > 0; {
				n := min(len(rest), 1+rnd.IntN(5000))
				d.requests = append(d.requests, fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])...)
				rest = rest[n:]
			}
			d.requests = append(d.requests, "0\r\n\r\n"...)
		}
		answer := path + "|" + body
		if strings.Contains(path, "/early/") {
			answer = path // it does not read its content
		}
		if method == "HEAD" {
			answer = ""
		}
		d.answers = append(d.answers, answer)
		d.methods = append(d.methods, method)
	}
	return d
}

// TestDialogues: a connection goes to net/http and back, however its requests are
// cut into packets and however many come at once; the answers are the same, and in
// order.
func TestDialogues(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b []byte
		if strings.HasPrefix(r.URL.Path, "/other/early/") {
			_, _ = io.WriteString(w, r.URL.Path)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, r.URL.Path+"|"+string(b))
	})
	m := &mine{request: func(c *netpoll.Conn, r *http1.Request) {
		answer := string(r.Path) + "|" + string(r.Body)
		if string(r.Method) == "HEAD" {
			answer = ""
		}
		if bytes.HasPrefix(r.Path, []byte("/mine/late/")) {
			go c.Loop().Post(func(a, _ any) { respond(c, a.(string)) }, answer, nil, 0)
			return
		}
		respond(c, answer)
	}}
	g, addr := listen(t, netpoll.Config{Fallback: h, Loops: 1}, m)
	for seed := range uint64(120) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		d := randomDialogue(rnd)
		c := dial(t, addr)
		cuts := []int{len(d.requests)}
		for range rnd.IntN(6) {
			cuts = append(cuts, rnd.IntN(len(d.requests)))
		}
		slices.Sort(cuts)
		sent := make(chan error, 1)
		go func() {
			var err error
			from := 0
			for _, to := range cuts {
				if _, err = c.Write(d.requests[from:to]); err != nil {
					break
				}
				if from = to; to < len(d.requests) {
					turned(t, g.Loop(0)) // it has seen the piece
				}
			}
			sent <- err
		}()
		r := bufio.NewReader(c)
		for i, want := range d.answers {
			resp, err := http.ReadResponse(r, &http.Request{Method: d.methods[i]})
			if err != nil {
				t.Fatalf("seed %d, cut at %v: answer %d of %d: %v", seed, cuts, i, len(d.answers), err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || string(b) != want {
				t.Fatalf("seed %d, cut at %v: answer %d is %d %.60q, %v; want %.60q", seed, cuts, i, resp.StatusCode, b, err, want)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if s := g.Stats(); s.BadRequests+s.Timeouts+s.CallbackPanics+s.RefusedFallback != 0 {
		t.Errorf("%+v", s)
	}
}

// TestSplitHeads: a head that comes in two pieces, for a path that nothing serves,
// leaves nothing behind for the requests after it.
func TestSplitHeads(t *testing.T) {
	first := "GET /favicon.ico HTTP/1.1\r\nHost: example.com\r\nCookie: a=b\r\n\r\n"
	for _, second := range []string{
		"GET /robots.txt HTTP/1.1\r\nHost: e\r\n\r\n",
		"GET /robots.txt HTTP/1.1\r\nHost: e\r\nCookie: " + strings.Repeat("x", 60) + "\r\n\r\n",
	} {
		in := first + second + string(get("/mine/a")) + first + string(get("/mine/b"))
		n := startOf(netpoll.Config{Logger: quiet}, &mine{})
		for cut := range in {
			for _, again := range []int{0, 4, 50} { // the second cut is so far behind
				p := n.Dial(0)
				at := min(cut+again, len(in))
				for _, piece := range []string{in[:cut], in[cut:at], in[at:]} {
					p.Write([]byte(piece))
					n.Run()
				}
				nothing := "nothing is served here\n"
				got := bodies(t, p.Read())
				if want := []string{nothing, nothing, "/mine/a|", nothing, "/mine/b|"}; !slices.Equal(got, want) {
					t.Fatalf("cut at %d and %d: %q, panics %d", cut, at, got, n.Group.Stats().CallbackPanics)
				}
				p.Close()
			}
		}
	}
}

// TestMaxFallback: what there is no slot for is answered 503, the connection and
// claimed requests go on, and slots come back.
func TestMaxFallback(t *testing.T) {
	t.Parallel()
	const slots = 3
	waiting, release := make(chan struct{}, slots), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			waiting <- struct{}{}
			<-release
		}
		_, _ = io.WriteString(w, r.URL.Path)
	})
	g, addr := listen(t, netpoll.Config{Fallback: h, MaxFallback: slots}, &mine{})
	var held []*net.TCPConn
	for range slots {
		c := dial(t, addr)
		send(t, c, "%s", get("/wait"))
		held = append(held, c)
		within(t, "the handler", waiting)
	}
	refused := dial(t, addr)
	r := bufio.NewReader(refused)
	send(t, refused, "%s%s", get("/more"), get("/mine/a"))
	if resp, body := response(t, r, "GET"); resp.StatusCode != 503 || resp.Header.Get("Date") == "" {
		t.Errorf("%d %s, Date %q", resp.StatusCode, body, resp.Header.Get("Date"))
	}
	if resp, body := response(t, r, "GET"); resp.StatusCode != 200 || body != "/mine/a|" {
		t.Errorf("claimed behind it: %d %q", resp.StatusCode, body)
	}
	if resp, _ := ask(t, addr, "POST /more HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"); resp.StatusCode != 503 || !resp.Close {
		t.Errorf("with content: %d, close %v", resp.StatusCode, resp.Close)
	}
	if s := g.Stats(); s.Lent != slots || s.RefusedFallback != 2 {
		t.Errorf("lent %d, refused %d", s.Lent, s.RefusedFallback)
	}
	close(release)
	for _, c := range held {
		if _, body := response(t, bufio.NewReader(c), "GET"); body != "/wait" {
			t.Errorf("%q", body)
		}
	}
	eventually(t, "the slots come back", func() bool { return g.Stats().Lent == 0 })
	send(t, refused, "%s", get("/more"))
	if resp, body := response(t, r, "GET"); resp.StatusCode != 200 || body != "/more" {
		t.Errorf("afterwards, on the connection that was refused: %d %q", resp.StatusCode, body)
	}
}

// TestIdleSlotsAreGivenUp: connections that wait at net/http for a next request
// hold no slot that another's request needs.
func TestIdleSlotsAreGivenUp(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	g, addr := listen(t, netpoll.Config{Fallback: h, MaxFallback: 4}, &mine{})
	for range 40 {
		c := dial(t, addr)
		r := bufio.NewReader(c)
		for status := 0; status != 200; {
			send(t, c, "%s", get("/x"))
			resp, _ := response(t, r, "GET")
			status = resp.StatusCode
		}
	}
	eventually(t, "all are back", func() bool { return g.Stats().Lent == 0 })
	if open := g.Stats().Open; open != 40 {
		t.Errorf("%d open", open)
	}
}

// TestLentCostsNoGoroutine: a WebSocket, and a poll that waits, on a connection that
// has been at net/http is the loop's alone.
func TestLentCostsNoGoroutine(t *testing.T) {
	const each = 250
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	var waiting []*netpoll.Conn // the loop's
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{request: func(c *netpoll.Conn, _ *http1.Request) { waiting = append(waiting, c) }})
	before := runtime.NumGoroutine()
	var polls, sockets []*bufio.Reader
	var conns []*net.TCPConn
	for i := range 2 * each {
		c := dial(t, addr)
		r := bufio.NewReaderSize(c, 512)
		send(t, c, "%s", get("/page"))
		if _, body := response(t, r, "GET"); body != "page" {
			t.Fatalf("%q", body)
		}
		if i < each {
			send(t, c, "%s", get("/mine/poll"))
			polls = append(polls, r)
		} else {
			send(t, c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
				t.Fatalf("%v, %v", resp, err)
			}
			sockets = append(sockets, r)
			conns = append(conns, c)
		}
	}
	eventually(t, "all are the loop's again", func() bool { return g.Stats().Lent == 0 })
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+5 })
	if open := g.Stats().Open; open != 2*each {
		t.Errorf("%d open, want %d", open, 2*each)
	}
	g.Loop(0).Post(func(_, _ any) {
		for _, c := range waiting {
			respond(c, "event")
		}
	}, nil, nil, 0)
	for _, r := range polls {
		if _, body := response(t, r, "GET"); body != "event" {
			t.Fatalf("poll: %q", body)
		}
	}
	for i, r := range sockets {
		_, _ = conns[i].Write(frame(gobwas.NewTextFrame([]byte("hello"))))
		f, err := wiretest.ReadFrame(r)
		if err != nil || string(f.Payload) != "hello" {
			t.Fatalf("WebSocket: %q, %v", f.Payload, err)
		}
	}
}

// TestPostersBesideFallback: handlers that read and write at once do not stop a loop
// whose queue of jobs is always full.
func TestPostersBesideFallback(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		b := make([]byte, 8<<10)
		for {
			n, err := r.Body.Read(b)
			_, _ = w.Write(b[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	})
	g, addr := listen(t, netpoll.Config{MaxPostedJobs: 64, Fallback: h}, &mine{})
	stop := make(chan struct{})
	var posters, clients sync.WaitGroup
	for range 4 {
		posters.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					g.Loop(0).Post(func(_, _ any) {}, nil, nil, 100)
				}
			}
		})
	}
	want := pattern(1_000_000)
	for range 4 {
		c := dial(t, addr)
		clients.Go(func() {
			for range 3 {
				go func() {
					_, _ = fmt.Fprintf(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(want), want)
				}()
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(b, want) {
					t.Errorf("%d bytes came back, %v", len(b), err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	posters.Wait()
}

// TestSmallQueueAndFallback: Config.MaxQueuedBytes does not bound net/http's
// answers, which wait for their peers in their handlers.
func TestSmallQueueAndFallback(t *testing.T) {
	t.Parallel()
	want := pattern(3_000_000)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(want) })
	g, addr := listen(t, netpoll.Config{Fallback: h, MaxQueuedBytes: 1 << 10}, &mine{})
	c := dialSlow(t, addr)
	send(t, c, "%s", get("/x"))
	turned(t, g.Loop(0))
	if _, body := response(t, bufio.NewReader(c), "GET"); body != string(want) || g.Stats().SlowConsumers != 0 {
		t.Errorf("%d bytes, slow consumers: %d", len(body), g.Stats().SlowConsumers)
	}
}

// TestCloseWhileHandlersRun: they finish, within the context.
func TestCloseWhileHandlersRun(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}, 2), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-release
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
		_, _ = w.Write(pattern(500_000))
	})
	g, addr := listen(t, netpoll.Config{Fallback: h, CloseTimeout: 50 * time.Millisecond}, &mine{})
	c := dialSlow(t, addr)
	send(t, c, "%s", get("/x"))
	within(t, "the handler", begun)
	idle := dial(t, addr)
	send(t, idle, "%s", get("/mine/a"))
	if _, body := response(t, bufio.NewReader(idle), "GET"); body != "/mine/a|" {
		t.Errorf("%q", body)
	}
	closed := make(chan error, 1)
	go func() { closed <- g.Close(t.Context()) }()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF { // it has begun
		t.Errorf("an idle connection: %v", err)
	}
	close(release)
	resp, body := response(t, bufio.NewReader(c), "GET")
	if body != string(pattern(500_000)) || !resp.Close {
		t.Errorf("%d bytes, close %v", len(body), resp.Close)
	}
	_ = c.Close()
	if err := within(t, "Close", closed); err != nil {
		t.Error(err)
	}
}

// TestCloseCutsHandlers: after the context handlers are told, and what they have
// answered by then does not look whole.
func TestCloseCutsHandlers(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "1.1"} {
		begun, told := make(chan struct{}, 1), make(chan error, 1)
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half of an answer")
			_ = http.NewResponseController(w).Flush()
			begun <- struct{}{}
			<-r.Context().Done()
			told <- r.Context().Err()
		})
		g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{})
		c := dial(t, addr)
		send(t, c, "GET /x HTTP/%s\r\nHost: h\r\n\r\n", version)
		within(t, "the handler", begun)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := g.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
		if err := within(t, "the request's context", told); !errors.Is(err, context.Canceled) {
			t.Errorf("the handler was told %v", err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			continue // a reset has taken it all
		}
		if b, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("HTTP/%s: %q looks like the whole answer", version, b)
		}
	}
}

// TestPanicIsReset: an answer that a panic has cut never looks whole, not even where
// only the connection's end tells its length.
func TestPanicIsReset(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(pattern(100_000))
		panic("on purpose")
	})
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{})
	for i := range 20 {
		c := dial(t, addr)
		send(t, c, "GET /x HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(c); err == nil {
			t.Fatalf("%d: %d bytes look like the whole answer", i, len(b))
		}
	}
	if got := g.Stats().CallbackPanics; got != 20 {
		t.Errorf("%d panics counted", got)
	}
}

// TestLentPeerGone: a handler is told when its peer has gone, and holds no slot for
// it then.
func TestLentPeerGone(t *testing.T) {
	t.Parallel()
	begun, told := make(chan struct{}, 1), make(chan error, 1)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		told <- r.Context().Err()
	})
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{})
	for _, linger := range []int{-1, 0} { // FIN, RST
		c := dial(t, addr)
		send(t, c, "%s", get("/x"))
		within(t, "the handler", begun)
		_ = c.SetLinger(linger)
		_ = c.Close()
		if err := within(t, "the request's context", told); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	eventually(t, "nothing is left", func() bool { s := g.Stats(); return s.Lent == 0 && s.Open == 0 })
}
