package fuzz

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	_ "unsafe" // for linkname

	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/tls13"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// The suites of TLS 1.3 are not to be chosen in crypto/tls, which leaves these two to
// whoever has to.
var (
	//go:linkname suitesTLS13 crypto/tls.defaultCipherSuitesTLS13
	suitesTLS13 []uint16
	//go:linkname suitesTLS13NoAES crypto/tls.defaultCipherSuitesTLS13NoAES
	suitesTLS13NoAES []uint16
)

// FuzzTLS has a peer send records as a script says, right and wrong ones, three bytes a
// step, to a loop, and the same ones to a tls.Conn of crypto/tls: both read the same, to
// the same end. What the loop sends is opened by crypto/tls. Where the two may differ,
// RFC 8446 says what is right.
func FuzzTLS(f *testing.F) {
	step := func(s ...byte) []byte { return s }
	f.Add(step(stepContent, 200, 1, stepKeyUpdate, 1, 0, stepContent, 0, 64, stepClose, 0, 0), byte(0), uint16(20))
	f.Add(step(stepPadded, 255, 30, stepSplitUpdate, 2, 1, stepWindow, 9, 0, stepPadded, 1, 255, stepSplitUpdate, 4, 0, stepContent, 255, 20), byte(1), uint16(3000))
	f.Add(step(stepContent, 0, 40, stepDeliver, 0, 0, stepEmpty, 0, 0, stepEmpty, 9, 0, stepFlip, 30, 7), byte(2), uint16(1))
	for kind := range byte(steps) {
		f.Add(step(stepContent, 250, 3, kind, 3, 1, stepContent, 10, 0), kind, uint16(500))
		f.Add(step(kind, 0, 0, kind, 1, 0, kind, 2, 7), kind+1, uint16(50000))
	}
	f.Add(step(stepContent, 20, 1, stepWithin, 2, 2), byte(0), uint16(20))
	flood := func(kind, a byte) []byte { return bytes.Repeat(step(kind, a, 0), 17) }
	f.Add(flood(stepKeyUpdate, 1), byte(0), uint16(100))
	f.Add(flood(stepEmpty, 5), byte(0), uint16(1000))
	f.Add(append(flood(stepEmpty, 5)[:48], stepClose, 0, 0), byte(1), uint16(1000)) // it ends all the same
	f.Add(append(flood(stepSplitUpdate, 2)[:48], stepContent, 9, 9, stepKeyUpdate, 0, 0), byte(0), uint16(100))
	f.Fuzz(func(t *testing.T, script []byte, suite byte, cut uint16) {
		script = script[:min(len(script), 3*40)]
		preferred, other := suitesTLS13, suitesTLS13NoAES
		defer func() { suitesTLS13, suitesTLS13NoAES = preferred, other }()
		only := []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}[suite%3]
		suitesTLS13, suitesTLS13NoAES = []uint16{only}, []uint16{only}

		want, wantEnd := readByCryptoTLS(t, script)
		if !bytes.Equal(want, pull(len(want))) {
			t.Fatalf("crypto/tls reads what was not sent: %.2000q", want)
		}
		s := newSecureConversation(t, only, int(cut)+1)
		end := playTo(&s.sealer, script, s.do)
		if end.strict {
			wantEnd = fault // whatever crypto/tls says
		}
		if got := s.end(end); got != wantEnd {
			t.Errorf("it ends with %q, by crypto/tls with %q; the client says %v", got, wantEnd, s.client.Err())
		}
		if s.whole != messagesIn(len(want)) || s.broken {
			t.Errorf("%d messages are read, %v; crypto/tls reads %d bytes, which have %d", s.whole, s.broken, len(want), messagesIn(len(want)))
		}
	})
}

// Steps: kind, a, b; n is a and b<<8.
const (
	stepContent     = iota // n bytes
	stepPadded             // a bytes, and 64 b of padding
	stepEmpty              // nothing, and a bytes of padding
	stepKeyUpdate          // odd: asks for one
	stepSplitUpdate        // in two, behind 1 + a%4 bytes; b: as above
	stepWithin             // content within one
	stepDeliver            // what has been sealed goes out now
	stepWindow             // the peer takes n bytes of the loop's at once
	stepAlert              // b, at level a
	stepAlertLength        // an alert of another length than two
	stepMessage            // a handshake message of type a, or a KeyUpdate of length b
	stepTwo                // two KeyUpdates in a record
	stepType               // a record with another type inside
	stepNoType             // none
	stepPlainType          // a record that is not encrypted
	stepLong               // more content than a record may have
	stepHeader             // a header that says more than a record may have
	stepFlip               // a bit at byte n of a record
	stepAgain              // a record twice
	stepOldKey             // a record of another key, the one before if there is one
	stepTruncate           // a record's first bytes, and the end
	stepClose              // close_notify
	steps
)

// ends of what is read.
const (
	over   = "the end"
	fault  = "a fault"
	alerts = "an alert of the peer's"
)

// ending is what a script comes to.
type ending struct {
	alert  byte // that RFC 8446 wants; 0: any, if there is a fault at all
	strict bool // crypto/tls does not see the fault
	done   bool // nothing is sent any more
}

// sealer is the peer's sending side.
type sealer struct {
	keys, before tls13.Keys
	sent         int    // bytes of the stream
	useless      int    // records in a row without content, that go on
	flooded      bool   // they have been too many
	out          []byte // not delivered yet
}

func (s *sealer) seal(kind byte, pieces ...[]byte) {
	s.out = s.keys.Cipher().Append(s.out, &s.keys, tls13.ContentType(kind), pieces...)
}

func (s *sealer) content(n int) []byte {
	if n > 0 {
		s.useless = 0
	}
	b := pull(s.sent + n)[s.sent:]
	s.sent += n
	return b
}

func (s *sealer) update() {
	s.nothing()
	s.before = s.keys
	s.keys.Update()
}

// nothing counts a record that brings nothing.
func (s *sealer) nothing() {
	s.useless++
	s.flooded = s.flooded || s.useless > 16
}

// step seals what a step says.
func (s *sealer) step(kind, a, b byte) (e ending) {
	n := int(a) | int(b)<<8
	const content, handshake, alert = byte(tls13.ApplicationData), byte(tls13.Handshake), byte(tls13.Alert)
	wrong := func(alert byte) ending { return ending{alert: alert, done: true} }
	switch kind % steps {
	case stepContent:
		if n %= tls13.MaxContent + 1; n == 0 {
			s.nothing()
		}
		s.seal(content, s.content(n))
	case stepPadded:
		if a == 0 {
			s.nothing()
		}
		s.seal(0, s.content(int(a)), []byte{content}, make([]byte, min(64*int(b), tls13.MaxContent-1-int(a))))
	case stepEmpty:
		s.nothing()
		s.seal(0, []byte{content}, make([]byte, a))
	case stepKeyUpdate:
		s.seal(handshake, tls13.KeyUpdate(a%2 == 1))
		s.update()
	case stepSplitUpdate:
		m := tls13.KeyUpdate(b%2 == 1)
		s.seal(handshake, m[:1+a%4])
		s.seal(0, m[1+a%4:], []byte{handshake}, make([]byte, b))
		s.update()
	case stepWithin:
		s.seal(handshake, tls13.KeyUpdate(false)[:1+a%4])
		s.seal([]byte{content, alert, content}[b%3], []byte{1, 0}[:2*(b%3/2+b%3%2)])
		return wrong(tls13.AlertUnexpectedMessage)
	case stepAlert:
		if s.seal(alert, []byte{a, b}); b == tls13.AlertUserCanceled {
			s.nothing()
		}
		return ending{done: b != tls13.AlertUserCanceled}
	case stepAlertLength:
		if n %= 1000; n == 2 {
			n++
		}
		s.seal(alert, make([]byte, n))
		if n == 0 {
			return wrong(tls13.AlertUnexpectedMessage)
		}
		return wrong(tls13.AlertDecodeError)
	case stepMessage:
		m := []byte{a, 0, 0, b, 0}
		if a == 24 && b == 1 {
			m[4] = 2 // asks for what there is not
			s.seal(handshake, m)
			return wrong(tls13.AlertIllegalParameter)
		}
		s.seal(handshake, append(m, make([]byte, b)...))
		if a == 24 {
			return wrong(tls13.AlertDecodeError)
		}
		return wrong(tls13.AlertUnexpectedMessage)
	case stepTwo:
		s.seal(handshake, tls13.KeyUpdate(a%2 == 1), tls13.KeyUpdate(b%2 == 1)[:1+b%5])
		return wrong(tls13.AlertUnexpectedMessage)
	case stepType:
		if a == 0 || a >= alert && a <= content {
			a = 20
		}
		s.seal(a, []byte{1})
		return ending{alert: tls13.AlertUnexpectedMessage, strict: true, done: true} // change_cipher_spec is passed over
	case stepNoType:
		s.seal(0, make([]byte, n%(tls13.MaxContent+1)))
		return wrong(tls13.AlertUnexpectedMessage)
	case stepPlainType:
		if a == content {
			a = 20
		}
		s.out = append(s.out, a, 3, 3, 0, 1, 1)
		s.out = append(s.out, make([]byte, b)...)
		return ending{alert: tls13.AlertUnexpectedMessage, strict: true, done: true} // as above
	case stepLong:
		s.seal(0, make([]byte, tls13.MaxContent), []byte{content}, make([]byte, a%255))
		return wrong(tls13.AlertRecordOverflow)
	case stepHeader:
		s.out = append(s.out, content, 3, 3, 0x41+a%(0xff-0x41), 1+b%255)
		return wrong(tls13.AlertRecordOverflow)
	case stepFlip:
		at := len(s.out)
		s.seal(content, s.content(int(a)))
		s.sent -= int(a)
		s.out[at+n%(len(s.out)-at)] ^= 1 << (b % 8)
		s.out = append(s.out, make([]byte, tls13.MaxRecord)...) // whatever its header says
		return wrong(0)
	case stepAgain:
		at := len(s.out)
		s.seal(content, s.content(n%100))
		s.out = append(s.out, s.out[at:]...)
		return wrong(tls13.AlertBadRecordMAC)
	case stepOldKey:
		if s.before == (tls13.Keys{}) {
			s.keys.Update()
		} else {
			s.keys = s.before
		}
		s.seal(content, []byte{a})
		return wrong(tls13.AlertBadRecordMAC)
	case stepTruncate:
		at := len(s.out)
		s.seal(content, s.content(int(a)))
		s.sent -= int(a)
		s.out = s.out[:at+n%(len(s.out)-at)]
		return ending{done: true}
	case stepClose:
		s.seal(alert, []byte{1, tls13.AlertCloseNotify})
		return ending{done: true}
	}
	return ending{}
}

// The stream is an upgrade, and WebSocket messages.
var streamHead = []byte("GET /mine/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

// streamed is as much of the stream as has been needed, ends where its messages end.
var streamed, ends = slices.Clone(streamHead), []int(nil)

// message is the i-th.
func message(i int) []byte {
	b := make([]byte, []int{0, 1, 125, 126, 3000, 7}[i%6])
	for j := range b {
		b[j] = byte(i + j)
	}
	return b
}

// frameOf is a message as the loop sends it.
func frameOf(m []byte) []byte {
	b := append(make([]byte, ws.FrameHeadroom), m...)
	return b[ws.PutFrameHeader(b, ws.FrameHeadroom, true):]
}

// pull returns the first n bytes of the stream.
func pull(n int) []byte {
	for len(streamed) < n {
		m := message(len(ends))
		header := frameOf(m)
		header = header[:len(header)-len(m)]
		header[1] |= 0x80 // masked, by zeros
		streamed = slices.Concat(streamed, header, make([]byte, 4), m)
		ends = append(ends, len(streamed))
	}
	return streamed[:n:n]
}

// messagesIn is how many messages are whole in n bytes of the stream.
func messagesIn(n int) (whole int) {
	pull(n)
	for whole < len(ends) && ends[whole] <= n {
		whole++
	}
	return whole
}

type keyLog map[string][]byte

func (k keyLog) Write(line []byte) (int, error) {
	f := strings.Fields(string(line))
	k[f[0]], _ = hex.DecodeString(f[2])
	return len(line), nil
}

func (k keyLog) keys(t *testing.T, suite uint16) (keys tls13.Keys) {
	if !keys.Init(suite, k["CLIENT_TRAFFIC_SECRET_0"]) {
		t.Fatalf("no secret for suite %x", suite)
	}
	return keys
}

func clientConfig(log keyLog) *tls.Config {
	return &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS13, KeyLogWriter: log, InsecureSkipVerify: true}
}

// recorded is a net.Conn whose Read goes on with what is given.
type recorded struct {
	net.Conn
	in *bytes.Reader
}

func (c *recorded) Read(p []byte) (int, error) {
	if c.in == nil {
		return c.Conn.Read(p)
	}
	return c.in.Read(p)
}

func (c *recorded) Write(p []byte) (int, error) {
	if c.in == nil {
		return c.Conn.Write(p)
	}
	return len(p), nil
}

// readByCryptoTLS plays the script to a tls.Conn, and returns what that reads.
func readByCryptoTLS(t *testing.T, script []byte) (plain []byte, end string) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	log := keyLog{}
	client := tls.Client(near, clientConfig(log))
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	below := &recorded{Conn: far}
	cfg := tlspeer.ServerConfig()
	cfg.SessionTicketsDisabled = true // nobody reads them
	server := tls.Server(below, cfg)
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	s := &sealer{keys: log.keys(t, server.ConnectionState().CipherSuite)}
	playTo(s, script, func(byte, int) {})
	below.in = bytes.NewReader(s.out)
	plain, err := io.ReadAll(server)
	var remote *net.OpError
	switch {
	case err == nil || errors.Is(err, io.ErrUnexpectedEOF):
		return plain, over
	case errors.As(err, &remote) && remote.Op == "remote error":
		return plain, alerts
	}
	return plain, fault
}

// playTo seals a script; other is told of the steps that seal nothing.
func playTo(s *sealer, script []byte, other func(kind byte, n int)) (e ending) {
	for ; len(script) >= 3 && !e.done; script = script[3:] {
		other(script[0]%steps, int(script[1])|int(script[2])<<8)
		e = s.step(script[0], script[1], script[2])
	}
	other(stepDeliver, 0)
	return e
}

// secureConversation is a connection with TLS to a loop, which echoes messages.
type secureConversation struct {
	conversation
	sealer
	cut    int
	group  *netpoll.Group
	peer   *netpolltest.Peer
	client *tlspeer.Peer

	// What the loop has read.
	whole  int // messages
	broken bool

	echoed []byte
	window int  // is small; 0 if it is not
	deaf   bool // the client has given up
	closed error
}

func (s *secureConversation) HandleClose(_ *netpoll.Conn, err error) { s.closed = err }

func (s *secureConversation) HandleMessage(c *netpoll.Conn, data []byte, binary bool) {
	s.broken = s.broken || !bytes.Equal(data, message(s.whole))
	s.whole++
	s.conversation.HandleMessage(c, data, binary)
}

func newSecureConversation(t *testing.T, suite uint16, cut int) *secureConversation {
	s := &secureConversation{conversation: conversation{t: t}, cut: cut}
	s.net = netpolltest.NewNet(1)
	var err error
	if s.group, err = netpoll.New(netpoll.Config{Systems: s.net.Systems(), TLS: tlspeer.ServerConfig(), Logger: quiet}, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.group.Close(over)
		s.net.Run()
	})
	s.peer = s.net.DialTLS(0)
	log := keyLog{}
	s.client = tlspeer.New(clientConfig(log))
	for range 4 {
		s.peer.Write(s.client.Take())
		s.net.Run()
		s.client.Receive(s.peer.Read())
	}
	if !s.client.Open() {
		t.Fatalf("no handshake: %v", s.client.Err())
	}
	s.keys = log.keys(t, suite)
	return s
}

// memoryBytes is what a connection may hold here: the records of a turn and a message,
// and what goes out of them.
const memoryBytes = 128 << 10

// do delivers, or sets the window.
func (s *secureConversation) do(kind byte, n int) {
	switch kind {
	case stepWindow:
		s.window = 1 + n
	case stepDeliver:
		for piece := range slices.Chunk(s.out, max(s.cut, len(s.out)/100)) {
			s.peer.Write(piece)
			s.run()
		}
		s.out = nil
	}
}

// run has the loop do all it can, and the client read.
func (s *secureConversation) run() {
	for n := 0; ; n++ {
		if s.peer.SetWindow(-1); s.window > 0 && n < 100 { // not for all of a long answer
			s.peer.SetWindow(s.window)
		}
		s.net.Run()
		if used := s.group.Memory().Used(); used > memoryBytes {
			s.t.Fatalf("%d bytes are charged", used)
		}
		b := s.peer.Read()
		if len(b) == 0 {
			return
		}
		s.echoed = append(s.echoed, s.client.Receive(b)...)
		if err := s.client.Err(); err != nil && strings.HasSuffix(err.Error(), "too many non-advancing records") {
			s.deaf = true // of so many answers to its KeyUpdates, which it has asked for
			continue
		}
		if answer := s.client.Take(); len(answer) > 0 {
			s.t.Fatalf("the client has to answer: %x", answer)
		}
	}
}

// end ends the conversation, and tells how it has ended.
func (s *secureConversation) end(e ending) (end string) {
	t, before := s.t, s.group.Stats()
	echoes := s.echoes()
	if head, messages, ok := bytes.Cut(s.echoed, []byte("\r\n\r\n")); ok && bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		s.echoed = messages
	}
	// Who ends its stream is not waited for, and what a fault is behind is lost with it.
	if whole := !e.done && !s.deaf && before.TLSFaults == 0; whole && len(s.echoed) < len(echoes) || !bytes.HasPrefix(echoes, s.echoed) {
		t.Errorf("%d bytes come back, want %d: %.200q", len(s.echoed), len(echoes), s.echoed)
	}
	s.peer.Close()
	if s.run(); s.group.Stats().Open != 0 {
		t.Errorf("the connection has not ended")
	}
	if used := s.group.Memory().Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
	told := s.client.Err()
	switch n := s.group.Stats().TLSFaults; {
	case n > 1:
		t.Errorf("%d faults are counted", n)
	case n == 1:
		if s.flooded {
			e.alert = tls13.AlertUnexpectedMessage
		}
		if e.alert != 0 && s.window == 0 && !s.deaf && (told == nil || !strings.HasSuffix(told.Error(), tls.AlertError(e.alert).Error())) {
			t.Errorf("the client is told %v, want alert %d", told, e.alert)
		}
		return fault
	}
	if told != nil && !s.deaf && !errors.Is(told, io.EOF) {
		t.Errorf("no fault is counted, and the client is told %v", told)
	}
	if s.closed != nil && strings.HasSuffix(s.closed.Error(), "has sent a TLS alert") {
		return alerts
	}
	return over
}

// echoes is what the client has to have read, behind the head of the answer.
func (s *secureConversation) echoes() (b []byte) {
	for i := range s.whole {
		b = append(b, frameOf(message(i))...)
	}
	return b
}
