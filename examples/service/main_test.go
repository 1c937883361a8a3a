package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
)

const limit = 30 * time.Second

// TestMain is the service itself in the process that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("SERVICE") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// service is a running one.
type service struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	web    *http.Client
	traces bytes.Buffer // when it has ended
	log    []string     // when it has ended
	ended  chan struct{}
}

// start starts the service, with TLS or without.
func start(t *testing.T, secure bool) *service {
	args := []string{"-addr", "127.0.0.1:0"}
	if secure {
		cert, key, err := tlspeer.WriteFiles(t.TempDir(), tlspeer.Certificate(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-cert", cert, "-key", key)
	}
	s := &service{t: t, cmd: exec.Command(os.Args[0], args...), ended: make(chan struct{})}
	s.web = &http.Client{Timeout: limit, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	s.cmd.Env = append(os.Environ(), "SERVICE=1")
	s.cmd.Stderr = &s.traces
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // if the test has not ended it
		_ = s.cmd.Process.Kill()
		<-s.ended
		s.web.CloseIdleConnections()
	})
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	var serving struct{ Addr string }
	go func() {
		defer close(s.ended)
		rest, _ := io.ReadAll(lines)
		s.log = strings.Split(strings.TrimSpace(first+string(rest)), "\n")
		_ = s.cmd.Wait()
	}()
	if err != nil || json.Unmarshal([]byte(first), &serving) != nil {
		t.Fatalf("%q, %v", first, err)
	}
	s.url = map[bool]string{false: "http://", true: "https://"}[secure] + serving.Addr
	return s
}

// do sends a request and returns the answer's body.
func (s *service) do(method, path, body string) string {
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.web.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, got, err)
	}
	return string(got)
}

// page is a client of npm's.
type page struct {
	t     *testing.T
	lines chan string // closed at its end
}

func (s *service) open(transports string) *page {
	folder, err := filepath.Abs("../../interop/clients")
	if err == nil {
		_, err = os.Stat(filepath.Join(folder, "node_modules/socket.io-client"))
	}
	if err != nil {
		if os.Getenv("SOCKEYE_INTEROP") != "" {
			s.t.Fatal(err)
		}
		s.t.Skip("not installed: ci/clients.sh does it")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "node", "client.cjs", folder, s.url, transports)
	cmd.Env = append(os.Environ(), "NODE_NO_WARNINGS=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	p := &page{s.t, make(chan string, 100)}
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
		_ = cmd.Wait()
	}()
	return p
}

func (p *page) expect(want string) {
	p.t.Helper()
	if got := <-p.lines; got != want {
		p.t.Fatalf("%q, want %q", got, want)
	}
}

// stop ends the service as a service manager does, and looks at what it leaves behind.
func (s *service) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(limit):
		s.t.Fatal("it does not end")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("exit code %d", code)
	}
	for _, line := range s.log {
		var l struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Level != "INFO" {
			s.t.Errorf("in the log: %s", line)
		}
	}
}

// TestService: pages get an acknowledgement and what is said to their room; the metrics
// have their sessions, the traces their handshakes and events; SIGTERM is the end.
func TestService(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t, secure)
			var pages []*page
			for _, transports := range []string{"websocket", "polling", "polling+websocket"} {
				p := s.open(transports)
				p.expect("follows")
				pages = append(pages, p)
			}
			s.do("PUT", "/orders/8", `"sent"`) // nobody follows it
			s.do("PUT", "/orders/7", `"packed"`)
			for _, p := range pages {
				p.expect("order 7 packed")
			}
			if got := s.do("GET", "/orders/7", ""); got != `{"id":"7","status":"packed"}`+"\n" {
				t.Errorf("%q", got)
			}
			metrics := strings.Split(s.do("GET", "/metrics", ""), "\n")
			for _, want := range []string{
				`sockeye_sessions{transport="websocket"} 2`, `sockeye_sessions{transport="polling"} 1`,
				`sockeye_handler_duration_seconds_count{event="follow"} 3`, `http_request_duration_seconds_count{code="204",method="put"} 2`,
			} {
				if !slices.Contains(metrics, want) {
					t.Errorf("the metrics have no %s", want)
				}
			}
			s.stop()
			for _, p := range pages {
				p.expect("disconnect transport close")
			}
			spans := map[string]int{}
			for d := json.NewDecoder(&s.traces); ; {
				var span struct {
					Name   string
					Parent struct{ SpanID string }
					Links  []any
				}
				if err := d.Decode(&span); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				child := strings.Trim(span.Parent.SpanID, "0") != ""
				switch {
				case span.Name == "GET /socket.io/" && child, span.Name == "process follow" && !child && len(span.Links) == 1:
					spans[span.Name]++
				}
			}
			if spans["GET /socket.io/"] != 3 || spans["process follow"] != 3 {
				t.Errorf("%v, want 3 handshakes below otelhttp's spans, and 3 events linked to them", spans)
			}
		})
	}
}

// TestHTTP2: browsers poll over HTTP/2 where there is TLS: net/http's handlers wait for the
// poll's answer, longer than WriteTimeout, and SIGTERM does not wait for them.
func TestHTTP2(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for more than WriteTimeout")
	}
	s := start(t, true)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := client.Dial(ctx, s.url, client.Config{Transports: []string{"polling"}, HTTPClient: &http.Client{Transport: s.web.Transport}, NoReconnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	orders, gone := make(chan Order, 1), make(chan string, 1)
	c.On("order", func(e *client.Event) {
		var o Order
		_ = e.Decode(&o)
		orders <- o
	})
	c.OnDisconnect(func(reason string) { gone <- reason })
	if _, err := c.Call(ctx, "follow", "7"); err != nil {
		t.Fatal(err)
	}
	select {
	case reason := <-gone:
		t.Fatal(reason)
	case <-time.After(11 * time.Second):
	}
	s.do("PUT", "/orders/7", `"packed"`)
	select {
	case o := <-orders:
		if o != (Order{"7", "packed"}) {
			t.Error(o)
		}
	case <-ctx.Done():
		t.Fatal("no order")
	}
	began := time.Now()
	s.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	if reason := <-gone; reason != "transport close" && reason != "transport error" {
		t.Error(reason)
	}
}

// TestReadme: README.md has the lines that were added, and no others.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, file := range []string{"main.go", "orders.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source += string(b)
	}
	_, diff, _ := strings.Cut(string(readme), "```diff\n")
	diff, _, _ = strings.Cut(diff, "```")
	var added, changed, removed int
	uses := map[string]bool{}
	for line := range strings.Lines(diff) {
		text := strings.TrimSpace(strings.TrimRight(line, "\n")[1:])
		switch line[0] {
		case '-':
			removed++
			continue
		case '+':
			uses[text] = true
			if !strings.Contains(text, "github.com/") {
				added++
			}
		}
		if text != "" && !slices.ContainsFunc(strings.Split(source, "\n"), func(l string) bool { return strings.TrimSpace(l) == text }) {
			t.Errorf("the sources have no line %q", text)
		}
	}
	changed = removed
	if added -= changed; added != 12 || changed != 3 {
		t.Errorf("%d lines are added and %d changed, the text says 12 and 3", added, changed)
	}
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "//") && (strings.Contains(line, "sockeye") || strings.Contains(line, "realtime") || strings.Contains(line, "collector.")) && !uses[line] {
			t.Errorf("README.md does not have %q", line)
		}
	}
}
