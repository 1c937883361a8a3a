package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
)

// TestRequestTwice: who answers twice counts once, and late answers not at all.
func TestRequestTwice(t *testing.T) {
	r := &request{answer: ServerSideEmitResponse}
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
	r := &request{answer: ServerSideEmitResponse}
	r.init(2, true, []string{"a", "b"})
	r.without("a")
	if r.want != 1 || r.over {
		t.Errorf("of two servers %d are waited for", r.want)
	}
	r.take(&Message{Type: ServerSideEmitResponse, UID: "b"})
	if !r.over {
		t.Error("nobody is left, but it is not over")
	}

	r = &request{answer: ServerSideEmitResponse}
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
		r := &request{answer: ServerSideEmitResponse}
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

		r = &request{answer: ServerSideEmitResponse}
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
		r := &request{answer: want}
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
	r := &request{answer: BroadcastClientCount, answered: func(broadcast.Payload) { answers++ }}
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
