package main

import (
	"testing"

	"github.com/sockeye-io/sockeye/internal/load"
)

func TestMatching(t *testing.T) {
	text, ok := argument([]byte(`42["bcast","17-1795761794600419643-xxx"]`), bcastStart)
	if !ok {
		t.Fatal("no match")
	}
	seq, text, ok := load.LeadingNumber(text)
	if seq != 17 || !ok {
		t.Fatalf("sequence number %d, ok %v", seq, ok)
	}
	at, text, ok := load.LeadingNumber(text)
	if at != 1795761794600419643 || string(text) != `xxx"]` || !ok {
		t.Fatalf("time %d, ok %v, rest %q", at, ok, text)
	}
	for _, other := range []string{``, `42`, `42["auth",{}]`, `42["echo","1-x"]`, `43["bcast","1-x"]`} {
		if _, ok := argument([]byte(other), bcastStart); ok {
			t.Errorf("%q matches", other)
		}
	}
}
