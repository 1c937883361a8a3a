package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// countedBus is a fakeBus that knows how many others there are, as the classic one of Redis,
// which has no heartbeats, and whose answers have no names.
type countedBus struct {
	fakeBus
	others int
}

func (b *countedBus) Others(context.Context, string) (int, error) { return b.others, nil }

func (b *countedBus) Encode(m *Message) (Frame, error) {
	switch m.Type {
	case InitialHeartbeat, Heartbeat, AdapterClose:
		return Frame{}, broadcast.ErrUnsupported
	}
	return b.fakeBus.Encode(m)
}

// asked waits until a question has been sent, and returns its id.
func (b *fakeBus) asked(t *testing.T) string {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		if m, err := Decode(f.Data); err == nil && m.RequestID != "" {
			return m.RequestID
		}
	}
	t.Fatal("nothing has been asked")
	return ""
}

func joined(t *testing.T, bus Bus, o Options, local broadcast.Local) (*Adapter, broadcast.Remote) {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	a, err := New(bus, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Join(local)
	if err != nil {
		t.Fatal(err)
	}
	return a, r
}

// TestMissingNames: without heartbeats nobody is blamed by a name: who has been heard of may
// have answered, or be long gone.
func TestMissingNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &countedBus{others: 2}
		a, r := joined(t, bus, Options{}, nobody{})
		defer a.Close(t.Context())
		a.Receive(&Message{Type: ServerSideEmitResponse, UID: "innocent", Namespace: "/"}, 1)
		end := make(chan error, 1)
		go func() {
			_, err := r.CallServers(t.Context(), broadcast.Payload{JSON: []byte(`["who"]`)})
			end <- err
		}()
		id := bus.asked(t)
		a.Receive(&Message{Type: ServerSideEmitResponse, RequestID: id, Namespace: "/", Payload: broadcast.Payload{JSON: []byte("[1]")}}, 1)
		m := new(broadcast.MissingError)
		if err := <-end; !errors.As(err, &m) || m.Asked != 2 || m.Answered != 1 || len(m.Servers) > 0 {
			t.Errorf("%+v", err)
		}
	})
}

// TestGoneInCall: a server that goes after it has told how many of its sockets are asked is
// not waited for; that their answers are missing is told. What comes of it all the same while
// others are waited for is taken.
func TestGoneInCall(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bus := new(fakeBus)
			a, r := joined(t, bus, Options{}, nobody{})
			defer a.Close(t.Context())
			tell := func(m Message) { m.Namespace = "/"; a.Receive(&m, 1) }
			tell(Message{Type: Heartbeat, UID: "b"})
			tell(Message{Type: Heartbeat, UID: "c"})
			end := make(chan error, 1)
			began := time.Now()
			answers := 0
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				end <- r.Call(ctx, broadcast.Payload{JSON: []byte(`["q"]`)}, broadcast.Target{}, func(broadcast.Payload) { answers++ })
			}()
			id := bus.asked(t)
			one := broadcast.Payload{JSON: []byte("[1]")}
			tell(Message{Type: BroadcastAck, UID: "b", RequestID: id, Payload: one})
			tell(Message{Type: BroadcastClientCount, UID: "b", RequestID: id, Count: 3})
			tell(Message{Type: BroadcastClientCount, UID: "c", RequestID: id, Count: 1})
			if !silent {
				tell(Message{Type: AdapterClose, UID: "b"})
			}
			for range 60 { // c goes on
				time.Sleep(time.Second)
				tell(Message{Type: Heartbeat, UID: "c"})
			}
			tell(Message{Type: BroadcastAck, UID: "b", RequestID: id, Payload: one}) // late
			synctest.Wait()
			select {
			case err := <-end:
				t.Fatalf("c has not answered: %v", err)
			default:
			}
			tell(Message{Type: BroadcastAck, UID: "c", RequestID: id, Payload: one})
			m := new(broadcast.MissingError)
			err := <-end
			if d := time.Since(began); !errors.As(err, &m) || m.Asked != 2 || m.Answered != 2 || m.Sockets != 1 || d > 2*time.Minute {
				t.Errorf("silent %v, after %v: %+v", silent, d, err)
			}
			if answers != 3 {
				t.Errorf("%d answers", answers)
			}
		})
	}
}

// TestTooManyAnswers: a server whose sockets answer without end, and that never tells how many
// they are, ends the call at once; what comes of it later is no answer to another question.
func TestTooManyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(fakeBus)
		a, r := joined(t, bus, Options{MaxAnswerBytes: 100_000}, nobody{})
		defer a.Close(t.Context())
		tell := func(m Message) { m.Namespace = "/"; a.Receive(&m, 1) }
		tell(Message{Type: Heartbeat, UID: "b"})
		ack := Message{Type: BroadcastAck, UID: "b", Payload: broadcast.Payload{JSON: make([]byte, 1000)}}
		type result struct {
			err     error
			answers int
			after   time.Duration
		}
		call := func(ends chan result) {
			began, x := time.Now(), result{}
			x.err = r.Call(t.Context(), broadcast.Payload{JSON: []byte(`["q"]`)}, broadcast.Target{}, func(broadcast.Payload) { x.answers++ })
			x.after = time.Since(began)
			ends <- x
		}
		ends := make(chan result, 1)
		go call(ends)
		ack.RequestID = bus.asked(t)
		for range 1000 {
			tell(ack)
		}
		if x := <-ends; !errors.As(x.err, new(*broadcast.MissingError)) || x.answers >= 100 || x.answers < 50 || x.after > 0 {
			t.Errorf("%d answers after %v, %v", x.answers, x.after, x.err)
		}
		bus.sent(t)
		go call(ends)
		late := ack.RequestID
		ack.RequestID = bus.asked(t)
		if ack.RequestID == late {
			t.Fatal("the name of a question is used again")
		}
		tell(Message{Type: BroadcastClientCount, UID: "b", RequestID: ack.RequestID, Count: 1})
		tell(Message{Type: BroadcastAck, UID: "b", RequestID: late})
		tell(Message{Type: BroadcastClientCount, UID: "b", RequestID: late})
		synctest.Wait()
		select {
		case x := <-ends:
			t.Fatalf("it has been answered by what is late: %+v", x)
		default:
		}
		tell(ack)
		if x := <-ends; x.err != nil || x.answers != 1 {
			t.Errorf("%+v", x)
		}
		if n := a.Stats().Late; n != 1 {
			t.Errorf("%d are counted", n)
		}
	})
}

// strict is a namespace that takes no event but "good".
type strict struct {
	nobody
	mu  sync.Mutex
	got int
}

var errBad = errors.New("bad")

func (s *strict) Broadcast(p broadcast.Payload, _ broadcast.Target) error {
	if string(p.JSON) != `["good"]` {
		return errBad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got++
	return nil
}

func (s *strict) Call(p broadcast.Payload, t broadcast.Target, _ time.Duration, _ func(broadcast.Payload)) (int, error) {
	return 0, s.Broadcast(p, t)
}

func (s *strict) Sockets(broadcast.Target) []broadcast.SocketInfo {
	return []broadcast.SocketInfo{{ID: strings.Repeat("x", 100_000)}}
}
func (s *strict) ServerEvent(broadcast.Payload, func(broadcast.Payload)) {}

// TestUnreadable: what this server cannot make an event of is counted as what cannot be read.
func TestUnreadable(t *testing.T) {
	local := new(strict)
	a, _ := joined(t, new(fakeBus), Options{}, local)
	defer a.Close(t.Context())
	event := func(id, text string, kind Type) {
		a.Receive(&Message{Type: kind, UID: "b", Namespace: "/", RequestID: id, Payload: broadcast.Payload{JSON: []byte(text)}}, 1)
	}
	event("", `["good"]`, Broadcast)
	event("1", `["good"]`, Broadcast)
	event("", `["connect"]`, Broadcast)
	event("2", `["connect"]`, Broadcast)
	event("", `["x"]`, ServerSideEmit)
	if local.got != 2 || a.Stats().Ignored != 2 {
		t.Errorf("%d events, %+v", local.got, a.Stats())
	}
}

// TestAnswerTooLarge: an answer that does not fit is refused, counted, and told in the log; who
// asks is told that nothing comes, where that fits.
func TestAnswerTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		bus := new(fakeBus)
		a, err := New(bus, Options{MaxQueued: 10_000, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close(t.Context())
		if _, err := a.Join(new(strict)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.Receive(&Message{Type: FetchSockets, UID: "b", Namespace: "/", RequestID: "1"}, 1)
		synctest.Wait()
		if s := a.Stats(); s.Refused != 1 || !strings.Contains(log.String(), "more than MaxQueued") || !strings.Contains(log.String(), "cannot be answered") {
			t.Errorf("%+v\n%s", s, log.String())
		}
		if types := bus.sent(t); slices.Contains(types, FetchSocketsResponse) {
			t.Errorf("%v", types)
		}
	})
}

// TestAskWhileDown: while the bus is away nobody is asked, also where events are kept for later:
// who asks is told at once, and no question arrives when nobody waits for answers any more.
func TestAskWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(fakeBus)
		a, r := joined(t, bus, Options{QueueWhileDown: true}, nobody{})
		defer a.Close(t.Context())
		a.Receive(&Message{Type: Heartbeat, UID: "b", Namespace: "/"}, 1)
		synctest.Wait()
		bus.cut(true)
		if err := r.ServerEvent(broadcast.Payload{JSON: []byte(`["kept"]`)}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		p := broadcast.Payload{JSON: []byte(`["question"]`)}
		_, err1 := r.CallServers(t.Context(), p)
		_, err2 := r.Sockets(t.Context(), broadcast.Target{})
		err3 := r.Call(t.Context(), p, broadcast.Target{}, func(broadcast.Payload) {})
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, broadcast.ErrUnavailable) || errors.As(err, new(*broadcast.MissingError)) {
				t.Errorf("%v", err)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("after %v", d)
		}
		bus.sent(t)
		bus.cut(false)
		time.Sleep(2 * maxBackoff)
		synctest.Wait()
		n := 0
		for _, kind := range bus.sent(t) {
			if kind == ServerSideEmit || kind == FetchSockets || kind == Broadcast {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d have been sent", n)
		}
	})
}
