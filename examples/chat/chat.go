package main

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye"
)

// What people may do is bounded: what they send is shown to others.
const (
	maxName  = 24 // characters
	maxRoom  = 24
	maxText  = 1000
	maxRooms = 50
	maxShown = 200 // people listed in a room
	maxKey   = 64
	maxSaid  = 10000 // messages whose keys are known
)

// chat is who is where. Rooms themselves, and who gets what, are Sockeye's.
type chat struct {
	srv *sockeye.Server

	mu     sync.Mutex
	people map[string]*person // by socket ID
	said   said
}

// person is one socket.
type person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	room string
}

// message is what the page shows. Its key is the writer's page's choice: a page
// whose connection was lost before the answer came sends the message again, with
// the same key.
type message struct {
	Key  string    `json:"key"`
	ID   string    `json:"id"`
	Name string    `json:"name"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

func newChat(srv *sockeye.Server) *chat {
	return &chat{srv: srv, people: map[string]*person{}}
}

func (c *chat) register() {
	c.srv.OnConnect(c.connect)
	c.srv.OnDisconnect(c.disconnect)
	c.srv.On("join", c.join)
	c.srv.On("say", c.say)
	c.srv.On("typing", c.typing)
	c.srv.On("rename", c.rename)
	c.srv.On("time", func(*sockeye.Socket) int64 { return time.Now().UnixMilli() })
}

// clean trims a text of the peer's and checks its length. Its error is for the
// peer, as only the text of an AckError is.
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

// connect lets a socket in under the name of its auth object.
func (c *chat) connect(s *sockeye.Socket) error {
	var auth struct{ Name, Room string }
	if err := s.Auth(&auth); err != nil {
		return err
	}
	name, err := clean(auth.Name, "the name", maxName)
	if err != nil {
		return &sockeye.ConnectError{Message: err.Error()}
	}
	c.mu.Lock()
	c.people[s.ID()] = &person{ID: s.ID(), Name: name}
	c.mu.Unlock()
	if _, err = c.join(s, auth.Room); err != nil {
		_, err = c.join(s, "lobby")
	}
	if err != nil { // it has gone: disconnect is for those that were let in
		c.disconnect(s, "")
	}
	return err
}

func (c *chat) disconnect(s *sockeye.Socket, _ sockeye.Reason) {
	c.mu.Lock()
	p := c.people[s.ID()]
	delete(c.people, s.ID())
	c.mu.Unlock()
	if p != nil {
		c.showPeople(p.room)
		c.showRooms()
	}
}

// join moves a socket to a room and returns the room's name.
func (c *chat) join(s *sockeye.Socket, room string) (string, error) {
	room, err := clean(room, "the room's name", maxRoom)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	rooms := c.counts()
	if _, there := rooms[room]; !there && len(rooms) >= maxRooms {
		c.mu.Unlock()
		return "", &sockeye.AckError{Message: "there are too many rooms"}
	}
	p := c.people[s.ID()]
	if p == nil {
		c.mu.Unlock()
		return "", sockeye.ErrDisconnected
	}
	old := p.room
	p.room = room
	c.mu.Unlock()
	if old == room {
		return room, nil
	}
	if old != "" {
		s.Leave("room:" + old)
		c.showPeople(old)
	}
	if err := s.Join("room:" + room); err != nil {
		return "", err
	}
	c.showPeople(room)
	c.showRooms()
	return room, nil
}

// say sends a text to everybody in the socket's room, unless its key says that
// this was done before.
func (c *chat) say(s *sockeye.Socket, text, key string) (bool, error) {
	text, err := clean(text, "the message", maxText)
	if err != nil {
		return false, err
	}
	key, err = clean(key, "the message's key", maxKey)
	if err != nil {
		return false, err
	}
	p, ok := c.person(s)
	if !ok {
		return false, sockeye.ErrDisconnected
	}
	c.mu.Lock()
	fresh := c.said.add(key)
	c.mu.Unlock()
	if !fresh {
		return true, nil
	}
	return true, c.srv.To("room:"+p.room).Emit("say", message{key, p.ID, p.Name, text, time.Now()})
}

// said is the keys of the last messages.
type said struct {
	known map[string]bool
	order []string // a ring
	next  int
}

// add tells whether a key is new, and keeps it.
func (d *said) add(key string) bool {
	if d.known[key] {
		return false
	}
	if d.known == nil {
		d.known = map[string]bool{}
	}
	d.known[key] = true
	if len(d.order) < maxSaid {
		d.order = append(d.order, key)
		return true
	}
	delete(d.known, d.order[d.next])
	d.order[d.next] = key
	d.next = (d.next + 1) % maxSaid
	return true
}

// typing tells the others of the room; it may be lost.
func (c *chat) typing(s *sockeye.Socket, on bool) error {
	p, ok := c.person(s)
	if !ok {
		return nil
	}
	return s.To("room:"+p.room).Volatile().Emit("typing", p, on)
}

func (c *chat) rename(s *sockeye.Socket, name string) (string, error) {
	name, err := clean(name, "the name", maxName)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	p := c.people[s.ID()]
	if p == nil {
		c.mu.Unlock()
		return "", sockeye.ErrDisconnected
	}
	p.Name = name
	room := p.room
	c.mu.Unlock()
	c.showPeople(room)
	return name, nil
}

func (c *chat) person(s *sockeye.Socket) (person, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.people[s.ID()]
	if p == nil {
		return person{}, false
	}
	return *p, true
}

// showPeople tells a room who is in it.
func (c *chat) showPeople(room string) {
	c.mu.Lock()
	here := []person{}
	for _, p := range c.people {
		if p.room == room {
			here = append(here, *p)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(here, func(a, b person) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	_ = c.srv.To("room:"+room).Emit("people", here[:min(len(here), maxShown)], len(here))
}

// showRooms tells everybody which rooms there are, and how many are online.
func (c *chat) showRooms() {
	type room struct {
		Name   string `json:"name"`
		People int    `json:"people"`
	}
	c.mu.Lock()
	counts := c.counts()
	online := len(c.people)
	c.mu.Unlock()
	rooms := []room{}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		rooms = append(rooms, room{name, counts[name]})
	}
	_ = c.srv.Emit("rooms", rooms, online)
}

// counts is how many are in each room; some are always there. c.mu is held.
func (c *chat) counts() map[string]int {
	n := map[string]int{"lobby": 0, "gophers": 0, "random": 0}
	for _, p := range c.people {
		if p.room != "" {
			n[p.room]++
		}
	}
	return n
}
