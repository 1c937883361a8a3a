package adaptertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Hub is a bus in memory. Its zero value is ready.
type Hub struct {
	// Uncounted: the hub does not tell how many servers there are.
	Uncounted bool

	// Guarded by mu.
	mu    sync.Mutex
	buses []*hubBus
	down  bool
	bytes map[string]int // handed to each adapter, by its uid

	kept hubHistory
}

// Adapter makes an adapter on the hub, for one more server.
func (h *Hub) Adapter(t testing.TB, o cluster.Options) *cluster.Adapter {
	t.Helper()
	b := &hubBus{hub: h, namespaces: map[string]map[string]bool{}}
	b.turn.L = &b.mu
	a, err := cluster.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Cut has the hub fail, or work again.
func (h *Hub) Cut(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// Down tells whether the hub has been cut.
func (h *Hub) Down() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

// Bytes is what an adapter has been handed.
func (h *Hub) Bytes(a *cluster.Adapter) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes[a.UID()]
}

// hubBus is a server's end.
type hubBus struct {
	hub *Hub
	a   *cluster.Adapter

	// Guarded by mu.
	mu         sync.Mutex
	turn       sync.Cond
	namespaces map[string]map[string]bool // joined, and the rooms there
	everything map[string]bool            // namespaces that get what is sent to any room
	in         [][]byte
	closed     bool

	taken atomic.Int64 // of what the hub keeps
}

var errDown = errors.New("the hub is down")

func (b *hubBus) Open(a *cluster.Adapter) error {
	b.a = a
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	b.hub.buses = append(b.hub.buses, b)
	go b.read()
	return nil
}

func (b *hubBus) read() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed {
		if len(b.in) == 0 {
			b.turn.Wait()
			continue
		}
		data := b.in[0]
		b.in = b.in[1:]
		b.mu.Unlock()
		if data == nil {
			b.takeKept()
		} else if m, err := cluster.Decode(data); err != nil {
			b.a.Ignore("hub", err)
		} else {
			b.a.Receive(m, len(data))
		}
		b.mu.Lock()
	}
}

func (b *hubBus) Join(namespace string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.namespaces[namespace] = map[string]bool{}
}

func (b *hubBus) Leave(namespace string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.namespaces, namespace)
	delete(b.everything, namespace)
}

func (b *hubBus) AllRooms(namespace string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.everything == nil {
		b.everything = map[string]bool{}
	}
	b.everything[namespace] = true
	return nil
}

func (b *hubBus) Room(namespace, room string, exists bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if rooms := b.namespaces[namespace]; rooms != nil {
		rooms[room] = exists
	}
}

// Encode uses both forms.
func (b *hubBus) Encode(m *cluster.Message) (f cluster.Frame, err error) {
	f.Channel = cluster.Channel("hub", m, false)
	if len(m.Payload.Attachments) > 0 {
		f.Data, err = cluster.AppendMsgpack(nil, m)
	} else {
		f.Data = cluster.AppendJSON(nil, m)
	}
	return f, err
}

// wants tells whether what is sent on a channel reaches this end.
func (b *hubBus) wants(channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, rooms := range b.namespaces {
		all := "hub#" + name + "#"
		if channel == all || channel == all+b.a.UID()+"#" {
			return true
		}
		if b.everything[name] && strings.HasPrefix(channel, all) && !b.others(channel[len(all):]) {
			return true
		}
		for room, exists := range rooms {
			if exists && channel == all+room+"#" {
				return true
			}
		}
	}
	return false
}

// others tells whether the rest of a channel's name is another server's uid.
func (b *hubBus) others(rest string) bool {
	return len(rest) == 17 && rest[16] == '#' && rest != b.a.UID()+"#"
}

func (b *hubBus) Send(_ context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range frames {
		if h.down {
			return sent, 0, errDown
		}
		for _, to := range h.buses {
			if to == b || !to.wants(f.Channel) {
				continue
			}
			if h.bytes == nil {
				h.bytes = map[string]int{}
			}
			h.bytes[to.a.UID()] += len(f.Data)
			to.mu.Lock()
			to.in = append(to.in, slices.Clone(f.Data))
			to.turn.Signal()
			to.mu.Unlock()
		}
		sent++
	}
	return sent, 0, nil
}

func (b *hubBus) Ping(context.Context) error {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	if b.hub.down {
		return errDown
	}
	return nil
}

func (b *hubBus) Others(_ context.Context, namespace string) (n int, err error) {
	h := b.hub
	if h.Uncounted {
		return 0, broadcast.ErrUnsupported
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return 0, errDown
	}
	for _, to := range h.buses {
		to.mu.Lock()
		if to != b && to.namespaces[namespace] != nil {
			n++
		}
		to.mu.Unlock()
	}
	return n, nil
}

func (b *hubBus) Close() error {
	b.mu.Lock()
	b.closed = true
	b.turn.Signal()
	b.mu.Unlock()
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	b.hub.buses = slices.DeleteFunc(b.hub.buses, func(x *hubBus) bool { return x == b })
	return nil
}

var _ broadcast.Adapter = (*cluster.Adapter)(nil)
