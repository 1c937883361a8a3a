package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

func startServer(t *testing.T, cfg sockeye.Config) (srv *sockeye.Server, addr string) {
	t.Helper()
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*sockeye.Namespace{srv.Of("/"), srv.Of("/custom")} {
		ns.On("echo", func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack(e.Arguments()...) })
		ns.On("mirror", func(s *sockeye.Socket, e *sockeye.Event) error { return s.Emit("mirrored", e.Arguments()...) })
		ns.On("all", func(_ *sockeye.Socket, text string) error { return ns.Emit("news", map[string]string{"text": text}) })
		ns.On("others", func(s *sockeye.Socket, text string) error { return s.Broadcast().Emit("others", text) })
		ns.On("silence", func(*sockeye.Socket, *sockeye.Event) error { return nil })
	}
	srv.Of("/refused").Use(func(s *sockeye.Socket) error {
		var auth struct{ N int }
		if err := s.Auth(&auth); err != nil || auth.N%2 == 0 {
			return &sockeye.ConnectError{Message: "even"}
		}
		return nil
	})
	a, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return srv, a.String()
}

// result is what a run of the command has left.
type result struct {
	report
	code       int
	text, errs string
}

// runLoad runs the command, and reads its JSON.
func runLoad(t *testing.T, stop <-chan struct{}, args ...string) result {
	t.Helper()
	dir := t.TempDir()
	var out, errs wiretest.Output
	r := result{}
	r.code = run(append(args, "-json", filepath.Join(dir, "r.json"), "-html", filepath.Join(dir, "r.html")), &out, &errs, stop)
	r.text, r.errs = out.String(), errs.String()
	b, err := os.ReadFile(filepath.Join(dir, "r.json"))
	if err != nil && r.code != codeUsage {
		t.Fatal(err)
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &r.report); err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(filepath.Join(dir, "r.html"))
		if err != nil || !bytes.HasSuffix(page, []byte("</html>\n")) {
			t.Errorf("the page: %v", err)
		}
	}
	return r
}

// good holds that a run had no error, and all connections.
func (r result) good(t *testing.T, connections int) {
	t.Helper()
	if r.code != 0 || r.Errors != 0 || r.Most != connections || r.Connect.Count < int64(connections) || len(r.Series) == 0 {
		t.Errorf("code %d, %d errors %v, at most %d connections, %d connects, %d samples\n%s%s", r.code, r.Errors, r.Kinds, r.Most, r.Connect.Count, len(r.Series), r.text, r.errs)
	}
}

// kindCount is how many errors of a kind there are.
func (r result) kindCount(kind, text string) (n int64) {
	for _, k := range r.Kinds {
		if k.Kind == kind && strings.Contains(k.Text, text) {
			n += k.Count
		}
	}
	return n
}

func TestModes(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, sockeye.Config{})
	_, secure := startServer(t, sockeye.Config{TLS: tlspeer.ServerConfig()})
	for _, where := range [][]string{
		{"http://" + addr},
		{"http://" + addr, "-transport", "polling", "-namespace", "/custom"},
		{"wss://" + secure, "-insecure"},
		{"https://" + secure, "-insecure", "-transport", "polling"},
	} {
		load := func(t *testing.T, args ...string) result {
			t.Helper()
			r := runLoad(t, nil, append(append([]string{"-connections", "10", "-duration", "300ms"}, args...), where...)...)
			r.good(t, 10)
			return r
		}
		t.Run(strings.Join(where, " "), func(t *testing.T) {
			t.Parallel()
			if strings.Contains(where[0], secure) { // what is the same without TLS is not run twice
				t.Run("echo", func(t *testing.T) { load(t, "-mode", "echo", "-size", "20000") })
				t.Run("churn", func(t *testing.T) { load(t, "-mode", "churn") })
				return
			}
			t.Run("idle", func(t *testing.T) {
				t.Parallel()
				if r := load(t, "-ramp", "100"); r.Latency.Count != 10 || !r.Corrected || r.AtEnd != 10 {
					t.Errorf("%+v", r.Latency)
				}
			})
			t.Run("echo", func(t *testing.T) {
				t.Parallel()
				r := load(t, "-mode", "echo", "-window", "2", "-size", "1000", "-warmup", "100ms")
				if r.Sent < 20 || r.Received < r.Sent-20 || r.Latency.Count < r.Received-20 || r.Corrected || len(r.Histogram) == 0 || r.BytesOut < r.Sent*1000 {
					t.Errorf("sent %d, received %d, %d latencies, %d bytes", r.Sent, r.Received, r.Latency.Count, r.BytesOut)
				}
			})
			t.Run("echo by events", func(t *testing.T) {
				t.Parallel()
				if r := load(t, "-mode", "echo", "-event", "mirror", "-reply", "mirrored", "-senders", "3"); r.Received < 3 {
					t.Errorf("received %d", r.Received)
				}
			})
			t.Run("broadcast", func(t *testing.T) {
				t.Parallel()
				r := load(t, "-mode", "broadcast", "-event", "all", "-on", "news", "-rate", "20", "-senders", "2")
				if b := r.Broadcast; r.Sent < 4 || b.Complete != r.Sent || r.Received != 10*r.Sent || b.Deliveries != 10 || !b.ToSender || b.Foreign != 0 || b.Last.Count != r.Sent {
					t.Errorf("sent %d, received %d, %+v", r.Sent, r.Received, *b)
				}
			})
			t.Run("broadcast to others", func(t *testing.T) {
				t.Parallel()
				r := load(t, "-mode", "broadcast", "-event", "others")
				if b := r.Broadcast; r.Sent < 2 || b.Complete != r.Sent || r.Received != 9*r.Sent || b.ToSender {
					t.Errorf("sent %d, received %d, %+v", r.Sent, r.Received, *b)
				}
			})
			t.Run("churn", func(t *testing.T) {
				t.Parallel()
				if r := load(t, "-mode", "churn"); r.Sent < 10 || r.Latency.Count < r.Sent-10 || r.Joined < r.Sent {
					t.Errorf("%d reconnects, %d latencies, %d joined", r.Sent, r.Latency.Count, r.Joined)
				}
			})
			t.Run("churn at a rate", func(t *testing.T) {
				t.Parallel()
				r := runLoad(t, nil, append([]string{"-connections", "10", "-duration", "400ms", "-mode", "churn", "-rate", "50"}, where...)...)
				late := r.kindCount("not done", "at the end") // on a busy machine
				if n := r.Sent + late; r.Errors != late || n < 18 || n > 25 || r.Latency.Count < r.Sent-10 {
					t.Errorf("%d reconnects, %v, %d latencies", r.Sent, r.Kinds, r.Latency.Count)
				}
			})
		})
	}
}

// TestListening: the server sends by itself.
func TestListening(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, sockeye.Config{})
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				_ = srv.Emit("tick", 1)
			}
		}
	})
	defer func() { close(stop); done.Wait() }()
	r := runLoad(t, nil, "-mode", "broadcast", "-senders", "0", "-on", "tick", "-connections", "5", "-duration", "300ms", addr)
	r.good(t, 5)
	if r.Sent != 0 || r.Received < 50 || r.Broadcast.Foreign != r.Received {
		t.Errorf("sent %d, received %d, %+v", r.Sent, r.Received, r.Broadcast)
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, sockeye.Config{})
	r := runLoad(t, nil, "-mode", "echo", "-rate", "200", "-stages", "5@100:200ms,15@100:200ms,2@0:300ms", "http://"+addr)
	r.good(t, 15)
	if r.AtEnd != 2 || r.Attempts != 15 || r.Wanted != 15 {
		t.Errorf("%d at the end, %d tried", r.AtEnd, r.Attempts)
	}
	for end := time.Now().Add(10 * time.Second); srv.Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d are still there", srv.Len())
		}
	}
}

// TestCoordinatedOmission: the server is held up once, for half a second. At a rate all
// messages of that time have waited; in a closed loop only those that were under way.
func TestCoordinatedOmission(t *testing.T) {
	t.Parallel()
	const held = 500 * time.Millisecond
	slow := func(args ...string) (n int64) {
		srv, there := startServer(t, sockeye.Config{})
		var once sync.Once
		srv.On("held", func(_ *sockeye.Socket, e *sockeye.Event) error {
			once.Do(func() { time.Sleep(held) })
			return e.Ack()
		})
		r := runLoad(t, nil, append(args, "-mode", "echo", "-event", "held", "-connections", "1", "-duration", "1s", there)...)
		r.good(t, 1)
		for _, b := range r.Histogram {
			if b.From >= 100 {
				n += b.Count
			}
		}
		return n
	}
	if n := slow("-rate", "200"); n < 60 { // of the 80 that were due in the first 400 ms
		t.Errorf("at a rate, %d messages have waited for 100 ms or more", n)
	}
	if n := slow(); n == 0 || n > 10 {
		t.Errorf("in a closed loop, %d messages have waited for 100 ms or more", n)
	}
}

// TestHeldUpItself: what was due while this program was held up has waited.
func TestHeldUpItself(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, sockeye.Config{})
	o, err := parse([]string{"-quiet", "-mode", "echo", "-rate", "200", "-connections", "2", addr}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMeasurement(o, newProgress(io.Discard, o), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.crowd.Close()
	if err := m.ramp(0, o.stages[0]); err != nil {
		t.Fatal(err)
	}
	m.traffic, m.trafficAt = true, time.Now()
	m.measureFromNow()
	time.Sleep(500 * time.Millisecond)
	if err := m.turns(300*time.Millisecond, ""); err != nil {
		t.Fatal(err)
	}
	slow := int64(0)
	for _, b := range bars(&m.latency) {
		if b.From >= 200 {
			slow += b.Count
		}
	}
	if slow < 50 { // of the 60 that were due in the first 300 ms
		t.Errorf("%d of %d messages have waited for 200 ms or more", slow, m.latency.Len())
	}
	if late := m.late.Quantile(1); late < 400e6 {
		t.Errorf("they were sent %v ms late", late/1e6)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, sockeye.Config{})
	r := runLoad(t, nil, "-connections", "10", "-duration", "100ms", "-namespace", "/refused", "-auth", `{"n":{n}}`, "-fail-errors", "4", addr)
	if r.code != codeMissed || r.Most != 5 || r.kindCount("namespace refused", `{"message":"even"}`) != 5 {
		t.Errorf("code %d, %d connections, %v", r.code, r.Most, r.Kinds)
	}
	if !strings.Contains(r.text, `5 × namespace refused: {"message":"even"}`) || !strings.Contains(r.text, "FAILED") {
		t.Error(r.text)
	}
	r = runLoad(t, nil, "-connections", "3", "-duration", "10s", "-namespace", "/nowhere", addr)
	if r.code != codeMissed || r.Most != 0 || !strings.Contains(r.errs, "no connection has joined") || r.Seconds > 5 {
		t.Errorf("code %d, after %v s: %s", r.code, r.Seconds, r.errs)
	}
	r = runLoad(t, nil, "-connections", "3", "http://"+addr+"/elsewhere/")
	if r.kindCount("refused", "HTTP 404 Not Found") != 3 {
		t.Error(r.Kinds)
	}
	_, secure := startServer(t, sockeye.Config{TLS: tlspeer.ServerConfig()})
	r = runLoad(t, nil, "-connections", "3", "https://"+secure)
	if r.kindCount("TLS", "certificate") != 3 {
		t.Error(r.Kinds)
	}
}

func TestTrustedAuthority(t *testing.T) {
	t.Parallel()
	cert, _, err := tlspeer.WriteFiles(t.TempDir(), tlspeer.Certificate(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, secure := startServer(t, sockeye.Config{TLS: tlspeer.ServerConfig()})
	runLoad(t, nil, "-ca", cert, "-connections", "3", "-duration", "100ms", "https://"+secure).good(t, 3)
}

// TestServerWithLimits: each that a server has is told in its words.
func TestServerWithLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg        sockeye.Config
		args       string
		kind, text string
	}{
		"connections":        {sockeye.Config{PerAddress: sockeye.AddressLimits{Conns: 5}}, "", "closed", ""},
		"handshakes":         {sockeye.Config{PerAddress: sockeye.AddressLimits{HandshakesPerSecond: 1}}, "", "refused", "HTTP 4"},
		"handshakes by poll": {sockeye.Config{PerAddress: sockeye.AddressLimits{HandshakesPerSecond: 1}}, "-transport polling", "refused", "HTTP 4"},
		"messages":           {sockeye.Config{PerAddress: sockeye.AddressLimits{MessagesPerSecond: 50}}, "-mode echo", "closed", "close frame 1008"},
		"large messages":     {sockeye.Config{MaxPayload: 1000}, "-mode echo -size 5000", "closed", "close frame 1009"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := startServer(t, c.cfg)
			r := runLoad(t, nil, append(strings.Fields(c.args), "-connections", "30", "-duration", "300ms", addr)...)
			if r.kindCount(c.kind, c.text) < 5 {
				t.Errorf("%v\n%s", r.Kinds, r.text)
			}
		})
	}
}

// TestServerVanishes in the middle.
func TestServerVanishes(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{{"idle"}, {"echo", "-rate", "100"}, {"broadcast", "-event", "others", "-rate", "100"}, {"churn"}} {
		t.Run(mode[0], func(t *testing.T) {
			t.Parallel()
			srv, addr := startServer(t, sockeye.Config{})
			var n atomic.Int32
			srv.OnConnection(func(*sockeye.Socket) {
				if n.Add(1) == 5 {
					time.AfterFunc(300*time.Millisecond, func() { _ = srv.Close() })
				}
			})
			args := append([]string{"-mode"}, mode...)
			r := runLoad(t, nil, append(args, "-connections", "5", "-duration", "1m", "-timeout", "500ms", addr)...)
			if r.Ended == "" || r.Errors < 5 || r.Seconds > 20 || r.Most != 5 || r.AtEnd != 0 || !strings.Contains(r.text, "ended early") {
				t.Errorf("ended %q after %v s, %v\n%s", r.Ended, r.Seconds, r.Kinds, r.text)
			}
		})
	}
}

// TestUnanswered: the server takes events and does not answer.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, sockeye.Config{})
	r := runLoad(t, nil, "-mode", "echo", "-event", "silence", "-connections", "4", "-duration", "300ms", "-timeout", "500ms", addr)
	if n := r.kindCount("unanswered", "no answer in 500ms"); n != 4 || r.Sent != 4 || r.Latency.Count != 4 || r.Received != 0 || len(r.Warnings) == 0 || r.code != 0 {
		t.Errorf("%v, sent %d, %d latencies, %q", r.Kinds, r.Sent, r.Latency.Count, r.Warnings)
	}
	r = runLoad(t, nil, "-mode", "broadcast", "-event", "silence", "-connections", "4", "-rate", "20", "-duration", "300ms", "-timeout", "500ms", addr)
	if n := r.kindCount("undelivered", ""); n != 3*r.Sent || r.Sent == 0 || len(r.Warnings) == 0 {
		t.Errorf("%v, sent %d, %q", r.Kinds, r.Sent, r.Warnings)
	}
}

// TestLostCount: what the server loses is not a quick answer, nor left out.
func TestLostCount(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, sockeye.Config{})
	srv.On("cut", func(s *sockeye.Socket, e *sockeye.Event) error { s.CloseSession(); return nil })
	var n atomic.Int32
	srv.On("nine of ten", func(s *sockeye.Socket, e *sockeye.Event) error {
		if n.Add(1)%10 == 0 {
			return nil
		}
		return e.Ack()
	})
	lossy := func(args ...string) result {
		return runLoad(t, nil, append(args, "-mode", "echo", "-timeout", "300ms", "-fail-p99", "200ms", addr)...)
	}
	for _, event := range []string{"cut", "nine of ten"} {
		r := lossy("-event", event, "-connections", "20", "-rate", "100", "-duration", "500ms")
		if r.code != codeMissed || r.Latency.P99 < 295 || r.kindCount("unanswered", "") == 0 {
			t.Errorf("%s: code %d, p99 %v ms, %v", event, r.code, r.Latency.P99, r.Kinds)
		}
	}
	// Two connections that are there do not make up for those that have not come.
	r := runLoad(t, nil, "-connections", "10", "-duration", "100ms", "-namespace", "/refused", "-auth", `{"n":{n}}`, "-fail-connect-p99", "10s", addr)
	if r.code != codeMissed || !strings.Contains(r.text, "FAILED        -fail-connect-p99 10s: 5 of 10 have not joined") {
		t.Errorf("code %d\n%s", r.code, r.text)
	}
}

// TestNotSentCounts: what a server that does not read keeps from being sent has not arrived.
func TestNotSentCounts(t *testing.T) {
	t.Parallel()
	addr := hostile(t, func(c net.Conn, r *bufio.Reader) {
		ask, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		accept := sha1.Sum([]byte(ask.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		open := `0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n\x81%c%s",
			base64.StdEncoding.EncodeToString(accept[:]), len(open), open)
		fmt.Fprintf(c, "\x81\x0d40{\"sid\":\"a\"}")
		time.Sleep(20 * time.Second)
	})
	r := runLoad(t, nil, "-mode", "echo", "-connections", "1", "-size", "1000000", "-rate", "100", "-duration", "300ms", "-timeout", "1s", addr)
	if n := r.kindCount("not sent", "the server does not read"); n == 0 || r.Latency.Count < n || r.Latency.P50 < 990 {
		t.Errorf("%d latencies, p50 %v ms, %v\n%s", r.Latency.Count, r.Latency.P50, r.Kinds, r.text)
	}
}

// hostile is a server that does to each connection what a function says, also to the first,
// which only looks whether somebody is there.
func hostile(t *testing.T, do func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	return wiretest.Serve(t, 30*time.Second, do).String()
}

func TestServerSaysNothing(t *testing.T) {
	t.Parallel()
	addr := hostile(t, func(c net.Conn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, c) })
	r := runLoad(t, nil, "-connections", "1000", "-connecting", "10", "-timeout", "200ms", addr)
	n := r.kindCount("timeout", "upgrade")
	if r.code != codeMissed || n < 10 || n+r.kindCount("not tried", "the rest") != 1000 || r.Seconds > 15 {
		t.Errorf("code %d after %v s, %v", r.code, r.Seconds, r.Kinds)
	}
}

// TestServerRefusesMost: all are tried, quickly, and what was said is counted once.
func TestServerRefusesMost(t *testing.T) {
	t.Parallel()
	addr := hostile(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := r.ReadString('\n'); err == nil {
			fmt.Fprint(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 16\r\n\r\nno room for more")
		}
	})
	r := runLoad(t, nil, "-connections", "300", addr)
	if r.kindCount("refused", "HTTP 503 Service Unavailable: no room for more") != 300 || r.code != codeMissed {
		t.Errorf("code %d, %v", r.code, r.Kinds)
	}
}

func TestNobodyIsThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	if r := runLoad(t, nil, addr); r.code != codeMissed || !strings.Contains(r.errs, "takes no connection") {
		t.Errorf("code %d: %s", r.code, r.errs)
	}
}

// TestInterrupted: Ctrl-C ends soon, with a result.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-mode", "echo"}, {"-mode", "echo", "-event", "silence"}, {"-mode", "churn", "-transport", "polling"}, {"-ramp", "20", "-connections", "10000"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			srv, addr := startServer(t, sockeye.Config{})
			stop := make(chan struct{})
			var once sync.Once
			srv.OnConnection(func(*sockeye.Socket) {
				once.Do(func() { time.AfterFunc(300*time.Millisecond, func() { close(stop) }) })
			})
			r := runLoad(t, stop, append(args, "-duration", "10m", addr)...)
			if r.code != codeInterrupted || !r.Interrupted || r.Seconds > 10 || r.Joined == 0 || r.Errors != 0 {
				t.Errorf("code %d after %v s, %v", r.code, r.Seconds, r.Kinds)
			}
		})
	}
}

func TestFitDescriptors(t *testing.T) {
	o := &options{stages: []stage{{connections: 5000}}}
	if err := fitDescriptors(o, 5000+spare, 5000+spare); err != nil {
		t.Error(err)
	}
	err := fitDescriptors(o, 1024, 20000)
	if err == nil || !strings.Contains(err.Error(), "5,000 connections need 5,032 descriptors, and this process may have 1,024: ulimit -n 5032 raises it") {
		t.Error(err)
	}
	o.polling = true
	if err := fitDescriptors(o, 1024, 1024); err == nil || !strings.Contains(err.Error(), "ulimit -n 10032; LimitNOFILE=") {
		t.Error(err)
	}
}

func TestSources(t *testing.T) {
	local, far := netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("192.0.2.1:80")
	o := &options{stages: []stage{{connections: 30000}}}
	if _, err := sources(o, far, 28000); err == nil || !strings.Contains(err.Error(), "-source") {
		t.Errorf("more connections than ports: %v", err)
	}
	from, err := sources(o, local, 28000)
	if err != nil {
		t.Fatal(err)
	}
	count := map[netip.Addr]int{}
	for id := range 30000 {
		count[from(id)]++
	}
	for a, n := range count {
		if n > loopbackEach || !a.IsLoopback() {
			t.Errorf("%d come from %v", n, a)
		}
	}
	o.sources = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8")}
	if from, err := sources(o, far, 28000); err != nil || from(1) != o.sources[1] || from(2) != o.sources[0] {
		t.Error(err)
	}
	o = &options{stages: []stage{{connections: 100}}}
	if from, err := sources(o, local, 28000); from != nil || err != nil {
		t.Error("a few connections have no address of their own: the kernel chooses", err)
	}
}

// TestTooManyConnections is told before it begins.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, sockeye.Config{})
	r := runLoad(t, nil, "-connections", "1000000", addr)
	if r.code != codeUsage || !strings.Contains(r.errs, "need") || !strings.Contains(r.errs, "1,000,000") {
		t.Errorf("code %d: %s", r.code, r.errs)
	}
}

func TestProgressLines(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, sockeye.Config{})
	r := runLoad(t, nil, "-connections", "3", "-duration", "600ms", addr)
	if !strings.Contains(r.errs, "3/3 connections") || strings.Contains(r.errs, "\r") {
		t.Errorf("%q", r.errs)
	}
	if r := runLoad(t, nil, "-quiet", "-connections", "3", "-duration", "600ms", addr); r.errs != "" {
		t.Errorf("%q", r.errs)
	}
}

func TestHelp(t *testing.T) {
	var errs bytes.Buffer
	if code := run([]string{"-h"}, io.Discard, &errs, nil); code != 0 || !strings.Contains(errs.String(), "usage: sockeye-load [flags] URL") {
		t.Errorf("code %d: %s", code, errs.String())
	}
}

// TestIPv6, where there is one.
func TestIPv6(t *testing.T) {
	t.Parallel()
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip(err)
	} else {
		_ = l.Close()
	}
	addr, err := srv.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	runLoad(t, nil, "-connections", "3", "-duration", "100ms", "http://"+addr.String()).good(t, 3)
	runLoad(t, nil, "-connections", "3", "-duration", "100ms", "-source", "::1", "http://"+addr.String()).good(t, 3)
}
