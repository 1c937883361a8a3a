package main

import (
	"sync"
	"time"

	"github.com/sockeye-io/sockeye"
)

// visit is who a socket is of, and for how long.
type visit struct {
	// Immutable.
	name string

	// Guarded by mu.
	mu    sync.Mutex
	until time.Time
	end   *time.Timer
	over  bool
}

// register lets sockets in by their JWT, and has them go when it expires.
func (g *guard) register(srv *sockeye.Server) {
	srv.Use(g.enter)
	srv.OnConnection(stay)
	srv.OnDisconnect(func(s *sockeye.Socket, _ sockeye.Reason) { s.Data().(*visit).stop() })
	srv.On("renew", g.renew)
	srv.On("who am I", func(s *sockeye.Socket) string { return s.Data().(*visit).name })
}

func (g *guard) enter(s *sockeye.Socket) error {
	var auth struct {
		Token string `json:"token"`
	}
	_ = s.Auth(&auth) // without one the token is not valid
	name, until, err := g.check(auth.Token)
	if err != nil {
		return &sockeye.ConnectError{Message: err.Error(), Data: map[string]bool{"expired": err == errExpired}}
	}
	s.SetData(&visit{name: name, until: until})
	return nil
}

// stay arms the end.
func stay(s *sockeye.Socket) {
	v := s.Data().(*visit)
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.over { // it has gone meanwhile
		v.end = time.AfterFunc(time.Until(v.until), func() { v.expire(s) })
	}
}

// expire ends the connection, if it has not been renewed.
func (v *visit) expire(s *sockeye.Socket) {
	v.mu.Lock()
	left := time.Until(v.until)
	switch {
	case left <= 0:
		v.over = true // who renews now is too late
	case !v.over:
		v.end.Reset(left)
	}
	v.mu.Unlock()
	if left > 0 {
		return
	}
	_ = s.Emit("expired") // it may have gone
	s.Disconnect()
}

func (v *visit) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	if v.end != nil {
		v.end.Stop()
	}
}

// renew has a connection go on by the next JWT, of the same person.
func (g *guard) renew(s *sockeye.Socket, text string) error {
	name, until, err := g.check(text)
	v := s.Data().(*visit)
	switch {
	case err != nil:
		return &sockeye.AckError{Message: err.Error()}
	case name != v.name:
		return &sockeye.AckError{Message: "the token is somebody else's"}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return &sockeye.AckError{Message: errExpired.Error()}
	}
	v.until = until // the timer looks at it
	return nil
}
