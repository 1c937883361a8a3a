package nats

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/internal/fifo"
)

// topics are the subjects that this server wants to get. What is wanted is noted at once;
// tend, which may wait for the connection, subscribes.
type topics struct {
	// Immutable.
	linger time.Duration
	kick   chan struct{} // something is to be done

	// Held while NATS is told, and outside mu.
	tending sync.Mutex

	// Guarded by mu.
	mu     sync.Mutex
	spaces map[string]map[string]struct{} // the subjects of each namespace
	whole  map[string]struct{}            // namespaces all of whose rooms are wanted
	all    map[string]*topic
	dirty  []*topic // changed
	later  fifo.Queue[*topic]
}

// topic is one subject.
type topic struct {
	// Immutable.
	subject string

	// Guarded by topics.mu.
	wanted   bool
	dirty    bool               // in topics.dirty
	lingers  bool               // in topics.later
	unwanted time.Time          // since then
	sub      *nats.Subscription // set while tending is held, too
}

func (ts *topics) init(linger time.Duration) {
	ts.linger = linger
	ts.kick = make(chan struct{}, 1)
	ts.spaces, ts.all = map[string]map[string]struct{}{}, map[string]*topic{}
	ts.whole = map[string]struct{}{}
}

// want notes what is wanted of a namespace. It must not block.
func (ts *topics) want(space, subject string, wanted bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	of := ts.spaces[space]
	if wanted {
		if of == nil {
			of = map[string]struct{}{}
			ts.spaces[space] = of
		}
		of[subject] = struct{}{}
	} else {
		if _, ok := of[subject]; !ok {
			return
		}
		delete(of, subject)
	}
	ts.set(subject, wanted)
}

// joined tells whether something is wanted of a namespace; if not, not is called before
// anything is.
func (ts *topics) joined(space string, not func()) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	_, ok := ts.spaces[space]
	if !ok {
		not()
	}
	return ok
}

// wantRoom is want for a subject of rooms, one or several.
func (ts *topics) wantRoom(space, subject string, wanted bool) {
	ts.mu.Lock()
	_, whole := ts.whole[space]
	ts.mu.Unlock()
	if !whole { // or it would come twice
		ts.want(space, subject, wanted)
	}
}

// wantAll notes, before anything else is wanted of a namespace, that all its rooms are.
func (ts *topics) wantAll(space string, subjects ...string) {
	ts.mu.Lock()
	ts.whole[space] = struct{}{}
	ts.mu.Unlock()
	for _, s := range subjects {
		ts.want(space, s, true)
	}
}

// forget notes that nothing of a namespace is wanted any more.
func (ts *topics) forget(space string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for subject := range ts.spaces[space] {
		ts.set(subject, false)
	}
	delete(ts.spaces, space)
	delete(ts.whole, space)
}

// set notes what is wanted. mu is held.
func (ts *topics) set(subject string, wanted bool) {
	t := ts.all[subject]
	if t == nil {
		t = &topic{subject: subject}
		ts.all[subject] = t
	}
	t.wanted = wanted
	if !wanted {
		t.unwanted = time.Now()
	}
	ts.mark(t)
	select {
	case ts.kick <- struct{}{}:
	default:
	}
}

// mark has tend look at a topic. mu is held.
func (ts *topics) mark(t *topic) {
	if !t.dirty {
		t.dirty = true
		ts.dirty = append(ts.dirty, t)
	}
}

// tend subscribes to what is wanted, and ends what has not been wanted for some time. It
// returns how long until there is something to end; 0 if there is nothing. An error ends
// it early; the rest is done by the next call.
func (ts *topics) tend(subscribe func(subject string) (*nats.Subscription, error)) (time.Duration, error) {
	ts.tending.Lock()
	defer ts.tending.Unlock()
	return ts.tendLocked(subscribe)
}

// tendLocked is tend with tending held.
func (ts *topics) tendLocked(subscribe func(subject string) (*nats.Subscription, error)) (time.Duration, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for len(ts.dirty) > 0 {
		last := len(ts.dirty) - 1
		t := ts.dirty[last]
		ts.dirty = ts.dirty[:last]
		t.dirty = false
		switch {
		case t.wanted && t.sub == nil:
			ts.mu.Unlock()
			sub, err := subscribe(t.subject)
			ts.mu.Lock()
			if err != nil {
				ts.mark(t)
				return 0, err
			}
			t.sub = sub // what has changed meanwhile has made it dirty again
		case !t.wanted && t.sub != nil && !t.lingers:
			t.lingers = true
			ts.later.Push(t)
		case !t.wanted && t.sub == nil && !t.lingers && ts.all[t.subject] == t:
			delete(ts.all, t.subject)
		}
	}
	return ts.endSome(), nil
}

// endSome ends subscriptions that have lingered. mu is held, but for the telling.
func (ts *topics) endSome() time.Duration {
	for ts.later.Len() > 0 {
		t := *ts.later.Front()
		if !t.wanted {
			if d := ts.linger - time.Since(t.unwanted); d > 0 {
				return d
			}
		}
		ts.later.Drop()
		t.lingers = false
		if t.wanted {
			continue
		}
		sub := t.sub
		t.sub = nil
		if !t.dirty {
			delete(ts.all, t.subject)
		}
		if sub != nil {
			ts.mu.Unlock()
			_ = sub.Unsubscribe() // of a connection that is closed
			ts.mu.Lock()
		}
	}
	return 0
}

// active are the subjects that are subscribed to and match.
func (ts *topics) active(match func(subject string) bool) (list []string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		if t.sub != nil && match(t.subject) {
			list = append(list, t.subject)
		}
	}
	return list
}

// dropped is how many messages NATS's library has dropped.
func (ts *topics) dropped() (n int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		if t.sub != nil {
			if d, err := t.sub.Dropped(); err == nil {
				n += d
			}
		}
	}
	return n
}

// close ends all subscriptions.
func (ts *topics) close() {
	ts.tending.Lock()
	defer ts.tending.Unlock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for subject, t := range ts.all {
		delete(ts.all, subject)
		if sub := t.sub; sub != nil {
			t.sub = nil
			ts.mu.Unlock()
			_ = sub.Unsubscribe()
			ts.mu.Lock()
		}
	}
	ts.dirty = nil
	ts.later.Clear(0)
}
