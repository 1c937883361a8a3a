package main

import (
	"sync"

	"github.com/sockeye-io/sockeye"
)

// phase is what a game is at.
type phase string

const (
	waiting phase = "waiting" // for players
	playing phase = "playing"
	over    phase = "over"
)

// mark is what is in a cell, and who sits where.
type mark string

const (
	empty mark = ""
	cross mark = "x"
	ring  mark = "o"
)

func (m mark) other() mark {
	if m == cross {
		return ring
	}
	return cross
}

// seat is who has a mark. There are two.
type seat struct {
	Mark mark   `json:"mark"`
	Name string `json:"name,omitempty"` // nobody sits there without
	id   string // of the socket
}

// state is a game as all in its namespace see it.
type state struct {
	Title   string  `json:"title"`
	Phase   phase   `json:"phase"`
	Board   [9]mark `json:"board"`
	Seats   [2]seat `json:"seats"`
	Turn    mark    `json:"turn"`
	Winner  *mark   `json:"winner"` // null: nobody, yet or at all
	Watches int     `json:"watches"`
}

// game is one.
type game struct {
	// Immutable.
	name, title string

	// Guarded by mu.
	mu    sync.Mutex
	board [9]mark
	seats [2]seat // of cross and of ring
	turn  mark
	first mark // who begins
	ended bool
	won   *mark
	here  int // sockets
}

// change does something, and tells everybody in the game: in the order of what was done,
// so while mu is held.
func (g *game) change(ns *sockeye.Namespace, f func(g *game) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := f(g); err != nil {
		return err
	}
	return ns.Emit("state", g.state())
}

func (g *game) state() state {
	s := state{Title: g.title, Phase: g.phase(), Board: g.board, Seats: g.seats, Turn: g.turn, Winner: g.won, Watches: g.here}
	s.Seats[0].Mark, s.Seats[1].Mark = cross, ring
	for _, seat := range g.seats {
		if seat.id != "" {
			s.Watches--
		}
	}
	return s
}

func (g *game) phase() phase {
	switch {
	case g.ended:
		return over
	case g.seats[0].id == "" || g.seats[1].id == "":
		return waiting
	}
	return playing
}

func (g *game) listing() listing {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := listing{Name: g.name, Title: g.title, Phase: g.phase()}
	for _, seat := range g.seats {
		if seat.id != "" {
			l.Players++
		}
	}
	return l
}

func (g *game) people() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.here
}

// markOf is that of a player; empty for who watches. mu is held.
func (g *game) markOf(id string) mark {
	switch id {
	case g.seats[0].id:
		return cross
	case g.seats[1].id:
		return ring
	}
	return empty
}

// sit gives a seat, or tells which it is.
func (g *game) sit(id, name string) (mark, error) {
	if m := g.markOf(id); m != empty {
		return m, nil
	}
	for i, m := range []mark{cross, ring} {
		if g.seats[i].id == "" {
			g.seats[i] = seat{Name: name, id: id}
			if g.turn == empty {
				g.turn, g.first = cross, cross
			}
			return m, nil
		}
	}
	return empty, &sockeye.AckError{Message: "both seats are taken"}
}

// stand frees a player's seat, which ends the game that was played.
func (g *game) stand(id string) {
	switch g.markOf(id) {
	case cross:
		g.seats[0] = seat{}
	case ring:
		g.seats[1] = seat{}
	default:
		return
	}
	g.clear(cross)
}

func (g *game) clear(first mark) {
	g.board, g.ended, g.won, g.turn, g.first = [9]mark{}, false, nil, first, first
}

var lines = [][3]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}}

func (g *game) move(id string, cell int) error {
	m := g.markOf(id)
	switch {
	case m == empty:
		return &sockeye.AckError{Message: "you watch"}
	case g.phase() != playing:
		return &sockeye.AckError{Message: "nothing is being played"}
	case m != g.turn:
		return &sockeye.AckError{Message: "it is not your turn"}
	case cell < 0 || cell >= len(g.board) || g.board[cell] != empty:
		return &sockeye.AckError{Message: "this cell is not free"}
	}
	g.board[cell], g.turn = m, m.other()
	full := true
	for _, c := range g.board {
		full = full && c != empty
	}
	for _, l := range lines {
		if g.board[l[0]] == m && g.board[l[1]] == m && g.board[l[2]] == m {
			g.ended, g.won = true, &m
		}
	}
	g.ended = g.ended || full
	return nil
}

// opponent is the other player, when a game is over.
func (g *game) opponent(id string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m := g.markOf(id); {
	case m == empty || g.phase() != over:
		return "", &sockeye.AckError{Message: "there is no game to repeat"}
	case m == cross:
		return g.seats[1].id, nil
	}
	return g.seats[0].id, nil
}

// restart begins another game of two, with who was second in the last one. It has been begun
// if each has asked the other.
func (g *game) restart(id, other string) error {
	switch {
	case g.markOf(id) == empty || g.markOf(other) == empty:
		return &sockeye.AckError{Message: "there is no game to repeat"}
	case g.phase() == over:
		g.clear(g.first.other())
	}
	return nil
}
