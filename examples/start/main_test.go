package main

import (
	"cmp"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
)

// TestChat runs against this server, or against another one at START_URL: app.py and
// server.js do the same.
func TestChat(t *testing.T) {
	srv, err := newChat()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := cmp.Or(os.Getenv("START_URL"), "http://"+addr.String())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := client.Dial(ctx, url, client.Config{}); err == nil || !strings.Contains(err.Error(), "what is your name?") {
		t.Errorf("without a name: %v", err)
	}
	said := make(chan message, 2)
	var clients []*client.Client
	for i, name := range []string{"ann", "bob"} {
		c, err := client.Dial(ctx, url, client.Config{Auth: map[string]string{"name": name}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.On("say", func(e *client.Event) {
			var m message
			if err := e.Decode(&m); err != nil {
				t.Error(err)
			}
			said <- m
		})
		answer, err := c.Call(ctx, "join", "lobby")
		var there int
		if err != nil || answer.Decode(&there) != nil || there != i+1 {
			t.Errorf("join: %v, %d are there", err, there)
		}
		clients = append(clients, c)
	}
	if err := clients[0].Emit("say", "lobby", "hello"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case m := <-said:
			if m != (message{"ann", "hello"}) {
				t.Errorf("%+v was said", m)
			}
		case <-ctx.Done():
			t.Fatal("not everybody hears it")
		}
	}
}
