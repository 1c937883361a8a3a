package netpoll_test

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/tls13"
)

// clientHello is a whole one, as crypto/tls begins.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	defer near.Close()
	b := make([]byte, 16<<10)
	n, err := io.ReadAtLeast(far, b, tls13.HeaderBytes)
	if err != nil {
		t.Fatal(err)
	}
	if want := tls13.HeaderBytes + int(b[3])<<8 + int(b[4]); n < want {
		if _, err := io.ReadFull(far, b[n:want]); err != nil {
			t.Fatal(err)
		}
		n = want
	}
	return b[:n]
}

// neverFinished dials, and begins so many handshakes, every other one without its last
// byte. It returns when the server has closed all.
func neverFinished(t *testing.T, addr string, peers int) {
	t.Helper()
	hello := clientHello(t)
	conns := make([]net.Conn, peers)
	for i := range conns {
		conns[i] = dial(t, addr)
		if _, err := conns[i].Write(hello[:len(hello)-i/2%2]); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("all have begun")
	for _, c := range conns {
		_ = c.SetDeadline(time.Now().Add(limit))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a handshake has not been cut in time")
		}
	}
}

// TestHandshakesNeverFinished: peers that begin handshakes and stop hold no more than
// Config.MaxTLSHandshakes goroutines, are cut in time, others get in meanwhile, and who
// is in is answered. SOCKEYE_HANDSHAKES is how many there are: they are another
// process's, whose descriptors count by themselves.
func TestHandshakesNeverFinished(t *testing.T) {
	if to := os.Getenv("SOCKEYE_HANDSHAKES_TO"); to != "" {
		addr, n, _ := strings.Cut(to, "=")
		peers, _ := strconv.Atoi(n)
		neverFinished(t, addr, peers)
		return
	}
	peers, places := 1000, 50
	if n, _ := strconv.Atoi(os.Getenv("SOCKEYE_HANDSHAKES")); n > 0 {
		peers, places = n, 1024
	}
	cfg := netpoll.Config{Loops: 2, MaxTLSHandshakes: places, TLSHandshakeTimeout: 3 * time.Second}
	g, addr := listenTLS(t, cfg, &mine{})
	open, err := g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var others sync.WaitGroup
	slowest := make([]time.Duration, 2)
	for i, c := range []net.Conn{dialTLS(t, addr, nil), dial(t, open.String())} {
		others.Go(func() {
			r := bufio.NewReader(c)
			for n := 0; ; n++ {
				asked := time.Now()
				_ = c.SetDeadline(asked.Add(limit))
				_, _ = io.WriteString(c, "GET /mine/x HTTP/1.1\r\nHost: h\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				if err != nil {
					t.Errorf("after %d answers: %v", n, err)
					return
				}
				slowest[i] = max(slowest[i], time.Since(asked))
				select {
				case <-over:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	before, heap := runtime.NumGoroutine(), memoryOfGo()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHandshakesNeverFinished$", "-test.v")
	cmd.Env = append(os.Environ(), "SOCKEYE_HANDSHAKES_TO="+addr+"="+strconv.Itoa(peers))
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if fmt.Fprintln(&out, lines.Text()); lines.Text() == "all have begun" {
				close(begun)
			}
		}
		ended <- cmd.Wait()
	}()
	var most struct {
		goroutines    int
		charged, held int64
	}
	others.Go(func() {
		for {
			most.goroutines = max(most.goroutines, runtime.NumGoroutine()-before)
			most.charged, most.held = max(most.charged, g.Stats().MemoryBytes), max(most.held, memoryOfGo()-heap)
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	within(t, "all have begun", begun)
	// Who keeps its place idle for a second makes room: this one comes to its turn, and
	// before those who stand in line have all had theirs.
	comes := time.Now()
	c := dialTLS(t, addr, nil)
	send(t, c, "GET /mine/x HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, body := response(t, bufio.NewReader(c), "GET"); body != "/mine/x|" {
		t.Error(body)
	}
	_ = c.Close()
	wait := time.Since(comes)
	if err := within(t, "all are cut", ended); err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
	took := time.Since(began)
	eventually(t, "all are cut", func() bool { return g.Stats().Open == 2 })
	close(over)
	others.Wait()
	t.Logf("%d handshakes begun, %d stood in line; all were over after %v; who came behind them got in after %v; at most %d goroutines, %d bytes charged, %d of Go's; the slowest answers over TLS %v, without %v",
		peers, g.Stats().TLSWaits, took.Round(time.Millisecond), wait.Round(time.Millisecond), most.goroutines, most.charged, most.held, slowest[0], slowest[1])
	if most.goroutines > places+20 {
		t.Errorf("%d goroutines more", most.goroutines)
	}
	if bound := int64(places*(48<<10) + peers*(4<<10)); most.charged > bound {
		t.Errorf("%d bytes are charged, %d allowed", most.charged, bound)
	}
	if bound := int64(places*(96<<10) + peers*(10<<10)); most.held > bound {
		t.Errorf("%d bytes are held, %d allowed", most.held, bound)
	}
	if s := max(slowest[0], slowest[1]); s > 2*time.Second {
		t.Errorf("an answer took %v", s)
	}
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine()-before <= 0 })
	eventually(t, "what was charged is given back", func() bool { return g.Stats().MemoryBytes <= 8<<10 })
}

// memoryOfGo is what Go has from the kernel, heap and stacks, in use.
func memoryOfGo() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestNoTLS: what is no handshake ends its connection, is counted, and a peer that
// speaks HTTP is told.
func TestNoTLS(t *testing.T) {
	g, addr := listenTLS(t, netpoll.Config{}, &mine{})
	resp, body := ask(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp.StatusCode != 400 || !strings.Contains(body, "https") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	garbage := []string{
		"00", "ff00000000", "1603010000", "160301ffff", "1503030002020a", "1703030001aa", "1403030001010101",
		"1604010010", "16030100050100000100",
		"160301" + "0004" + "01ffffff", // a ClientHello of 16 MB
	}
	for i, s := range garbage {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, addr)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if i >= len(garbage)-2 { // which is a message's beginning: its end does not come
			_ = c.CloseWrite()
		}
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", s, err)
		}
	}
	if n := g.Stats().TLSFaults; n < uint64(len(garbage)-2) {
		t.Errorf("%d faults are counted, of %d", n, len(garbage))
	}
}

// TestHandshakeRecords: what is wrong within a handshake is answered with crypto/tls's
// alert.
func TestHandshakeRecords(t *testing.T) {
	long := append([]byte{22, 3, 3, 0x48, 0}, make([]byte, 0x4800)...)
	for _, c := range []struct {
		name   string
		record []byte
		alert  byte
	}{
		{"empty content", []byte{23, 3, 3, 0, 0}, 0}, // crypto/tls has no version yet, and says nothing
		{"an empty record", []byte{22, 3, 3, 0, 0}, tls13.AlertUnexpectedMessage},
		{"another type", []byte{99, 3, 3, 0, 1, 0}, 0},
		{"as long as TLS 1.2's", long, tls13.AlertRecordOverflow},
		{"too long", []byte{22, 3, 3, 0x48, 1}, tls13.AlertRecordOverflow},
		{"as long as can be", []byte{22, 3, 3, 0xff, 0xff}, tls13.AlertRecordOverflow},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, addr := listenTLS(t, netpoll.Config{}, &mine{})
			hello := clientHello(t)
			p := dial(t, addr)
			first := append([]byte{22, 3, 1, 0, 20}, hello[5:25]...)
			if _, err := p.Write(append(first, c.record...)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p)
			if told := len(got) == 7 && got[0] == byte(tls13.Alert); told != (c.alert != 0) || told && got[6] != c.alert {
				t.Errorf("%x %v, want alert %d", got, err, c.alert)
			}
			eventually(t, "it is counted", func() bool { return g.Stats().TLSFaults == 1 && g.Stats().Open == 0 })
		})
	}
}

// sealed is a peer that seals its own records, so that they may be wrong.
type sealed struct {
	t       *testing.T
	c       net.Conn
	in, out tls13.Keys
}

// dialSealed makes a handshake with crypto/tls and goes on by itself.
func dialSealed(t *testing.T, addr string) *sealed {
	t.Helper()
	s := &sealed{t: t, c: dial(t, addr)}
	log := secrets{}
	// One record at a time, so that crypto/tls does not read what comes behind.
	c := tls.Client(&oneRecord{Conn: s.c}, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: log})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	suite := c.ConnectionState().CipherSuite
	if !s.out.Init(suite, log["CLIENT_TRAFFIC_SECRET_0"]) || !s.in.Init(suite, log["SERVER_TRAFFIC_SECRET_0"]) {
		t.Fatal("no secrets")
	}
	return s
}

type secrets map[string][]byte

func (s secrets) Write(line []byte) (int, error) {
	f := strings.Fields(string(line))
	s[f[0]], _ = hex.DecodeString(f[2])
	return len(line), nil
}

// oneRecord reads no further than a record's end.
type oneRecord struct {
	net.Conn
	left int
	head []byte
}

func (c *oneRecord) Read(p []byte) (int, error) {
	if c.left == 0 && len(c.head) == 0 {
		c.head = make([]byte, tls13.HeaderBytes)
		if _, err := io.ReadFull(c.Conn, c.head); err != nil {
			return 0, err
		}
		c.left = int(c.head[3])<<8 + int(c.head[4])
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (s *sealed) send(kind tls13.ContentType, content []byte) {
	s.t.Helper()
	s.raw(s.out.Cipher().Append(nil, &s.out, kind, content))
}

func (s *sealed) raw(b []byte) {
	s.t.Helper()
	if _, err := s.c.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// receive is the next record.
func (s *sealed) receive() (kind tls13.ContentType, content []byte, err error) {
	b := make([]byte, tls13.MaxRecord)
	if _, err := io.ReadFull(s.c, b[:tls13.HeaderBytes]); err != nil {
		return 0, nil, err
	}
	n, fault := tls13.ConsumeHeader(b)
	if fault != nil {
		return 0, nil, fault
	}
	if _, err := io.ReadFull(s.c, b[tls13.HeaderBytes:n]); err != nil {
		return 0, nil, err
	}
	kind, content, fault = s.in.Cipher().Open(b[:n], &s.in)
	if fault != nil {
		return 0, nil, fault
	}
	return kind, content, nil
}

const aRequest = "GET /mine/x HTTP/1.1\r\nHost: h\r\n\r\n"

// expect asks for a page and reads the answer; tickets and KeyUpdates may come before
// it.
func (s *sealed) expect() {
	s.t.Helper()
	s.send(tls13.ApplicationData, []byte(aRequest))
	s.answer()
}

func (s *sealed) answer() {
	s.t.Helper()
	var got []byte
	for !strings.HasSuffix(string(got), "/mine/x|") {
		kind, content, err := s.receive()
		switch {
		case err != nil:
			s.t.Fatalf("after %q: %v", got, err)
		case kind == tls13.ApplicationData:
			got = append(got, content...)
		case kind == tls13.Handshake && len(content) == 5:
			s.in.Update()
		}
	}
}

// TestRecords: what may come after the handshake goes on, what may not is answered with
// the alert that RFC 8446 asks for.
func TestRecords(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(s *sealed)
		alert byte // 0: it goes on
	}{
		{"tiny records", func(s *sealed) {
			var b []byte
			for _, x := range []byte(aRequest) {
				b = s.out.Cipher().Append(b, &s.out, tls13.ApplicationData, []byte{x})
			}
			s.raw(b)
			s.answer()
		}, 0},
		{"byte by byte", func(s *sealed) {
			for _, b := range s.out.Cipher().Append(nil, &s.out, tls13.ApplicationData, nil) {
				s.raw([]byte{b})
			}
		}, 0},
		{"a key update", func(s *sealed) { s.send(tls13.Handshake, tls13.KeyUpdate(false)); s.out.Update() }, 0},
		{"a key update that asks", func(s *sealed) { s.send(tls13.Handshake, tls13.KeyUpdate(true)); s.out.Update() }, 0},
		{"sixteen key updates, and content between", func(s *sealed) {
			for i := range 48 {
				s.send(tls13.Handshake, tls13.KeyUpdate(i%2 == 0))
				s.out.Update()
				if i%16 == 15 {
					s.expect()
				}
			}
		}, 0},
		{"a flood of key updates", func(s *sealed) {
			for range 17 {
				s.send(tls13.Handshake, tls13.KeyUpdate(true))
				s.out.Update()
			}
		}, tls13.AlertUnexpectedMessage},
		{"a flood of empty records", func(s *sealed) {
			for range 17 {
				s.send(tls13.ApplicationData, nil)
			}
		}, tls13.AlertUnexpectedMessage},
		{"renegotiation", func(s *sealed) { s.send(tls13.Handshake, clientHello(s.t)[tls13.HeaderBytes:]) }, tls13.AlertUnexpectedMessage},
		{"key updates in pieces", func(s *sealed) {
			for n := range 4 {
				s.send(tls13.Handshake, tls13.KeyUpdate(true)[:n+1])
				s.send(tls13.Handshake, tls13.KeyUpdate(true)[n+1:])
				s.out.Update()
			}
			for range 12 { // of which the pieces do not count
				for _, b := range tls13.KeyUpdate(false) {
					s.send(tls13.Handshake, []byte{b})
				}
				s.out.Update()
			}
		}, 0},
		{"content within a key update", func(s *sealed) {
			s.send(tls13.Handshake, tls13.KeyUpdate(false)[:3])
			s.send(tls13.ApplicationData, []byte("x"))
		}, tls13.AlertUnexpectedMessage},
		{"an empty record within a key update", func(s *sealed) {
			s.send(tls13.Handshake, tls13.KeyUpdate(false)[:3])
			s.send(tls13.ApplicationData, nil)
		}, tls13.AlertUnexpectedMessage},
		{"a key update with more behind it", func(s *sealed) {
			s.send(tls13.Handshake, append(tls13.KeyUpdate(false), tls13.KeyUpdate(false)...))
		}, tls13.AlertUnexpectedMessage},
		{"a key update of another kind", func(s *sealed) { s.send(tls13.Handshake, []byte{24, 0, 0, 1, 2}) }, tls13.AlertIllegalParameter},
		{"a flood of key updates in pieces", func(s *sealed) {
			for range 17 {
				s.send(tls13.Handshake, tls13.KeyUpdate(true)[:2])
				s.send(tls13.Handshake, tls13.KeyUpdate(true)[2:])
				s.out.Update()
			}
		}, tls13.AlertUnexpectedMessage},
		{"an empty handshake record", func(s *sealed) { s.send(tls13.Handshake, nil) }, tls13.AlertUnexpectedMessage},
		{"an empty alert", func(s *sealed) { s.send(tls13.Alert, nil) }, tls13.AlertUnexpectedMessage},
		{"another type", func(s *sealed) { s.send(20, []byte{1}) }, tls13.AlertUnexpectedMessage},
		{"a plain record", func(s *sealed) { s.raw([]byte{21, 3, 3, 0, 2, 2, 10}) }, tls13.AlertUnexpectedMessage},
		{"a plain change_cipher_spec", func(s *sealed) { s.raw([]byte{20, 3, 3, 0, 1, 1}) }, tls13.AlertUnexpectedMessage},
		{"a record that is too long", func(s *sealed) { s.raw([]byte{23, 3, 3, 0x41, 1}) }, tls13.AlertRecordOverflow},
		{"a damaged record", func(s *sealed) {
			b := s.out.Cipher().Append(nil, &s.out, tls13.ApplicationData, []byte("x"))
			b[len(b)-1] ^= 1
			s.raw(b)
		}, tls13.AlertBadRecordMAC},
		{"a record again", func(s *sealed) {
			b := s.out.Cipher().Append(nil, &s.out, tls13.ApplicationData, []byte("G"))
			s.raw(append(b, b...))
		}, tls13.AlertBadRecordMAC},
		{"an alert of three bytes", func(s *sealed) { s.send(tls13.Alert, []byte{1, 0, 0}) }, tls13.AlertDecodeError},
		{"user_canceled", func(s *sealed) { s.send(tls13.Alert, []byte{1, tls13.AlertUserCanceled}) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, addr := listenTLS(t, netpoll.Config{}, &mine{})
			s := dialSealed(t, addr)
			c.do(s)
			if c.alert == 0 {
				s.expect()
				return
			}
			for {
				kind, content, err := s.receive()
				if err != nil {
					t.Fatalf("no alert: %v", err)
				}
				if kind == tls13.Handshake && len(content) == 5 {
					s.in.Update()
				}
				if kind != tls13.Alert {
					continue
				}
				if len(content) != 2 || content[1] != c.alert {
					t.Errorf("alert %v, want %d", content, c.alert)
				}
				break
			}
			eventually(t, "it is counted", func() bool { return g.Stats().TLSFaults == 1 && g.Stats().Open == 0 })
		})
	}
}

// TestTLSClose: a connection that this side closes ends with close_notify.
func TestTLSClose(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			_, addr := listenTLS(t, way.cfg, &mine{})
			c := dialTLS(t, addr, way.peer.Clone())
			send(t, c, "GET /mine/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			b, err := io.ReadAll(c) // an end without close_notify is io.ErrUnexpectedEOF
			if err != nil || !strings.HasSuffix(string(b), "/mine/x|") {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// TestFaultBehindRequest: an answer that crypto/tls does not send any more, as the peer
// has sent what it may not, is lost; the loop goes on, and the peer is told.
func TestFaultBehindRequest(t *testing.T) {
	t.Parallel()
	g, addr := listenTLS(t, netpoll.Config{PlainTLS: true, Loops: 1}, &mine{})
	s := dialSealed(t, addr)
	b := s.out.Cipher().Append(nil, &s.out, tls13.ApplicationData, []byte(aRequest))
	s.raw(append(b, 23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20))
	for kind := tls13.ContentType(0); kind != tls13.Alert; {
		var err error
		var content []byte
		if kind, content, err = s.receive(); err != nil {
			t.Fatalf("no alert: %v", err)
		}
		if kind == tls13.Alert && (len(content) != 2 || content[1] != tls13.AlertBadRecordMAC) {
			t.Errorf("alert %v", content)
		}
	}
	dialSealed(t, addr).expect()
	_ = s.c.Close()
	eventually(t, "it is counted", func() bool { return g.Stats().TLSFaults == 1 })
}
