package main

import (
	"strings"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye"
)

const (
	maxName = 24 // characters

	// Each message goes to everybody: who sends more than pages do is disconnected.
	maxPerSecond = 100
)

// cursor is a pointer on the pages of others. Its place is a share of the board's size.
type cursor struct {
	ID   string  `json:"id"`
	Name string  `json:"name"`
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
}

// register says what peers may send.
func register(srv *sockeye.Server) {
	srv.On("move", move)
	srv.On("mark", mark)
	srv.OnDisconnect(func(s *sockeye.Socket, _ sockeye.Reason) { _ = s.Broadcast().Emit("gone", s.ID()) })
}

// at makes the cursor of a socket.
func at(s *sockeye.Socket, x, y float64) (cursor, error) {
	var auth struct {
		Name string `json:"name"`
	}
	_ = s.Auth(&auth) // without it nobody has a name
	name := strings.TrimSpace(auth.Name)
	switch {
	case !(0 <= x && x <= 1 && 0 <= y && y <= 1): // NaN, too
		return cursor{}, &sockeye.AckError{Message: "this is not on the board"}
	case utf8.RuneCountInString(name) > maxName:
		return cursor{}, &sockeye.AckError{Message: "the name is too long"}
	case name == "":
		name = "somebody"
	}
	return cursor{ID: s.ID(), Name: name, X: x, Y: y}, nil
}

// move shows the others where somebody is now. What is older is worth nothing.
func move(s *sockeye.Socket, x, y float64) error {
	c, err := at(s, x, y)
	if err != nil {
		return err
	}
	return s.Broadcast().Volatile().Emit("moved", c)
}

// mark shows all that somebody points at something; it must not get lost.
func mark(s *sockeye.Socket, x, y float64) error {
	c, err := at(s, x, y)
	if err != nil {
		return err
	}
	return s.Server().Emit("marked", c)
}
