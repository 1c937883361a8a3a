package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// heard are the texts that a client was told.
func heard(c *sockeyetest.Client) (texts []string) {
	for _, e := range c.Received() {
		if e.Name == "say" {
			texts = append(texts, fmt.Sprint(e.Args[0].(map[string]any)["text"]))
		}
	}
	return texts
}

func TestMessagesAreSaidOnce(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	newChat(srv.Server).register()
	enter := func(name string) *sockeyetest.Client {
		return srv.Connect(t, sockeyetest.Options{Auth: map[string]string{"name": name, "room": "lobby"}})
	}
	ann, bob := enter("Ann"), enter("Bob")
	if got := ann.Call("say", "hello", "k1"); fmt.Sprint(got) != "[true]" {
		t.Errorf("answered %v", got)
	}
	ann.Disconnect()
	ann = enter("Ann") // who has not heard the answer
	for _, s := range [][2]string{{"hello", "k1"}, {"hello", "k2"}} {
		if got := ann.Call("say", s[0], s[1]); fmt.Sprint(got) != "[true]" {
			t.Errorf("%v: answered %v", s, got)
		}
	}
	if got := heard(bob); fmt.Sprint(got) != "[hello hello]" {
		t.Errorf("Bob heard %q", got)
	}
	for _, s := range [][3]string{
		{" ", "k3", "the message is empty"},
		{"a", "", "the message's key is empty"},
		{"a", strings.Repeat("k", maxKey+1), "the message's key is too long"},
		{strings.Repeat("a", maxText+1), "k4", "the message is too long"},
	} {
		if got, want := fmt.Sprint(ann.Call("say", s[0], s[1])), "[map[error:"+s[2]+"]]"; got != want {
			t.Errorf("answered %s, want %s", got, want)
		}
	}
	if got := heard(bob); got != nil {
		t.Errorf("Bob heard %q", got)
	}
}

func TestNames(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	newChat(srv.Server).register()
	for name, want := range map[string]string{" ": "the name is empty", strings.Repeat("é", maxName+1): "the name is too long"} {
		_, err := srv.Dial(t, sockeyetest.Options{Auth: map[string]string{"name": name}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	ann := srv.Connect(t, sockeyetest.Options{Auth: map[string]string{"name": " Ann ", "room": strings.Repeat("r", maxRoom+1)}})
	if got := ann.Rooms(); fmt.Sprint(got) != "[room:lobby]" {
		t.Errorf("Ann is in %q", got)
	}
}

func TestSaidForgetsTheOldest(t *testing.T) {
	var d said
	key := func(i int) string { return fmt.Sprint("k", i) }
	for i := range 2*maxSaid + 5 {
		if !d.add(key(i)) || d.add(key(i)) {
			t.Fatalf("key %d", i)
		}
	}
	if len(d.known) != maxSaid || len(d.order) != maxSaid {
		t.Errorf("%d known, %d kept", len(d.known), len(d.order))
	}
	if d.add(key(maxSaid + 5)) {
		t.Error("the oldest of those kept was forgotten")
	}
	if !d.add(key(maxSaid + 4)) {
		t.Error("one before those kept is still known")
	}
}

// TestGoneWhileComing: who goes before being let in is in no list.
func TestGoneWhileComing(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	srv.OnConnect(func(s *sockeye.Socket) error {
		s.Disconnect()
		return nil
	})
	c := newChat(srv.Server)
	c.register()
	for _, room := range []string{"lobby", ""} {
		_, _ = srv.Dial(t, sockeyetest.Options{Auth: map[string]string{"name": "Ann", "room": room}})
	}
	if len(c.people) != 0 {
		t.Errorf("%d are listed", len(c.people))
	}
}
