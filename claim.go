package sockeye

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/netpoll"
)

// claims are the keys that sockets of a namespace have claimed on this server.
//
// Each claim has a time, and the greater (time, ID) wins, on every server and however late
// it is heard of. A server's time is never behind what it has heard: so whoever claims after
// all have heard of another claim has a greater one, whatever the servers' clocks say.
type claims struct {
	// Guarded by mu.
	mu    sync.Mutex
	clock int64             // the greatest time of a claim that is known
	byKey map[string]*claim // nil for none
}

// claim is one socket's.
type claim struct {
	s      *Socket
	at     int64 // ns since 1970, or later
	beaten bool  // another has won
}

// before tells whether the claim loses against another.
func (c *claim) before(at int64, id string) bool {
	return c.at < at || c.at == at && c.s.ID() < id
}

// ErrReplaced: another socket has claimed the key meanwhile, and this one is disconnected.
var ErrReplaced = errors.New("sockeye: another socket has claimed the key")

const claimEvent = internalPrefix + "claim"

// Claim makes the socket the one that holds key in its namespace, on all servers: whichever
// held it is disconnected, with Replaced for its reason. With a user's name for the key the
// newest socket of a user replaces the older one; with a user's name and a device, that of
// the device. A socket may claim several keys; it holds them until it is disconnected.
//
// Claim waits until the other servers have given the key up, or ctx is done. Its error is
// then, or when they cannot be reached, a *MissingError, ErrUnavailable, or ctx's: the
// socket holds the key on this server and those that have answered, and an older one may
// live elsewhere; Claim may be called again. It is ErrReplaced when a newer claim came
// meanwhile, ErrDisconnected, or, on an event loop, ErrWouldBlock if there are other
// servers.
func (s *Socket) Claim(ctx context.Context, key string) error {
	ns := s.ns
	if ns.remote != nil && netpoll.OnLoop() {
		return ErrWouldBlock
	}
	c := &claim{s: s}
	if err := ns.claims.take(key, c); err != nil {
		return err
	}
	if ns.remote == nil {
		return nil
	}
	p, err := ns.srv.payload(claimEvent, []any{key, c.at, s.ID()})
	if err != nil {
		return err
	}
	answers, err := ns.remote.CallServers(ctx, p)
	for _, a := range answers {
		if string(a.JSON) == `["newer"]` {
			ns.claims.lose(key, c)
		}
	}
	return errors.Join(ns.claims.result(c), ns.closedErr(err))
}

// take gives key to c, whose time is now, and disconnects who held it.
func (t *claims) take(key string, c *claim) error {
	t.mu.Lock()
	if !c.s.life.state().sends() { // it beats nobody: who has the key may be its successor
		t.mu.Unlock()
		return ErrDisconnected
	}
	t.clock = max(t.clock+1, time.Now().UnixNano())
	c.at = t.clock
	old := t.byKey[key]
	if t.byKey == nil {
		t.byKey = map[string]*claim{}
	}
	t.byKey[key] = c
	t.mu.Unlock()
	if old != nil && old.s != c.s {
		t.beat(old, key)
	}
	s := c.s
	s.mu.Lock()
	if x := s.extra(); !slices.Contains(x.claims, key) {
		x.claims = append(x.claims, key)
	}
	s.mu.Unlock()
	if !s.life.state().sends() { // remove may have been faster
		s.dropClaims()
		return ErrDisconnected
	}
	return nil
}

// beat disconnects a socket that has lost.
func (t *claims) beat(c *claim, key string) {
	t.mu.Lock()
	c.beaten = true
	t.mu.Unlock()
	c.s.replace(key)
}

// lose takes key from c, for a claim of another server. A later claim of the same socket
// stands for itself.
func (t *claims) lose(key string, c *claim) {
	t.mu.Lock()
	have := t.byKey[key]
	if have == c {
		delete(t.byKey, key)
	}
	t.mu.Unlock()
	if have == nil || have == c || have.s != c.s {
		t.beat(c, key)
	}
}

// result tells whether c has lost.
func (t *claims) result(c *claim) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.beaten {
		return ErrReplaced
	}
	return nil
}

// heard acts on a claim of another server, and answers. Who claims behind a bridge waits for
// no answer from here: it is told of the newer claim as of a new one.
func (ns *Namespace) heard(args Args, answer func(p broadcast.Payload)) {
	var key, id string
	var at int64
	if args.Decode(&key, &at, &id) != nil {
		return
	}
	t := &ns.claims
	t.mu.Lock()
	have := t.byKey[key]
	newer := have != nil && !have.before(at, id)
	same := have != nil && have.at == at && have.s.ID() == id
	t.clock = max(t.clock, at)
	t.mu.Unlock()
	text := `["older"]`
	if newer {
		text = `["newer"]`
	} else if have != nil {
		t.lose(key, have)
	}
	switch {
	case answer != nil:
		answer(broadcast.Payload{JSON: []byte(text)})
	case newer && !same:
		_ = ns.tellServers(claimEvent, key, have.at, have.s.ID())
	}
}

// dropClaims gives up what the socket holds.
func (s *Socket) dropClaims() {
	s.mu.Lock()
	var keys []string
	if s.extras != nil {
		keys, s.extras.claims = s.extras.claims, nil
	}
	s.mu.Unlock()
	if len(keys) == 0 {
		return // as most: their ends do not wait for each other
	}
	t := &s.ns.claims
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		if c := t.byKey[key]; c != nil && c.s == s {
			delete(t.byKey, key)
		}
	}
}

// replace disconnects the socket for one that has claimed key.
func (s *Socket) replace(key string) {
	s.mu.Lock()
	s.extra().replacedFor = &key
	s.mu.Unlock()
	s.dismiss(false)
}

// whyDismissed tells why Disconnect was called.
func (s *Socket) whyDismissed() *Disconnect {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.extras; x != nil && x.replacedFor != nil {
		return s.engineSession().Describe(Replaced, CauseReplaced, "a newer socket has claimed "+*x.replacedFor)
	}
	return s.engineSession().Describe(ServerNamespaceDisconnect, CauseServer, "Disconnect or CloseSession was called")
}
