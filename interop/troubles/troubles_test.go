// Package troubles_test runs clients into what docs/troubleshooting.md explains: their
// words, and the server's, are in its rows.
package troubles_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
)

// trouble is what one client is run into, and what is seen.
type trouble struct {
	Name   string         `json:"name"`
	URL    string         `json:"url"`
	Opts   map[string]any `json:"opts"`
	Emit   string         `json:"emit,omitempty"`
	Bytes  int            `json:"bytes,omitempty"`
	Parser string         `json:"parser,omitempty"`

	message, description, text string   // what the client is to say; "" is not looked at
	row                        []string // what is to stand in one row of the text
}

type said struct{ Name, Event, Message, Description, Text string }

func polling() map[string]any   { return map[string]any{"transports": []string{"polling"}} }
func websocket() map[string]any { return map[string]any{"transports": []string{"websocket"}} }

func with(opts map[string]any, name string, value any) map[string]any {
	opts[name] = value
	return opts
}

func need(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("SOCKEYE_INTEROP") != "" {
			t.Fatal(path, "is not installed: run ci/clients.sh")
		}
		t.Skip(path, "is not installed: run ci/clients.sh")
	}
}

// rows are the rows of the tables of docs/troubleshooting.md.
func rows(t *testing.T) (rows []string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, line)
		}
	}
	return rows
}

func explained(t *testing.T, rows, words []string) {
	t.Helper()
next:
	for _, row := range rows {
		for _, w := range words {
			if !strings.Contains(row, w) {
				continue next
			}
		}
		return
	}
	t.Errorf("no row has all of %q", words)
}

// serve runs a server, and tells the reason for which each socket has ended.
func serve(t *testing.T, cfg sockeye.Config, prepare func(*sockeye.Server)) (host string, ends <-chan sockeye.Reason) {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(chan sockeye.Reason, 10)
	srv.OnDisconnect(func(_ *sockeye.Socket, reason sockeye.Reason) { reasons <- reason })
	if prepare != nil {
		prepare(srv)
	}
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return "http://" + addr.String(), reasons
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// serveHTTP runs another server than Sockeye's.
func serveHTTP(t *testing.T, h http.HandlerFunc) (host string) {
	t.Helper()
	l := listen(t)
	go func() { _ = http.Serve(l, h) }() //nolint:gosec // of a test
	return "http://" + l.Addr().String()
}

// inTurn passes each request to another server, as a balancer without stickiness.
func inTurn(t *testing.T, hosts ...string) (host string) {
	var mu sync.Mutex
	n := 0
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		to := hosts[n%len(hosts)]
		n++
		mu.Unlock()
		req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.String(), r.Body)
		if err != nil {
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
}

// standstill passes connections on until it is told to stop passing anything.
func standstill(t *testing.T, host string) (front string, stop func()) {
	l := listen(t)
	still := make(chan struct{})
	pass := func(to, from net.Conn) {
		var b [4096]byte
		for {
			n, err := from.Read(b[:])
			select {
			case <-still:
				return // neither passed on nor closed
			default:
			}
			if err != nil {
				_ = to.Close()
				return
			}
			_, _ = to.Write(b[:n])
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", strings.TrimPrefix(host, "http://"))
			if err != nil {
				_ = c.Close()
				return
			}
			t.Cleanup(func() { _, _ = c.Close(), s.Close() })
			go pass(s, c)
			go pass(c, s)
		}
	}()
	return "http://" + l.Addr().String(), sync.OnceFunc(func() { close(still) })
}

// TestTroubles: what npm's client says of each trouble, and the text of the answer.
func TestTroubles(t *testing.T) {
	need(t, "../clients/node_modules/socket.io-client")
	quiet := listen(t)
	silent := "http://" + quiet.Addr().String()
	held, err := net.Dial("tcp", quiet.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	nobody := "http://" + held.LocalAddr().String() // taken, and nothing listens there
	page := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html><title>Log in") })
	plain, _ := serve(t, sockeye.Config{}, nil)
	other, _ := serve(t, sockeye.Config{}, nil)
	onlyWS, _ := serve(t, sockeye.Config{Transports: []string{"websocket"}}, nil)
	onlyPolling, _ := serve(t, sockeye.Config{Transports: []string{"polling"}}, nil)
	forbidding, _ := serve(t, sockeye.Config{AllowRequest: func(*sockeye.Request) error { return errors.New("secret") }}, nil)
	frank, _ := serve(t, sockeye.Config{AllowRequest: func(*sockeye.Request) error { return &sockeye.ConnectError{Message: "not at night"} }}, nil)
	full, _ := serve(t, sockeye.Config{MaxSessions: 1}, nil)
	answer(t, full+handshake, "")
	spaces, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.Of("/fails").OnConnect(func(*sockeye.Socket) error { return errors.New("secret") })
	})
	ending, leaves := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("kick", func(s *sockeye.Socket) { s.Disconnect() })
	})
	closing, stops := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("stop", func() error { return srv.Shutdown(context.Background()) })
	})
	small, cuts := serve(t, sockeye.Config{MaxPayload: 1000}, nil)
	var stop func()
	still, late := serve(t, sockeye.Config{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond}, func(srv *sockeye.Server) {
		srv.On("stop", func() { stop() })
	})
	var front string
	front, stop = standstill(t, still)

	troubles := []trouble{
		{Name: "nobody there", URL: nobody, Opts: polling(), message: "xhr poll error", description: "0"},
		{
			Name: "nobody there, websocket", URL: nobody, Opts: websocket(), message: "websocket error", description: "connect ECONNREFUSED",
			row: []string{`"websocket error"`, "connect ECONNREFUSED"},
		},
		{Name: "no answer", URL: silent, Opts: with(polling(), "timeout", 500), message: "timeout"},
		{
			Name: "another program", URL: page, Opts: polling(), message: "server error", description: "parser error",
			row: []string{`"server error"`, `"parser error"`},
		},
		{Name: "another path", URL: plain, Opts: with(polling(), "path", "/other/"), text: "nothing is served here", row: []string{"404", "`nothing is served here`"}},
		{Name: "TLS to a port without", URL: strings.Replace(plain, "http", "https", 1), Opts: polling(), message: "xhr poll error", text: "wrong version number", row: []string{`"wrong version number"`}},
		{Name: "no polling", URL: onlyWS, Opts: polling(), message: "xhr poll error", description: "400", text: "Transport unknown", row: []string{"400", "`Transport unknown`"}},
		{
			Name: "no WebSocket", URL: onlyPolling, Opts: websocket(), message: "websocket error", description: "Unexpected server response: 400",
			row: []string{`"websocket error"`, `"Unexpected server response: 400"`},
		},
		{Name: "foreign", URL: plain, Opts: with(polling(), "extraHeaders", map[string]string{"Origin": "http://elsewhere.example"}), description: "403", text: "Origin not allowed", row: []string{"403", "`Origin not allowed`"}},
		{Name: "foreign, websocket", URL: plain, Opts: with(websocket(), "extraHeaders", map[string]string{"Origin": "http://elsewhere.example"}), description: "Unexpected server response: 403"},
		{Name: "forbidden", URL: forbidding, Opts: polling(), description: "403", text: "Forbidden", row: []string{"403", "`Forbidden`"}},
		{Name: "forbidden with a reason", URL: frank, Opts: polling(), description: "403", text: "not at night", row: []string{"403", "`*ConnectError`"}},
		{Name: "forbidden, websocket", URL: forbidding, Opts: websocket(), description: "Unexpected server response: 400"},
		{Name: "full", URL: full, Opts: polling(), description: "503", text: "too many sessions", row: []string{"503", "`too many sessions`"}},
		{Name: "no namespace", URL: plain + "/none", Opts: polling(), message: "Invalid namespace"},
		{Name: "namespace fails", URL: spaces + "/fails", Opts: websocket(), message: "internal error"},
		{Name: "auth", URL: plain, Opts: with(websocket(), "auth", map[string]string{"token": strings.Repeat("x", 200_000)}), message: "Auth too large"},
		{Name: "parser", URL: plain, Opts: websocket(), Parser: "socket.io-msgpack-parser", message: "transport close", row: []string{`"transport close"`, "another parser"}},
		{Name: "not sticky", URL: inTurn(t, plain, other), Opts: polling(), description: "400", text: "Session ID unknown", row: []string{"400", "`Session ID unknown`"}},
		{Name: "kicked", URL: ending, Opts: websocket(), Emit: "kick", message: "io server disconnect", row: []string{`"io server disconnect"`, "`ServerNamespaceDisconnect`"}},
		{Name: "shut down", URL: closing, Opts: polling(), Emit: "stop", message: "transport close", row: []string{`"transport close"`, "`ServerShuttingDown`"}},
		{Name: "too large", URL: small, Opts: websocket(), Emit: "x", Bytes: 2000, message: "transport close", row: []string{`"transport close"`, "`TransportError`", "MaxPayload"}},
		{Name: "too large a POST", URL: small, Opts: polling(), Emit: "x", Bytes: 2000, message: "transport error", description: "xhr post error", row: []string{`"transport error"`, `"xhr post error" with 413`, "MaxPayload"}},
		{Name: "standstill", URL: front, Opts: websocket(), Emit: "stop", message: "ping timeout", row: []string{`"ping timeout"`, "`PingTimeout`"}},
	}
	input, err := json.Marshal(troubles)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "troubles.mjs")
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	saids := map[string]said{}
	for line := range bytes.Lines(out) {
		var s said
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		saids[s.Name] = s
	}
	rows := rows(t)
	for _, tr := range troubles {
		t.Run(tr.Name, func(t *testing.T) {
			s := saids[tr.Name]
			if tr.message != "" {
				if s.Message != tr.message {
					t.Errorf("it says %+v, want %q", s, tr.message)
				}
				explained(t, rows, []string{`"` + tr.message + `"`})
			}
			if !strings.Contains(s.Description, tr.description) || !strings.Contains(s.Text, tr.text) {
				t.Errorf("it says %+v, want %q, %q", s, tr.description, tr.text)
			}
			explained(t, rows, tr.row)
		})
	}
	for reasons, want := range map[<-chan sockeye.Reason]sockeye.Reason{leaves: sockeye.ServerNamespaceDisconnect, stops: sockeye.ServerShuttingDown, late: sockeye.PingTimeout} {
		if got := next(t, reasons); got != want {
			t.Errorf("OnDisconnect is told %q, want %q", got, want)
		}
	}
	// The POST that is too large ends nothing by itself: its client closes the session.
	got := map[sockeye.Reason]bool{next(t, cuts): true, next(t, cuts): true}
	if !got[sockeye.TransportError] || !got[sockeye.TransportClose] {
		t.Errorf("OnDisconnect is told %v of what is too large", got)
	}
}

func next(t *testing.T, reasons <-chan sockeye.Reason) sockeye.Reason {
	t.Helper()
	select {
	case reason := <-reasons:
		return reason
	case <-time.After(10 * time.Second):
		t.Fatal("OnDisconnect is not called")
		return ""
	}
}

const handshake = "/socket.io/?EIO=4&transport=polling"

// answer is the status and the text of an answer; with a body the request is a POST.
func answer(t *testing.T, url, body string) string {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status[:3] + " " + strings.TrimSpace(string(b))
}

// TestAnswers that no client of today's brings about.
func TestAnswers(t *testing.T) {
	rows := rows(t)
	plain, _ := serve(t, sockeye.Config{HeadTimeout: 100 * time.Millisecond}, nil)
	pending, _ := serve(t, sockeye.Config{MaxPendingSessions: 1}, nil)
	answer(t, pending+handshake, "")
	wait := make(chan struct{})
	entered := make(chan struct{}, 1)
	slow, _ := serve(t, sockeye.Config{MaxDeciding: 1, AllowRequest: func(*sockeye.Request) error {
		entered <- struct{}{}
		<-wait
		return nil
	}}, nil)
	answered := make(chan struct{})
	go func() { answer(t, slow+handshake, ""); close(answered) }()
	<-entered
	defer func() { close(wait); <-answered }()
	for _, c := range []struct{ url, body, status, text string }{
		{plain + "/socket.io/?EIO=3&transport=polling", "", "400", "Unsupported protocol version"},
		{plain + "/socket.io/socket.io.js", "", "400", "Transport unknown"},
		{plain + "/socket.io/?EIO=4&transport=websocket", "", "400", "Bad request"},
		{plain + handshake, "40", "400", "Bad handshake method"},
		{plain + handshake + "&sid=none", "", "400", "Session ID unknown"},
		{pending + handshake, "", "503", "too many sessions of this connection are not established"},
		{slow + handshake, "", "503", "too many handshakes are under way"},
	} {
		if got := answer(t, c.url, c.body); !strings.HasPrefix(got, c.status) || !strings.Contains(got, c.text) {
			t.Errorf("%s answers %q, want %s %q", c.url, got, c.status, c.text)
		}
		explained(t, rows, []string{c.status, "`" + c.text + "`"})
	}
	hasty, _ := serve(t, sockeye.Config{PerAddress: sockeye.AddressLimits{HandshakesPerSecond: 1}}, nil)
	const tooMany = "429 too many handshakes of this address"
	got := ""
	for range 100 { // ten at once, and one a second
		if got = answer(t, hasty+handshake, ""); got == tooMany {
			break
		}
	}
	if got != tooMany {
		t.Errorf("100 handshakes of an address: %q", got)
	}
	explained(t, rows, []string{"429", "`too many handshakes of this address`"})
	c, err := net.Dial("tcp", strings.TrimPrefix(plain, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /socket.io/ HTTP/1.1\r\nHost:")
	b, _ := io.ReadAll(c)
	const text = "the request did not arrive in time"
	if !strings.Contains(string(b), " 408 ") || !strings.Contains(string(b), text) {
		t.Errorf("half a request is answered %q", b)
	}
	explained(t, rows, []string{"408", "`" + text + "`"})
}

// TestOrigins: what Chromium writes to a page's console.
func TestOrigins(t *testing.T) {
	const bundle = "../clients/node_modules/socket.io-client/dist/socket.io.min.js"
	need(t, bundle)
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
		}
	}
	if chromium == "" {
		need(t, "chromium")
	}
	client, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	rows := rows(t)
	strict, _ := serve(t, sockeye.Config{}, nil)
	wild, _ := serve(t, sockeye.Config{Origins: []string{"*"}}, nil)
	listed, _ := serve(t, sockeye.Config{Origins: []string{"http://127.0.0.1:*"}}, nil)
	for _, c := range []struct{ name, url, opts, why string }{
		{"not listed", strict, ``, "No 'Access-Control-Allow-Origin' header is present on the requested resource."},
		{"wildcard", wild, `withCredentials: true`, "must not be the wildcard '*' when the request's credentials mode is 'include'."},
		{"no credentials", listed, `withCredentials: true`, "The value of the 'Access-Control-Allow-Credentials' header in the response is ''"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended := make(chan struct{})
			end := sync.OnceFunc(func() { close(ended) })
			page := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/client.js":
					w.Header().Set("Content-Type", "text/javascript")
					_, _ = w.Write(client)
				case "/said":
					end()
				case "/":
					_, _ = io.WriteString(w, `<!doctype html><script src="client.js"></script><script>
io("`+c.url+`", { reconnection: false, transports: ["polling"], `+c.opts+` }).on("connect_error", (e) => {
  console.log("it says", e.message, e.description);
  fetch("/said");
});</script>`)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", page)
			var out bytes.Buffer
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-ctx.Done():
				t.Error("the client does not fail")
			}
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
			for _, words := range []string{"blocked by CORS policy: ", c.why, "it says xhr poll error 0"} {
				if !strings.Contains(out.String(), words) {
					t.Errorf("Chromium does not say %q but:\n%s", words, out.String())
				}
			}
			explained(t, rows, []string{strings.TrimSpace(c.why)})
		})
	}
}
