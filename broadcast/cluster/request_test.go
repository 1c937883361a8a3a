package cluster

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
)

func newRequest(answer Type) *request { return &request{answer: answer, max: 1 << 20} }

// TestRequestTwice: who answers twice counts once, and late answers not at all.
func TestRequestTwice(t *testing.T) {
	r := newRequest(ServerSideEmitResponse)
	r.init(2, true, nil)
	answer := &Message{Type: ServerSideEmitResponse, UID: "a", Payload: broadcast.Payload{JSON: []byte("[1]")}}
	r.take(answer)
	r.take(answer)
	select {
	case <-r.done:
		t.Fatal("one of two has answered, twice")
	default:
	}
	r.take(&Message{Type: ServerSideEmitResponse, UID: "b", Payload: broadcast.Payload{JSON: []byte("[2]")}})
	<-r.done
	r.take(&Message{Type: ServerSideEmitResponse, UID: "c", Payload: broadcast.Payload{JSON: []byte("[3]")}})
	if len(r.payloads) != 2 || r.result() != nil {
		t.Errorf("%d answers, %v", len(r.payloads), r.result())
	}
}

// TestGone: a server that goes while it is asked is not waited for; one that had gone before
// the servers were counted changes nothing.
func TestGone(t *testing.T) {
	r := newRequest(ServerSideEmitResponse)
	r.init(2, true, []string{"a", "b"})
	r.without("a")
	if r.want != 1 || r.over {
		t.Errorf("of two servers %d are waited for", r.want)
	}
	r.take(&Message{Type: ServerSideEmitResponse, UID: "b"})
	if !r.over {
		t.Error("nobody is left, but it is not over")
	}

	r = newRequest(ServerSideEmitResponse)
	r.init(1, true, []string{"old", "a"})
	r.without("old")
	if r.want != 1 || r.over {
		t.Errorf("%d are waited for after one has gone that was not counted", r.want)
	}
	r.take(&Message{Type: ServerSideEmitResponse, UID: "a"})
	if !r.over {
		t.Error("it is not over")
	}
}

// TestStrangers: where servers are known by name, one that has joined while the others are asked
// may answer, but no other one's answer is given up for it.
func TestStrangers(t *testing.T) {
	for _, stranger := range []string{"new", ""} {
		r := newRequest(ServerSideEmitResponse)
		r.init(0, false, []string{"a", "b"})
		r.take(&Message{Type: ServerSideEmitResponse, UID: stranger})
		r.take(&Message{Type: ServerSideEmitResponse, UID: "a"})
		if r.over {
			t.Fatalf("%q: b has not answered", stranger)
		}
		r.take(&Message{Type: ServerSideEmitResponse, UID: "b"})
		if !r.over || len(r.payloads) != 3 || r.result() != nil {
			t.Errorf("%q: over: %v, %d answers, %v", stranger, r.over, len(r.payloads), r.result())
		}

		r = newRequest(ServerSideEmitResponse)
		r.init(0, false, []string{"a", "b"})
		r.take(&Message{Type: ServerSideEmitResponse, UID: stranger})
		r.without("a")
		if r.over {
			t.Fatalf("%q: b has not answered", stranger)
		}
		r.end(context.DeadlineExceeded)
		m := new(broadcast.MissingError)
		if err := r.result(); !errors.As(err, &m) || m.Asked != 2 || m.Answered != 1 || !slices.Equal(m.Servers, []string{"b"}) {
			t.Errorf("%q: %+v", stranger, err)
		}
	}
}

// TestOtherAnswers: what is no answer to what was asked is none, and a server's sockets give as
// many answers as it has said.
func TestOtherAnswers(t *testing.T) {
	types := []Type{FetchSocketsResponse, ServerSideEmitResponse, BroadcastClientCount}
	for _, want := range types {
		r := newRequest(want)
		if want == BroadcastClientCount {
			r.answered = func(broadcast.Payload) {}
		}
		r.init(1, true, []string{"a"})
		for _, other := range types {
			if other != want {
				r.take(&Message{Type: other, UID: "a"})
			}
		}
		if r.over {
			t.Errorf("a question whose answer is %v is over by another one", want)
		}
		count := 5 // which no socket is asked for
		if want == BroadcastClientCount {
			count = 0
		}
		if r.take(&Message{Type: want, UID: "a", Count: count}); !r.over {
			t.Errorf("%v does not answer it", want)
		}
	}

	answers := 0
	r := newRequest(BroadcastClientCount)
	r.answered = func(broadcast.Payload) { answers++ }
	r.init(2, true, []string{"a", "b"})
	r.take(&Message{Type: BroadcastAck, UID: "a"}) // in front of the number
	r.take(&Message{Type: BroadcastClientCount, UID: "a", Count: 2})
	for range 5 {
		r.take(&Message{Type: BroadcastAck, UID: "a"})
	}
	if answers != 2 {
		t.Errorf("two sockets have given %d answers", answers)
	}
	r.take(&Message{Type: BroadcastClientCount, UID: "b", Count: 1})
	r.without("b") // with one due
	r.take(&Message{Type: BroadcastAck, UID: "b"})
	if !r.over || answers != 2 {
		t.Errorf("over: %v, %d answers", r.over, answers)
	}
}

// TestAnswersWithoutEnd: answers that come without end, of servers that are known or not, with or
// without telling how many there are, end the question before they fill the memory.
func TestAnswersWithoutEnd(t *testing.T) {
	const most = 1 << 20
	body := make([]byte, 1000)
	million := make([]broadcast.SocketInfo, 1_000_000)
	rooms := []broadcast.SocketInfo{{Rooms: make([]string, 1_000_000)}}
	payload := broadcast.Payload{JSON: body[:500], Attachments: [][]byte{body[500:]}}
	for _, c := range []struct {
		what    string
		answer  Type
		counted bool
		from    func(i int) string
		m       Message
		size    int // of one, at least
	}{
		{"sockets of one server", BroadcastClientCount, false, func(int) string { return "a" }, Message{Type: BroadcastAck, Payload: payload}, 1000},
		{"empty answers", BroadcastClientCount, false, func(int) string { return "a" }, Message{Type: BroadcastAck}, 100},
		{"sockets of servers without names", BroadcastClientCount, true, func(int) string { return "" }, Message{Type: BroadcastAck, Payload: payload}, 1000},
		{"sockets of made up servers", BroadcastClientCount, false, strconv.Itoa, Message{Type: BroadcastAck, Payload: payload}, 1000},
		{"counts of made up servers", BroadcastClientCount, false, strconv.Itoa, Message{Type: BroadcastClientCount}, 100},
		{"servers that are made up", ServerSideEmitResponse, false, strconv.Itoa, Message{Type: ServerSideEmitResponse, Payload: payload}, 1000},
		{"servers without names", ServerSideEmitResponse, false, func(int) string { return "" }, Message{Type: ServerSideEmitResponse, Payload: payload}, 1000},
		{"a million sockets", FetchSocketsResponse, true, strconv.Itoa, Message{Type: FetchSocketsResponse, Sockets: million}, most},
		{"a million rooms", FetchSocketsResponse, true, strconv.Itoa, Message{Type: FetchSocketsResponse, Sockets: rooms}, most},
		{"large data", FetchSocketsResponse, true, strconv.Itoa, Message{Type: FetchSocketsResponse, Sockets: []broadcast.SocketInfo{{Data: make([]byte, most), Handshake: body}}}, most},
	} {
		r := &request{answer: c.answer, max: most}
		answers := 0
		if c.answer == BroadcastClientCount {
			r.answered = func(broadcast.Payload) { answers++ }
		}
		r.init(3, c.counted, []string{"x", "y", "z"})
		n := 0
		for ; !r.over && n <= most/c.size+1; n++ {
			m := c.m
			m.UID = c.from(n)
			r.take(&m)
		}
		m := new(broadcast.MissingError)
		if err := r.result(); !r.over || !errors.As(err, &m) || !errors.Is(err, errTooMuch) {
			t.Errorf("%s: after %d answers: %v", c.what, n, err)
		}
		if kept := len(r.payloads) + len(r.sockets) + answers; kept >= n {
			t.Errorf("%s: %d of %d answers are kept", c.what, kept, n)
		}
		before := answers
		r.take(&Message{Type: BroadcastAck, UID: "x"})
		if answers != before {
			t.Errorf("%s: an answer is taken afterwards", c.what)
		}
	}
}
