package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/contract"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

func newTestHall(t *testing.T) (*sockeyetest.Server, *hall) {
	t.Helper()
	srv := sockeyetest.NewServer(t, sockeye.Config{CleanupEmptyChildNamespaces: true})
	h := newHall(srv.Server)
	h.register()
	return srv, h
}

// files are what the page is written by, and what a check compares with.
var files = contract.Files{TypeScript: "page/contract.d.ts", AsyncAPI: "contract.json"}

// TestContract holds the files to the handlers.
func TestContract(t *testing.T) {
	srv, _ := newTestHall(t)
	contract.Test(t, srv.Server, files, contract.Options{Title: "Lobby"})
}

// said collects what contract.Test says.
type said struct {
	testing.TB
	texts []string
}

func (s *said) Errorf(format string, args ...any) {
	s.texts = append(s.texts, fmt.Sprintf(format, args...))
}

// TestBreakingChange: a handler whose type has changed is told of, by name.
func TestBreakingChange(t *testing.T) {
	t.Setenv(contract.Folder, "")
	srv, _ := newTestHall(t)
	srv.Parents()[0].Off("move")
	srv.Parents()[0].On("move", func(row, column int) error { return nil })
	srv.Off("create")
	srv.On("create", func(title string) (int, error) { return 0, nil })
	s := said{TB: t}
	contract.Test(&s, srv.Server, files, contract.Options{Title: "Lobby"})
	all := strings.Join(s.texts, "\n")
	for _, want := range []string{
		`it breaks peers: namespace /game-[a-z0-9]+, event "move": argument 2 is new, and must be sent`,
		`it breaks peers: namespace /, event "create": value 1 of its answer was text, and is integer`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s\nhas not %s", all, want)
		}
	}
	if n := strings.Count(all, "breaks"); n != 2 {
		t.Errorf("%d breaks:\n%s", n, all)
	}
	// What it compares with is the committed file.
	b, err := os.ReadFile(files.AsyncAPI)
	if err != nil || !json.Valid(b) {
		t.Error(err)
	}
}

// last is the last of a client's events of a name, as JSON.
func last(c *sockeyetest.Client, name string) (text string) {
	for _, e := range c.Received() {
		if e.Name == name {
			b, _ := json.Marshal(e.Args)
			text = string(b)
		}
	}
	return text
}

// TestGame: two play, one watches, and the loser wants another one. What is emitted is
// compared with what is declared.
func TestGame(t *testing.T) {
	srv, _ := newTestHall(t)
	lobby := srv.Connect(t, sockeyetest.Options{})
	if got := last(lobby, "games"); got != "[[]]" {
		t.Errorf("the lobby has %s", got)
	}
	name := lobby.Call("create", " Friday ")[0].(string)
	enter := func(who string) *sockeyetest.Client {
		return srv.Connect(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": who}})
	}
	ann, bob, cid := enter("Ann"), enter("Bob"), enter("Cid")
	call := func(c *sockeyetest.Client, want, event string, args ...any) {
		t.Helper()
		if got := fmt.Sprint(c.Call(event, args...)); got != want {
			t.Errorf("%s %v: %s, want %s", event, args, got, want)
		}
	}
	call(ann, "[x]", "sit")
	call(ann, "[x]", "sit") // by a double click
	call(ann, "[map[error:nothing is being played]]", "move", 0)
	call(bob, "[o]", "sit")
	call(cid, "[map[error:both seats are taken]]", "sit")
	call(cid, "[map[error:you watch]]", "move", 0)
	call(bob, "[map[error:it is not your turn]]", "move", 0)
	call(ann, "[]", "move", 0)
	call(bob, "[map[error:this cell is not free]]", "move", 0)
	call(bob, "[map[error:this cell is not free]]", "move", 9)
	if got, want := last(lobby, "games"), `[[{"name":"`+name+`","phase":"playing","players":2,"title":"Friday"}]]`; got != want {
		t.Errorf("the lobby has %s, want %s", got, want)
	}
	// Rooms: who plays does not hear who watches.
	call(cid, "[]", "say", "take the middle")
	call(ann, "[]", "say", "good luck")
	if a, b, c := last(ann, "said"), last(bob, "said"), last(cid, "said"); a != b || !strings.Contains(a, "good luck") || !strings.Contains(c, "take the middle") {
		t.Errorf("%s, %s, %s", a, b, c)
	}
	for _, m := range []struct {
		c    *sockeyetest.Client
		cell int
	}{{bob, 3}, {ann, 1}, {bob, 4}, {ann, 2}} {
		call(m.c, "[]", "move", m.cell)
	}
	want := `[{"board":["x","x","x","o","o","","","",""],"phase":"over","seats":[{"mark":"x","name":"Ann"},{"mark":"o","name":"Bob"}],"title":"Friday","turn":"o","watches":1,"winner":"x"}]`
	if got := last(cid, "state"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	call(cid, "[map[error:there is no game to repeat]]", "again")
	ann.Answer(func(e sockeyetest.Event) []any { return []any{fmt.Sprint(e.Name, e.Args) == "again?[Bob]"} })
	call(bob, "[true]", "again")
	call(bob, "[]", "move", 8) // who was second begins
	ann.Disconnect()
	if got := last(bob, "state"); !strings.Contains(got, `"phase":"waiting"`) {
		t.Errorf("%s", got)
	}
	bob.Disconnect()
	cid.Disconnect()
	if got := last(lobby, "games"); got != "[[]]" {
		t.Errorf("the lobby has %s", got)
	}
	if _, err := srv.Dial(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Dot"}}); err == nil || !strings.Contains(err.Error(), "there is no such game") {
		t.Error(err)
	}
}

// TestRefused: what people may do is bounded.
func TestRefused(t *testing.T) {
	srv, _ := newTestHall(t)
	lobby := srv.Connect(t, sockeyetest.Options{})
	for title, want := range map[string]string{" ": "the title is empty", strings.Repeat("é", maxTitle+1): "the title is too long"} {
		if got := fmt.Sprint(lobby.Call("create", title)); got != "[map[error:"+want+"]]" {
			t.Errorf("%q: %s", title, got)
		}
	}
	name := ""
	for i := range maxGames {
		name = lobby.Call("create", fmt.Sprint(i))[0].(string)
	}
	c := srv.Connect(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Ann"}})
	lobby.Call("create", "one more") // the empty ones give way
	if got := last(lobby, "games"); strings.Count(got, "title") != 2 {
		t.Errorf("%s", got)
	}
	if !c.Connected() {
		t.Error("Ann's game has gone")
	}
	if _, err := srv.Dial(t, sockeyetest.Options{Namespace: name}); err == nil || !strings.Contains(err.Error(), "your name is empty") {
		t.Error(err)
	}
}

// TestGoneWhileComing: who goes before it has been told that it is in is not counted out.
func TestGoneWhileComing(t *testing.T) {
	srv, h := newTestHall(t)
	name := srv.Connect(t, sockeyetest.Options{}).Call("create", "Friday")[0].(string)
	ann := srv.Connect(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Ann"}})
	remove := h.playing.OnConnect(func(s *sockeye.Socket) error {
		s.Disconnect()
		return nil
	})
	for range 2 {
		_, _ = srv.Dial(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Eve"}})
	}
	remove()
	bob := srv.Connect(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Bob"}})
	if got := last(bob, "state"); !strings.Contains(got, `"watches":2`) {
		t.Errorf("two are there: %s", got)
	}
	ann.Disconnect()
	if len(h.list()) != 1 {
		t.Error("Bob's game has gone")
	}
}

// TestRefusalsAreQuiet: what is refused is told to nobody else, however often it is tried.
func TestRefusalsAreQuiet(t *testing.T) {
	srv, _ := newTestHall(t)
	lobby := srv.Connect(t, sockeyetest.Options{})
	name := lobby.Call("create", "Friday")[0].(string)
	enter := func(who string) *sockeyetest.Client {
		return srv.Connect(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": who}})
	}
	ann, bob, eve := enter("Ann"), enter("Bob"), enter("Eve")
	ann.Call("sit")
	bob.Call("sit")
	for _, c := range []*sockeyetest.Client{lobby, ann} {
		c.Received()
	}
	for _, event := range []string{"sit", "again"} {
		eve.Call(event)
	}
	eve.Call("move", 0)
	eve.Call("say", "")
	if a, l := ann.Received(), lobby.Received(); len(a)+len(l) != 0 {
		t.Errorf("the player hears %v, the lobby %v", a, l)
	}
}

// TestBothAsk: two that ask each other get one game.
func TestBothAsk(t *testing.T) {
	g := &game{turn: cross, first: cross, ended: true, seats: [2]seat{{id: "a"}, {id: "b"}}}
	for _, ids := range [][2]string{{"a", "b"}, {"b", "a"}} {
		if err := g.restart(ids[0], ids[1]); err != nil || g.phase() != playing || g.turn != ring {
			t.Errorf("%v: %v, %s, %s begins", ids, err, g.phase(), g.turn)
		}
	}
	g.ended = true
	if err := g.restart("a", "c"); err == nil || g.phase() != over {
		t.Errorf("with somebody else: %v", err)
	}
}

// TestLastOneLeaves: who comes when the last one goes is not left in a game that the lobby
// does not have.
func TestLastOneLeaves(t *testing.T) {
	srv, h := newTestHall(t)
	name := srv.Connect(t, sockeyetest.Options{}).Call("create", "Friday")[0].(string)
	ann := srv.Connect(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Ann"}})
	remove := h.playing.Use(func(*sockeye.Socket) error { // after enter: the game was there
		ann.Socket().Disconnect()
		for len(h.list()) > 0 {
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	bob, err := srv.Dial(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Bob"}})
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if bob.Connected() {
		t.Error("Bob is in a game that is not there")
	}
}

// TestNoGames: names that peers make up leave nothing behind.
func TestNoGames(t *testing.T) {
	srv, h := newTestHall(t)
	for i := range 50 {
		if _, err := srv.Dial(t, sockeyetest.Options{Namespace: fmt.Sprintf("/game-%d", i), Auth: map[string]string{"name": "Eve"}}); err == nil {
			t.Fatal("it is let in")
		}
	}
	name := srv.Connect(t, sockeyetest.Options{}).Call("create", "Friday")[0].(string)
	srv.Connect(t, sockeyetest.Options{Namespace: name, Auth: map[string]string{"name": "Ann"}}).Disconnect()
	if n, games := len(srv.Namespaces()), len(h.list()); n != 1 || games != 0 {
		t.Errorf("%d namespaces and %d games are left", n, games)
	}
}
