package sockeye

import (
	"context"
	"errors"
	"fmt"
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
// all have heard of another claim has a greater one, whatever the servers' clocks say. Who
// is told of a greater one that it has not heard of claims again, with one that is greater
// still: its server came later, and its clock is behind.
//
// A time that is maxAhead ahead of this server's clock is garbage. It moves nothing: else one
// such claim, near the greatest number, were never to be beaten.
type claims struct {
	// Guarded by mu.
	mu    sync.Mutex
	clock int64             // the greatest time of a claim that is known
	byKey map[string]*claim // nil for none
}

// maxAhead is how far servers' clocks may be apart: more than by a wrong time zone.
const maxAhead = 24 * time.Hour

// farAhead tells whether no server whose clock is right has made a claim at that time.
func farAhead(at int64) bool { return at > time.Now().Add(maxAhead).UnixNano() }

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

// errClocks: one of two servers takes the other's claims for garbage.
var errClocks = fmt.Errorf("sockeye: the clock of another server differs by more than %v: who has claimed a key there keeps it", maxAhead)

const claimEvent = internalPrefix + "claim"

// What servers answer to a claim, but for the time of one of their own that is newer.
const (
	claimOlder   = `["older"]` // whatever was there has been given up
	claimGarbage = `["garbage"]`
)

// Claim makes the socket the one that holds key in its namespace, on all servers: whichever
// held it is disconnected, with Replaced for its reason. With a user's name for the key the
// newest socket of a user replaces the older one; with a user's name and a device, that of
// the device. A socket may claim several keys; it holds them until it is disconnected.
//
// Claim waits until the other servers have given the key up, or ctx is done. Its error is
// then, or when they cannot be reached, a *MissingError, ErrUnavailable, or ctx's, or tells
// that the servers' clocks are more than a day apart: the socket holds the key on this
// server and those that have agreed, and an older one may live elsewhere; Claim may be called
// again. It is ErrReplaced when a newer claim came meanwhile, ErrDisconnected, or, on an
// event loop, ErrWouldBlock if there are other servers.
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
	newer, err := ns.claimElsewhere(ctx, key, c)
	if newer != 0 && ns.claims.raise(key, c, newer) {
		newer, err = ns.claimElsewhere(ctx, key, c)
	}
	if newer != 0 {
		ns.claims.lose(key, c)
	}
	return errors.Join(ns.claims.result(c), err)
}

// claimElsewhere tells the other servers of a claim. It returns the time of the newest one that
// is newer, 0 for none.
func (ns *Namespace) claimElsewhere(ctx context.Context, key string, c *claim) (newer int64, err error) {
	p, err := ns.srv.payload(claimEvent, []any{key, c.at, c.s.ID()})
	if err != nil {
		return 0, err
	}
	answers, err := ns.remote.CallServers(ctx, p)
	if err == nil && len(answers) == 0 { // none is known yet, and asked; who is there is to hear of it
		err = ns.remote.ServerEvent(p)
	}
	err = ns.closedErr(err)
	for _, a := range answers {
		args, e := ns.srv.argsOf(a)
		var at int64
		switch {
		case string(a.JSON) == claimOlder, e != nil:
		case string(a.JSON) == claimGarbage, args.Decode(&at) == nil && farAhead(at):
			err = errors.Join(err, errClocks)
		default:
			newer = max(newer, at)
		}
	}
	return newer, err
}

// take gives key to c, whose time is now, and disconnects who held it.
func (t *claims) take(key string, c *claim) error {
	s := c.s
	s.mu.Lock()
	if x := s.extra(); !slices.Contains(x.claims, key) {
		x.claims = append(x.claims, key)
	}
	s.mu.Unlock()
	t.mu.Lock()
	if !s.life.state().sends() { // it beats nobody: who has the key may be its successor
		t.mu.Unlock()
		s.dropClaims()
		return ErrDisconnected
	}
	if farAhead(t.clock) { // this server's own clock was wrong
		t.clock = 0
	}
	t.clock = max(t.clock+1, time.Now().UnixNano())
	c.at = t.clock
	old := t.byKey[key]
	if t.byKey == nil {
		t.byKey = map[string]*claim{}
	}
	t.byKey[key] = c
	if old != nil {
		old.beaten = old.s != s
	}
	t.mu.Unlock()
	if old != nil && old.s != s {
		old.s.replace(key)
	}
	return nil
}

// raise makes c newer than a claim of another server; false if c has lost meanwhile.
func (t *claims) raise(key string, c *claim, above int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey[key] != c {
		return false
	}
	t.clock = max(t.clock, above) + 1
	c.at = t.clock
	return true
}

// lose takes key from c, for a claim of another server. A later claim of the same socket
// stands for itself.
func (t *claims) lose(key string, c *claim) {
	t.mu.Lock()
	beaten := t.loses(key, c)
	t.mu.Unlock()
	if beaten {
		c.s.replace(key)
	}
}

// loses is lose, but for the disconnection: it returns whether it is due. mu is held.
func (t *claims) loses(key string, c *claim) bool {
	have := t.byKey[key]
	if have == c {
		delete(t.byKey, key)
	}
	if have != nil && have != c && have.s == c.s {
		return false
	}
	c.beaten = true
	return true
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
func (ns *Namespace) heard(args Args, answer func(p broadcast.Payload)) error {
	var key, id string
	var at int64
	if err := args.Decode(&key, &at, &id); err != nil {
		return err
	}
	tell := func(text string) {
		if answer != nil {
			answer(broadcast.Payload{JSON: []byte(text)})
		}
	}
	if farAhead(at) {
		tell(claimGarbage)
		return fmt.Errorf("a key was claimed at %v", time.Unix(0, at))
	}
	t := &ns.claims
	t.mu.Lock()
	t.clock = max(t.clock, at)
	have := t.byKey[key]
	if have == nil || have.before(at, id) || farAhead(have.at) {
		beaten := have != nil && t.loses(key, have)
		t.mu.Unlock()
		if beaten {
			have.s.replace(key)
		}
		tell(claimOlder)
		return nil
	}
	newer, same := have.at, have.at == at && have.s.ID() == id
	t.mu.Unlock()
	tell(fmt.Sprintf("[%d]", newer))
	if answer == nil && !same {
		_ = ns.tellServers(claimEvent, key, newer, have.s.ID())
	}
	return nil
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
	for _, key := range keys {
		s.ns.claims.drop(s, key)
	}
}

// drop gives up what s holds by one key.
func (t *claims) drop(s *Socket, key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.byKey[key]; c != nil && c.s == s {
		delete(t.byKey, key)
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
