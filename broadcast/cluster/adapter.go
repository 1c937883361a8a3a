package cluster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/ratelog"
)

// Options configure what all adapters have. In each field 0 means the default.
type Options struct {
	// RequestTimeout is how long answers of other servers are waited for where the caller's
	// context has no deadline. Default 5 s, as the reference's.
	RequestTimeout time.Duration
	// MaxAnswerBytes bounds the memory of other servers' answers to one question. What is
	// beyond ends it: the caller gets what has come, and a *broadcast.MissingError. Default
	// 256 MiB.
	MaxAnswerBytes int
	// MaxQueued bounds the bytes that wait for the bus; what is beyond is refused. Default
	// 16 MiB.
	MaxQueued int
	// QueueWhileDown keeps what is sent while the bus cannot be reached, up to MaxQueued,
	// and sends it when the bus is back. Default: it is refused.
	QueueWhileDown bool
	// SendTimeout is how long the bus has for what is handed to it. Default 10 s.
	SendTimeout time.Duration
	// HeartbeatInterval is how often a server tells the others that it is there. Default 5 s.
	HeartbeatInterval time.Duration
	// NamespaceHeartbeats sends heartbeats in each namespace, for formats by which servers
	// count each other so. Default: in "/" alone.
	NamespaceHeartbeats bool
	// HeartbeatTimeout is from when on a server that is not heard of has gone. Default 10 s.
	HeartbeatTimeout time.Duration
	// Logger gets what happens to the bus. Default: slog.Default().
	Logger *slog.Logger
}

// Adapter is a broadcast.Adapter by a Bus.
type Adapter struct {
	// Immutable after New.
	bus Bus
	o   Options
	uid string
	log *ratelog.Log
	out outbox

	ownTail []byte // what is in front of the namespace in AppendJSON's form

	// Any goroutine (atomic).
	received, receivedBytes, ignored, missed, refused, late atomic.Uint64
	server                                                  atomic.Pointer[string] // nil before the first Join

	beats     atomic.Bool  // the format has heartbeats, and the goroutine that sends them runs
	elsewhere atomic.Int32 // questions that servers behind a gateway are asked

	// Guarded by mu.
	mu     sync.RWMutex
	nodes  map[string]*node
	closed bool
	stop   chan struct{} // closed by Close

	// Guarded by seenMu, which is taken inside mu.
	seenMu  sync.Mutex
	servers map[string]time.Time // when others were last heard of, by uid
	hearing time.Time            // when anything last came by the bus
	looked  time.Time            // when who has gone was last looked for
	echoes  bool                 // what this server sends comes back to it
}

var _ broadcast.Adapter = (*Adapter)(nil)

// New makes an adapter by a bus, and opens it.
func New(bus Bus, o Options) (*Adapter, error) {
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 5*time.Second)
	o.MaxAnswerBytes = cmp.Or(o.MaxAnswerBytes, 256<<20)
	o.MaxQueued = cmp.Or(o.MaxQueued, 16<<20)
	o.SendTimeout = cmp.Or(o.SendTimeout, 10*time.Second)
	o.HeartbeatInterval = cmp.Or(o.HeartbeatInterval, 5*time.Second)
	o.HeartbeatTimeout = cmp.Or(o.HeartbeatTimeout, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	a := &Adapter{bus: bus, o: o, uid: NewID(), log: ratelog.New(o.Logger), nodes: map[string]*node{}, servers: map[string]time.Time{}, stop: make(chan struct{})}
	a.ownTail = []byte(`,"uid":"` + a.uid + `","nsp":"`)
	a.out.init(bus, &a.o, a.Hello)
	if err := bus.Open(a); err != nil {
		return nil, err
	}
	return a, nil
}

// NewID is the name of a server or of a request: 64 random bits as 16 hexadecimal digits.
func NewID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return hex.EncodeToString(b[:])
}

// UID names this server on the bus.
func (a *Adapter) UID() string { return a.uid }

// Server is the beginning of the IDs of this server's sockets; "" before the first Join.
func (a *Adapter) Server() string {
	if s := a.server.Load(); s != nil {
		return *s
	}
	return ""
}

// Own tells whether a message in JSON is certainly one of this server's own, which a bus
// may hand back: it need not be decoded. Others may be its own, too.
func (a *Adapter) Own(data []byte) bool {
	data = bytes.TrimRight(data, " ")
	tail := data[max(0, len(data)-maxTail):]
	i := bytes.LastIndex(tail, a.ownTail)
	if i < 0 {
		return false
	}
	name, ok := bytes.CutSuffix(tail[i+len(a.ownTail):], []byte(`"}`))
	if !ok || bytes.IndexByte(name, '"') >= 0 { // the namespace, and nothing behind it
		return false
	}
	a.hears(true)
	return true
}

// maxTail bounds where Own looks.
const maxTail = 512

// Join joins a namespace.
func (a *Adapter) Join(local broadcast.Local) (broadcast.Remote, error) {
	n := &node{a: a, local: local, name: local.Name(), peers: map[string]struct{}{}, requests: map[string]*request{}}
	n.keeper, _ = a.bus.(Keeper)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, broadcast.ErrClosed
	}
	if n.gateway, _ = local.(broadcast.Gateway); n.gateway != nil {
		b, ok := a.bus.(AllRooms)
		if !ok {
			return nil, fmt.Errorf("%w: what is sent to any room", broadcast.ErrUnsupported)
		}
		if err := b.AllRooms(n.name); err != nil {
			return nil, err
		}
	}
	a.nodes[n.name] = n
	if server := local.Server(); a.server.Load() == nil {
		a.server.Store(&server)
	}
	a.bus.Join(n.name)
	if !errors.Is(n.beat(InitialHeartbeat, time.Now()), broadcast.ErrUnsupported) && !a.beats.Swap(true) {
		go a.beat()
	}
	return n, nil
}

// Receive takes a message that has come by the bus, of size bytes; it keeps nothing of it.
// It may wait while loops are far behind. A message of this server's own is ignored,
// unless it has a Number.
func (a *Adapter) Receive(m *Message, size int) {
	own := m.UID == a.uid
	a.hears(own)
	if own && m.Number == 0 {
		return
	}
	if !own {
		a.received.Add(1)
		a.receivedBytes.Add(uint64(size))
	}
	a.mu.RLock()
	n := a.nodes[m.Namespace]
	a.mu.RUnlock()
	if n == nil {
		return // it has just been left
	}
	if own {
		if r := n.recorder(m); r != nil {
			r.Recorded(m.kept())
		}
		return
	}
	n.receive(m)
}

// Ignore counts what has come by the bus and cannot be read.
func (a *Adapter) Ignore(channel string, err error) {
	a.ignored.Add(1)
	a.log.Warn("ignored", "cluster: a message that cannot be read is ignored", "channel", channel, "error", err)
}

// Miss counts n messages that have come by the bus and were not kept, or that the bus says
// it has had and no longer has.
func (a *Adapter) Miss(n int, channel string, err error) {
	a.missed.Add(uint64(n))
	a.log.Error("missed", "cluster: messages of other servers are lost", "messages", n, "channel", channel, "error", err)
}

// Hello tells the others in all namespaces that this server is there, and has them say so,
// too: for a bus that has received nothing for some time. It must not be called by the
// methods of Bus.
func (a *Adapter) Hello() {
	a.refresh()
	a.mu.RLock()
	nodes := slices.Collect(maps.Values(a.nodes))
	a.mu.RUnlock()
	for _, n := range nodes {
		_ = n.beat(InitialHeartbeat, time.Now()) // or the next heartbeat tells
	}
}

// Reject counts n frames as lost that Send has handed over, and the bus has then refused.
func (a *Adapter) Reject(n int) { a.out.reject(n) }

// SendFrame queues a frame of the bus's own.
func (a *Adapter) SendFrame(f Frame) error { return a.out.push(f) }

// Stats are the adapter's counters.
func (a *Adapter) Stats() broadcast.AdapterStats {
	s := a.out.stats()
	s.Received, s.ReceivedBytes = a.received.Load(), a.receivedBytes.Load()
	s.Lost += a.missed.Load()
	s.Ignored, s.Refused, s.Late = a.ignored.Load(), a.refused.Load(), a.late.Load()
	return s
}

// Close tells the others, sends what is queued until ctx is done, and ends the adapter.
func (a *Adapter) Close(ctx context.Context) error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	nodes := a.nodes
	a.nodes = map[string]*node{}
	close(a.stop)
	a.mu.Unlock()
	for _, n := range nodes {
		n.end()
	}
	err := a.out.close(ctx)
	if e := a.bus.Close(); err == nil {
		err = e
	}
	return err
}

// Tell queues a message for the others, of a namespace that has been joined.
func (a *Adapter) Tell(m *Message) error {
	err := a.send(m)
	if errors.Is(err, broadcast.ErrUnavailable) {
		a.refused.Add(1)
	}
	return err
}

// Ask is Tell for a question: while the bus is away it is not kept for later.
func (a *Adapter) Ask(m *Message) error {
	if a.out.stats().Down {
		a.refused.Add(1)
		return broadcast.ErrUnavailable
	}
	return a.Tell(m)
}

// send queues a message for the others.
func (a *Adapter) send(m *Message) error {
	m.UID = a.uid
	f, err := a.bus.Encode(m)
	if err != nil {
		return err
	}
	return a.out.push(f)
}

// maxServers bounds the servers that are known by name, and maxUID the bytes of one: who sends
// uids at will must not fill the memory.
const (
	maxServers = 10_000
	maxUID     = 256
)

// heard notes that another server is there; false if it is not to be known.
func (a *Adapter) heard(uid string) bool {
	if uid == "" || uid == EmitterUID || len(uid) > maxUID {
		return false
	}
	now := time.Now()
	a.seenMu.Lock()
	defer a.seenMu.Unlock()
	if _, ok := a.servers[uid]; !ok && len(a.servers) >= maxServers {
		return false
	}
	a.servers[uid] = now
	return true
}

// hears notes that something has come by the bus. Who could not be heard of for some time
// has a new one to be heard of in.
func (a *Adapter) hears(own bool) {
	now := time.Now()
	a.seenMu.Lock()
	silent := a.echoes && now.Sub(a.hearing) > 2*a.o.HeartbeatInterval
	a.hearing, a.echoes = now, a.echoes || own
	a.seenMu.Unlock()
	if silent {
		a.refresh()
	}
}

// refresh takes all other servers as just heard of.
func (a *Adapter) refresh() {
	now := time.Now()
	a.seenMu.Lock()
	defer a.seenMu.Unlock()
	for uid := range a.servers {
		a.servers[uid] = now
	}
}

// deaf tells whether this server could not hear of another one that is there.
func (a *Adapter) deaf(now time.Time) bool {
	if a.out.stats().Down {
		return true
	}
	a.seenMu.Lock()
	defer a.seenMu.Unlock()
	return a.echoes && now.Sub(a.hearing) > a.o.HeartbeatTimeout
}

// gone returns the servers that have not been heard of for too long while they could have
// been, and forgets them. Who looks late was stopped: what has come meanwhile may not have been
// read.
func (a *Adapter) gone(now time.Time) (uids []string) {
	down := a.out.stats().Down
	a.seenMu.Lock()
	defer a.seenMu.Unlock()
	late := now.Sub(a.looked) > max((a.o.HeartbeatTimeout-a.o.HeartbeatInterval)/3, 2*a.o.round())
	a.looked = now
	switch {
	case down:
		return nil
	case late:
		for uid := range a.servers {
			a.servers[uid] = now
		}
		return nil
	case a.echoes && a.hearing.Before(now):
		now = a.hearing
	}
	for uid, at := range a.servers {
		if now.Sub(at) > a.o.HeartbeatTimeout {
			delete(a.servers, uid)
			uids = append(uids, uid)
		}
	}
	return uids
}

// round is how often is looked at what is due.
func (o *Options) round() time.Duration { return max(o.HeartbeatInterval/5, 10*time.Millisecond) }

// beat sends heartbeats, and forgets servers that send none any more.
func (a *Adapter) beat() {
	t := time.NewTicker(a.o.round())
	defer t.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-t.C:
			now := time.Now()
			gone := a.gone(now)
			a.mu.RLock()
			nodes := slices.Collect(maps.Values(a.nodes))
			a.mu.RUnlock()
			for _, n := range nodes {
				n.tick(now, gone)
			}
		}
	}
}
