package sockeye_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/heaptest"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// These tests fill what docs/limits.md bounds, and measure the heap: it may be
// twice what the row says, and as much as roomBytes of the test's own.
const (
	mailboxRow    = 512 << 10
	attachmentRow = 1_000_000
	roomBytes     = 1 << 20
)

// settled waits until the server charges no more than before for some time, and has
// read what it will.
func settled(t testing.TB, srv *sockeye.Server) {
	t.Helper()
	was, since := int64(-1), time.Now()
	for deadline := time.Now().Add(90 * time.Second); time.Since(since) < 300*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		if now := srv.Stats().Net.MemoryBytes; now != was {
			was, since = now, time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come to rest")
		}
	}
}

// masked is a whole message of a client.
func masked(op gobwas.OpCode, data []byte) []byte {
	return gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewFrame(op, true, data)))
}

// event is an event of some size, with so many attachments of another.
func event(size, attachments, each int) []byte {
	if attachments == 0 {
		return masked(gobwas.OpText, fmt.Appendf(nil, `42["block","%s"]`, strings.Repeat("x", size)))
	}
	b := masked(gobwas.OpText, fmt.Appendf(nil, `45%d-["block","%s"%s]`, attachments, strings.Repeat("x", size), placeholders(attachments)))
	return append(b, bytes.Repeat(masked(gobwas.OpBinary, make([]byte, each)), attachments)...)
}

func placeholders(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf(`,{"_placeholder":true,"num":%d}`, i)
	}
	return text
}

// TestMailboxOfBlockedHandler: what waits for a handler that never comes back takes
// what the row says, one event more, and the unread input; its peer is not read on.
func TestMailboxOfBlockedHandler(t *testing.T) {
	for _, c := range []struct {
		name   string
		event  []byte
		more   int // the one event more, and what lies unfinished
		events int // that are sent
	}{
		{"small", event(1, 0, 0), 64 << 10, 6_000},
		{"of a kilobyte", event(1000, 0, 0), 64 << 10, 2_000},
		{"large", event(900_000, 0, 0), 2 * 900_000, 5},
		{"binary", event(10, 10, 10_000), 200_000, 50},
		{"small binary", event(10, 10, 1), 64 << 10, 2_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			peers := 10
			if raceEnabled {
				peers = 3
			}
			goOn := make(chan struct{})
			var blocked atomic.Int32
			addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
				srv.On("block", func(*sockeye.Socket, *sockeye.Event) error { blocked.Add(1); <-goOn; return nil })
			})
			var all []net.Conn
			for range peers {
				all = append(all, wiretest.Connect(t, addr).Conn)
			}
			before := heaptest.InUse()
			input := bytes.Repeat(c.event, c.events)
			var senders sync.WaitGroup
			for _, conn := range all {
				senders.Go(func() { _, _ = conn.Write(input) })
			}
			eventually(t, func() bool { return srv.Stats().PausedForMailbox >= uint64(peers) && blocked.Load() == int32(peers) })
			settled(t, srv)
			held := heaptest.InUse() - before - len(input)
			runtime.KeepAlive(input)
			t.Logf("%d bytes of heap, %d charged for each", held/peers, srv.Stats().Net.MemoryBytes/int64(peers))
			if most := peers*2*(mailboxRow+c.more) + roomBytes; held > most {
				t.Errorf("%d bytes of heap for each, %d are right", held/peers, most/peers)
			}
			if n := blocked.Load(); n != int32(peers) {
				t.Errorf("%d handlers were called", n)
			}
			close(goOn)
			for _, conn := range all {
				_ = conn.Close()
			}
			senders.Wait()
			eventually(t, func() bool { return srv.Stats().Net.MemoryBytes == 0 })
		})
	}
}

// TestAttachmentsUnderWay: of a packet that waits for its last attachment, MaxPayload
// is held at most.
func TestAttachmentsUnderWay(t *testing.T) {
	const peers = 10
	addr, srv := serve(t, sockeye.Config{}, nil)
	var all []net.Conn
	for range peers {
		all = append(all, wiretest.Connect(t, addr).Conn)
	}
	one := event(10, 10, 95_000)
	part := one[:len(one)-95_000]
	before := heaptest.InUse()
	for _, conn := range all {
		if _, err := conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return srv.Stats().Net.MemoryBytes >= peers*9*95_000 })
	held := heaptest.InUse() - before
	t.Logf("%d bytes of heap, %d charged for each", held/peers, srv.Stats().Net.MemoryBytes/peers)
	if held > peers*2*attachmentRow+roomBytes {
		t.Errorf("%d bytes of heap for each", held/peers)
	}
	if n := srv.Stats().Net.Open; n != peers {
		t.Errorf("%d are open", n)
	}
}

// TestHeldBeforeConnect: what OnConnect emits without end takes what the row says;
// then the session ends.
func TestHeldBeforeConnect(t *testing.T) {
	for _, size := range []int{1000, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			ready, goOn := make(chan struct{}), make(chan struct{})
			text := strings.Repeat("x", size)
			addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
				srv.OnConnect(func(s *sockeye.Socket) error {
					for range mailboxRow / (size + 12) {
						if err := s.Emit("e", text); err != nil {
							return err
						}
					}
					close(ready)
					<-goOn
					return nil
				})
			})
			w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
			w.Expect("0{*")
			before := heaptest.InUse()
			w.Write("40")
			within(t, ready)
			held := heaptest.InUse() - before
			close(goOn)
			t.Logf("%d bytes of heap", held)
			if held > 2*mailboxRow+roomBytes {
				t.Errorf("%d bytes of heap", held)
			}
		})
	}
}

// TestRecoveryHistory: the events that a namespace keeps take what the row says.
func TestRecoveryHistory(t *testing.T) {
	const row = 2 << 20
	for _, size := range []int{10_000, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{MaxBytes: row}}, nil)
			wiretest.Connect(t, addr)
			text := strings.Repeat("x", size)
			before := heaptest.InUse()
			for range 2 * row / (size + 30) {
				if err := srv.To("nobody").Emit("e", text); err != nil {
					t.Fatal(err)
				}
			}
			got := srv.Of("/").RecoveryStats().Bytes
			held := heaptest.InUse() - before
			t.Logf("%d bytes of heap, of events %d, for %d", held, got, row)
			if held > 2*row+roomBytes || got > row+size+1000 || got < row/2 {
				t.Errorf("%d bytes of heap, of events %d, for %d", held, got, row)
			}
		})
	}
}

// TestPendingAcksHold: 10,000 answers that a socket waits for take 512 bytes each at
// most.
func TestPendingAcksHold(t *testing.T) {
	sockets := make(chan *sockeye.Socket, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { sockets <- s; return nil })
	})
	w := wiretest.Connect(t, addr)
	go func() {
		for {
			if _, _, err := w.Read(); err != nil {
				return
			}
		}
	}()
	s := within(t, sockets)
	before := heaptest.InUse()
	n := 0
	for ; ; n++ {
		err := s.EmitWithAck(func(sockeye.Args, error) {}, "e")
		if err != nil {
			if err != sockeye.ErrTooManyAcks { //nolint:errorlint // it is that very error
				t.Fatal(err)
			}
			break
		}
	}
	held := heaptest.InUse() - before
	t.Logf("%d bytes of heap for each of %d", held/n, n)
	if n != 10_000 || held > n*512+roomBytes {
		t.Errorf("%d answers are waited for, with %d bytes of heap for each", n, held/n)
	}
}

// TestDynamicNamespacesHold: those that peers make, as many as the row says and no
// more, take 2 KiB each.
func TestDynamicNamespacesHold(t *testing.T) {
	const most = 10_000
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OfFunc(func(string, json.RawMessage) bool { return true })
	})
	before := heaptest.InUse()
	made := 0
	for refused := 0; refused == 0; {
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		for i := range 60 {
			w.Write(fmt.Sprintf("40/%d-%d,", made, i))
		}
		for range 60 {
			data, _, err := w.Read()
			switch {
			case err != nil:
				t.Fatal(err)
			case bytes.HasPrefix(data, []byte("44")):
				refused++
			default:
				made++
			}
		}
		_ = w.Conn.Close()
	}
	eventually(t, func() bool { return srv.Stats().Net.Open == 0 })
	held := heaptest.InUse() - before
	t.Logf("%d bytes of heap for each of %d", held/made, made)
	if made != most || held > made*2048+roomBytes {
		t.Errorf("%d namespaces were made, with %d bytes of heap for each", made, held/made)
	}
}

// TestOnePeer: whatever one peer sends without ever reading, it takes 2 MiB at most,
// or is closed.
func TestOnePeer(t *testing.T) {
	fragment := gobwas.NewFrame(gobwas.OpBinary, false, make([]byte, 999_000))
	unfinished := gobwas.MustCompileFrame(gobwas.MaskFrame(fragment))
	asks := bytes.Repeat(masked(gobwas.OpText, []byte(`420["ask"]`)), 1000)
	binary := event(10, 10, 90_000)
	for _, c := range []struct {
		name    string
		request []byte // nil: a WebSocket
		once    []byte
		again   []byte
		times   int
	}{
		{"small events with acks", nil, nil, asks, 70},
		{"attachments that miss one", nil, binary[:len(binary)-90_000], nil, 0},
		{"an unfinished message", nil, unfinished, nil, 0},
		{
			"pipelined polls", []byte("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"), nil,
			bytes.Repeat([]byte("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"), 100), 100,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			const peers = 5
			addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
				srv.On("ask", func(*sockeye.Socket) string { return "a" })
				srv.On("block", func(s *sockeye.Socket, e *sockeye.Event) error { return s.Emit("echo", e.Arguments()...) })
			})
			var all []net.Conn
			for range peers {
				if c.request == nil {
					all = append(all, wiretest.Connect(t, addr).Conn)
				} else {
					conn := wiretest.Dial(t, addr)
					_, _ = conn.Write(c.request)
					all = append(all, conn)
				}
			}
			settled(t, srv)
			before := heaptest.InUse()
			var senders sync.WaitGroup
			most := peak(func() {
				for _, conn := range all {
					senders.Go(func() {
						_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
						_, err := conn.Write(c.once)
						for i := 0; i < c.times && err == nil; i++ {
							_, err = conn.Write(c.again)
						}
					})
				}
				senders.Wait()
				settled(t, srv)
			})
			s := srv.Stats()
			t.Logf("at most %d bytes of heap for each, %d charged, %d of %d open", (most-before)/peers, s.Net.MemoryBytes/peers, s.Net.Open, peers)
			if per := (most - before - roomBytes) / peers; per > mostPerPeer {
				t.Errorf("%d bytes of heap for each of %d peers", per, peers)
			}
			if s.Net.MemoryBytes > peers*mostPerPeer {
				t.Errorf("%d bytes are charged for each", s.Net.MemoryBytes/peers)
			}
			runtime.KeepAlive(all)
		})
	}
}
