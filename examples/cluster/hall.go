package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye"
)

// What people may do is bounded: what they send is shown to others.
const (
	maxName  = 24 // characters
	maxText  = 1000
	maxKey   = 64
	maxShown = 200 // people

	lookEvery = time.Second            // at the other processes
	lookSoon  = 100 * time.Millisecond // when somebody has come or gone
	keyTime   = time.Minute            // in which a page may send its message again
	room      = "hall"
)

// hall is the one room, in one of the processes.
type hall struct {
	srv     *sockeye.Server
	redis   *redis.Client
	self    process
	people  *sockeye.Presence
	changed chan struct{} // somebody has come or gone; has space for one
}

// process is what the page shows of one.
type process struct {
	Host      string    `json:"host"`
	Number    int       `json:"number"`
	PID       int       `json:"pid"`
	Began     time.Time `json:"began"`
	Sockets   int       `json:"sockets"`
	Forwarded uint64    `json:"forwarded"` // requests that it has passed on
}

// person is who is there, on any process.
type person struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Host   string `json:"host"`
	Number int    `json:"number"`
	PID    int    `json:"pid"`
}

// message is what somebody says. Its key is the page's choice: a page whose connection
// was lost before the answer came sends the message again, with the same key.
type message struct {
	Key string `json:"key"`
	person
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

func newHall(srv *sockeye.Server, client *redis.Client, self process) *hall {
	h := &hall{srv: srv, redis: client, self: self, changed: make(chan struct{}, 1)}
	srv.PresenceInfo(func(s *sockeye.Socket) any { return h.person(s) })
	h.people = srv.Presence(room, func(sockeye.PresenceEvent) { h.look() })
	srv.OnServerSide("process", func(e *sockeye.ServerEvent) { _ = e.Ack(h.now()) })
	srv.OnConnect(h.connect)
	srv.On("say", h.say)
	return h
}

// clean trims a text of a page's and checks its length.
func clean(text, what string, limit int) (string, error) {
	text = strings.TrimSpace(text)
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return "", fmt.Errorf("%s is empty", what)
	case n > limit:
		return "", fmt.Errorf("%s is too long", what)
	}
	return text, nil
}

func (h *hall) connect(s *sockeye.Socket) error {
	var auth struct{ Name string }
	if err := s.Auth(&auth); err != nil {
		return err
	}
	name, err := clean(auth.Name, "the name", maxName)
	if err != nil {
		return &sockeye.ConnectError{Message: err.Error()}
	}
	s.SetData(name)
	if err := s.Join(room); err != nil {
		return err
	}
	h.look()
	return nil
}

func (h *hall) person(s *sockeye.Socket) person {
	name, _ := s.Data().(string)
	return person{s.ID(), name, h.self.Host, h.self.Number, h.self.PID}
}

// say tells everybody, once: whether a message was said before is known to Redis, for its
// page may have come back to another process.
func (h *hall) say(s *sockeye.Socket, text, key string) (bool, error) {
	text, err := clean(text, "the message", maxText)
	if err != nil {
		return false, &sockeye.AckError{Message: err.Error()}
	}
	key, err = clean(key, "the message's key", maxKey)
	if err != nil {
		return false, &sockeye.AckError{Message: err.Error()}
	}
	fresh, err := h.redis.SetNX(s.Context(), "said:"+key, h.self.PID, keyTime).Result()
	if err != nil {
		return false, &sockeye.AckError{Message: "Redis cannot be reached"}
	}
	if fresh {
		return true, h.srv.To(room).Emit("say", message{key, h.person(s), text, time.Now()})
	}
	return true, nil
}

func (h *hall) now() process {
	p := h.self
	p.Sockets, p.Forwarded = h.srv.Len(), h.srv.Stats().Net.Forwarded
	return p
}

func (h *hall) look() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// run tells this process's pages which processes there are, and who is there, until ctx
// is done.
func (h *hall) run(ctx context.Context) {
	defer h.people.Close()
	t := time.NewTimer(0)
	defer t.Stop()
	var told []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.changed:
			told = nil // who has just come knows nothing
			t.Reset(lookSoon)
			continue
		case <-t.C:
			t.Reset(lookEvery)
		}
		if h.srv.Len() == 0 {
			continue
		}
		view := h.view(ctx)
		if b, err := json.Marshal(view); err == nil && !bytes.Equal(b, told) {
			_ = h.srv.Local().Emit("cluster", view)
			told = b
		}
	}
}

// view is what the page shows.
type view struct {
	Processes []process `json:"processes"`
	People    []person  `json:"people"`
	Online    int       `json:"online"`
}

func (h *hall) view(ctx context.Context) view {
	v := view{Processes: []process{h.now()}, People: []person{}}
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	answers, _ := h.srv.CallServers(ctx, "process") // of those that answer
	for _, a := range answers {
		var p process
		if a.Decode(&p) == nil {
			v.Processes = append(v.Processes, p)
		}
	}
	slices.SortFunc(v.Processes, func(a, b process) int {
		return strings.Compare(fmt.Sprintf("%s %05d", a.Host, a.Number), fmt.Sprintf("%s %05d", b.Host, b.Number))
	})
	for _, m := range h.people.Members() {
		var p person
		if json.Unmarshal(m.Info, &p) == nil {
			v.People = append(v.People, p)
		}
	}
	slices.SortFunc(v.People, func(a, b person) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	v.Online = len(v.People)
	v.People = v.People[:min(v.Online, maxShown)]
	return v
}
