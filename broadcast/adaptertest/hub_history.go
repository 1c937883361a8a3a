package adaptertest

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// KeepingAdapter is Adapter with a history: the hub keeps events and sessions.
func (h *Hub) KeepingAdapter(t testing.TB, o cluster.Options) *cluster.Adapter {
	t.Helper()
	b := &keepingBus{&hubBus{hub: h, namespaces: map[string]map[string]bool{}}}
	b.turn.L = &b.mu
	a, err := cluster.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// keepingBus hands on what is kept in the hub's one order, to all, its sender included.
type keepingBus struct{ *hubBus }

var _ cluster.Keeper = (*keepingBus)(nil)

// hubHistory is what a hub keeps.
type hubHistory struct {
	mu       sync.Mutex
	events   []*cluster.Message // their offsets count from 1
	trimmed  int                // how many of them are no longer there
	sessions map[string]*hubSession
}

// Trim forgets all but the last of what is kept.
func (h *Hub) Trim(left int) {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	h.kept.trimmed = max(h.kept.trimmed, len(h.kept.events)-left)
}

type hubSession struct {
	owner string
	data  []byte
	until time.Time
}

// Open has the bus read what is kept from now on.
func (b *keepingBus) Open(a *cluster.Adapter) error {
	b.hub.kept.mu.Lock()
	b.taken.Store(int64(len(b.hub.kept.events)))
	b.hub.kept.mu.Unlock()
	return b.hubBus.Open(a)
}

// Encode marks what is kept.
func (b *keepingBus) Encode(m *cluster.Message) (f cluster.Frame, err error) {
	f, err = b.hubBus.Encode(m)
	if m.Number != 0 {
		f.Kind = 1
	}
	return f, err
}

func (b *keepingBus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	for i, f := range frames {
		if f.Kind == 0 {
			if _, _, err := b.hubBus.Send(ctx, frames[i:i+1]); err != nil {
				return sent, 0, err
			}
			sent++
			continue
		}
		if b.hub.Down() {
			return sent, 0, errDown
		}
		m, err := cluster.Decode(f.Data)
		if err != nil {
			return sent, 1, err
		}
		k := &b.hub.kept
		k.mu.Lock()
		m.Offset = strconv.Itoa(len(k.events) + 1)
		k.events = append(k.events, m)
		b.hub.mu.Lock()
		for _, to := range b.hub.buses {
			to.mu.Lock()
			to.in = append(to.in, nil) // one more is kept
			to.turn.Signal()
			to.mu.Unlock()
		}
		b.hub.mu.Unlock()
		k.mu.Unlock()
		sent++
	}
	return sent, 0, nil
}

// takeKept hands on the next event that is kept.
func (b *hubBus) takeKept() {
	k := &b.hub.kept
	k.mu.Lock()
	n := b.taken.Load()
	m := *k.events[n]
	k.mu.Unlock()
	b.a.Receive(&m, 1)
	b.taken.Store(n + 1)
}

func (b *keepingBus) Position(string) string { return strconv.FormatInt(b.taken.Load(), 10) }

func (b *keepingBus) Compare(x, y string) (order int, ok bool) {
	m, err := strconv.ParseUint(x, 10, 63)
	n, err2 := strconv.ParseUint(y, 10, 63)
	switch {
	case err != nil || err2 != nil:
		return 0, false
	case m < n:
		return -1, true
	case m > n:
		return 1, true
	}
	return 0, true
}

// ReadKept reads three events at most.
func (b *keepingBus) ReadKept(_ context.Context, namespace, after, upto string, _ []string, maxBytes int) (list []*cluster.Message, next string, err error) {
	if b.hub.Down() {
		return nil, after, errDown
	}
	from, _ := strconv.Atoi(after)
	to, _ := strconv.Atoi(upto)
	to = min(to, from+3)
	k := &b.hub.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if from < k.trimmed {
		return nil, after, broadcast.ErrTrimmed
	}
	for i, m := range k.events[from:to] {
		if maxBytes -= m.Payload.Size(); maxBytes < 0 && i > 0 {
			return list, strconv.Itoa(from + i), nil
		}
		if m.Namespace == namespace {
			list = append(list, m)
		}
	}
	return list, strconv.Itoa(to), nil
}

func (b *keepingBus) TakeSession(_ context.Context, pid, owner string, lease time.Duration) (data []byte, was string, err error) {
	if b.hub.Down() {
		return nil, "", errDown
	}
	k := &b.hub.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sessions[pid]
	if s == nil || s.data == nil || time.Now().After(s.until) {
		return nil, "", nil
	}
	was, s.owner, s.until = s.owner, owner, time.Now().Add(lease)
	return slices.Clone(s.data), was, nil
}

func (b *keepingBus) PutSessions(_ context.Context, list []broadcast.StoredSession) (lost []int, err error) {
	if b.hub.Down() {
		return nil, errDown
	}
	k := &b.hub.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sessions == nil {
		k.sessions = map[string]*hubSession{}
	}
	for i, s := range list {
		if was := k.sessions[s.PID]; was != nil && was.owner != s.Owner {
			lost = append(lost, i)
			continue
		}
		now := &hubSession{owner: s.Owner, data: s.Data, until: time.Now().Add(s.Lease)}
		if s.Data == nil {
			now.owner = ""
		}
		k.sessions[s.PID] = now
	}
	return lost, nil
}
