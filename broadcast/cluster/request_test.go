package cluster

import "testing"

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
