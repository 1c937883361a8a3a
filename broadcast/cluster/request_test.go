package cluster

import (
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
)

// TestRequestTwice: who answers twice counts once, and late answers not at all.
func TestRequestTwice(t *testing.T) {
	r := &request{}
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
	r := new(request)
	r.init(2, true, []string{"a", "b"})
	r.without("a")
	if r.want != 1 || r.over {
		t.Errorf("of two servers %d are waited for", r.want)
	}
	r.take(&Message{Type: ServerSideEmitResponse, UID: "b"})
	if !r.over {
		t.Error("nobody is left, but it is not over")
	}

	r = new(request)
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
