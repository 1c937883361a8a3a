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
