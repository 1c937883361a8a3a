package main

import (
	"context"
	"crypto/rand"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye"
)

// What people may do is bounded.
const (
	maxGames = 100
	maxTitle = 24 // characters
	maxText  = 200
	askFor   = 30 * time.Second
)

// hall has the games. The default namespace is the lobby, in which they are listed and
// made; the namespace of each is its name.
type hall struct {
	srv     *sockeye.Server
	playing *sockeye.ParentNamespace

	mu    sync.Mutex
	games map[string]*game // by the namespace's name
	order []*game
}

func newHall(srv *sockeye.Server) *hall {
	return &hall{srv: srv, playing: srv.OfPattern(regexp.MustCompile(`/game-[a-z0-9]+`)), games: map[string]*game{}}
}

// register says what peers may send, and what they get: the contract is made of it.
func (h *hall) register() {
	h.srv.OnConnection(func(s *sockeye.Socket) { _ = s.Emit("games", h.list()) })
	h.srv.On("create", h.create)
	sockeye.Emits[[]listing](h.srv, "games")

	h.playing.Use(h.enter)
	h.playing.OnConnection(h.entered)
	h.playing.OnDisconnect(h.left)
	h.playing.On("sit", h.sit)
	h.playing.On("move", h.move)
	h.playing.On("again", h.again)
	h.playing.On("say", h.say)
	sockeye.Emits[state](h.playing, "state")
	sockeye.Emits[remark](h.playing, "said")
	sockeye.Emits[func(by string) (yes bool)](h.playing, "again?")
}

// listing is a game in the lobby.
type listing struct {
	Name    string `json:"name"` // of its namespace
	Title   string `json:"title"`
	Phase   phase  `json:"phase"`
	Players int    `json:"players"`
}

// remark is what somebody has said: players hear players, and those who watch each other.
type remark struct {
	By   string `json:"by"`
	Text string `json:"text"`
}

// list is what the lobby shows.
func (h *hall) list() []listing {
	h.mu.Lock()
	order := slices.Clone(h.order)
	h.mu.Unlock()
	all := []listing{}
	for _, g := range order {
		all = append(all, g.listing())
	}
	return all
}

func (h *hall) show() { _ = h.srv.Emit("games", h.list()) }

// create makes a game, and answers the name of its namespace.
func (h *hall) create(title string) (string, error) {
	title, err := clean(title, "the title", maxTitle)
	if err != nil {
		return "", err
	}
	g := &game{name: "/game-" + strings.ToLower(rand.Text()[:10]), title: title}
	h.mu.Lock()
	if len(h.order) >= maxGames { // those that nobody has come to are in the way
		h.forgetOnesLocked(func(old *game) bool { return old.people() == 0 })
	}
	full := len(h.order) >= maxGames
	if !full {
		h.games[g.name] = g
		h.order = append(h.order, g)
	}
	h.mu.Unlock()
	if full {
		return "", &sockeye.AckError{Message: "there are too many games"}
	}
	h.show()
	return g.name, nil
}

// forgetOnesLocked forgets games. mu is held.
func (h *hall) forgetOnesLocked(which func(g *game) bool) {
	h.order = slices.DeleteFunc(h.order, func(g *game) bool {
		if !which(g) {
			return false
		}
		delete(h.games, g.name)
		return true
	})
}

// person is who a socket of a game is.
type person struct {
	name string
	g    *game
	here bool // guarded by g.mu: it is counted
}

func of(s *sockeye.Socket) *person { return s.Data().(*person) }

// enter refuses those whose game there is not.
func (h *hall) enter(s *sockeye.Socket) error {
	var auth struct {
		Name string `json:"name"`
	}
	if err := s.Auth(&auth); err != nil {
		return err
	}
	name, err := clean(auth.Name, "your name", maxTitle)
	if err != nil {
		return &sockeye.ConnectError{Message: err.Error()}
	}
	h.mu.Lock()
	g := h.games[s.Namespace().Name()]
	h.mu.Unlock()
	if g == nil {
		return &sockeye.ConnectError{Message: "there is no such game"}
	}
	s.SetData(&person{name: name, g: g})
	return s.Join("watching")
}

func (h *hall) entered(s *sockeye.Socket) {
	p := of(s)
	g := p.g
	_ = g.change(s.Namespace(), func(g *game) error {
		g.here++
		p.here = true
		return nil
	})
	h.mu.Lock()
	there := h.games[g.name] == g
	h.mu.Unlock()
	if !there { // the last one has left it since enter
		s.Disconnect()
	}
}

func (h *hall) left(s *sockeye.Socket, _ sockeye.Reason) {
	p := of(s)
	g := p.g
	_ = g.change(s.Namespace(), func(g *game) error {
		if p.here { // or it has gone before it was told that it is in
			g.here--
		}
		g.stand(s.ID())
		return nil
	})
	h.mu.Lock()
	h.forgetOnesLocked(func(x *game) bool { return x == g && g.people() <= 0 })
	h.mu.Unlock()
	h.show()
}

// sit takes a seat, and answers which.
func (h *hall) sit(s *sockeye.Socket) (m mark, err error) {
	p := of(s)
	err = p.g.change(s.Namespace(), func(g *game) error {
		m, err = g.sit(s.ID(), p.name)
		return err
	})
	if err != nil {
		return m, err
	}
	s.Leave("watching")
	h.show()
	return m, s.Join("playing")
}

func (h *hall) move(s *sockeye.Socket, cell int) error {
	ended := false
	err := of(s).g.change(s.Namespace(), func(g *game) error {
		err := g.move(s.ID(), cell)
		ended = g.ended
		return err
	})
	if err == nil && ended {
		h.show()
	}
	return err
}

// again asks the other player for another game, and answers whether there is one.
func (h *hall) again(ctx context.Context, s *sockeye.Socket) (bool, error) {
	p := of(s)
	other, err := p.g.opponent(s.ID())
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	peer := s.Namespace().Socket(other)
	if peer == nil {
		return false, nil
	}
	answer, err := peer.Call(ctx, "again?", p.name)
	yes := false
	if err == nil {
		err = answer.Decode(&yes)
	}
	if err != nil || !yes { // gone, or silent, is a no
		return false, nil //nolint:nilerr // as above
	}
	err = p.g.change(s.Namespace(), func(g *game) error { return g.restart(s.ID(), other) })
	if err == nil {
		h.show()
	}
	return err == nil, err
}

// say is heard by those who play if one of them says it, or by those who watch.
func (h *hall) say(s *sockeye.Socket, text string) error {
	text, err := clean(text, "the text", maxText)
	if err != nil {
		return err
	}
	room := "watching"
	if slices.Contains(s.Rooms(), "playing") {
		room = "playing"
	}
	return s.Namespace().To(room).Emit("said", remark{of(s).name, text})
}

// clean trims a text of the peer's and checks its length. Its error is for the peer.
func clean(text, what string, limit int) (string, error) {
	text = strings.TrimSpace(text)
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return "", &sockeye.AckError{Message: what + " is empty"}
	case n > limit:
		return "", &sockeye.AckError{Message: what + " is too long"}
	}
	return text, nil
}
