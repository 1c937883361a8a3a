package redis

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// StreamsOptions are NewStreams's. In each field the zero value means the default, which is
// the reference's. All servers have the same StreamName, StreamCount, ChannelPrefix and
// UseShardedPubSub.
type StreamsOptions struct {
	cluster.Options
	// StreamName is the stream's key. Default "socket.io".
	StreamName string
	// StreamCount is the number of streams; each namespace has one of them. With more than
	// one their keys are StreamName-0 and so on. Default 1.
	StreamCount int
	// MaxLen is about how many entries a stream keeps. Default 10,000.
	MaxLen int64
	// ReadCount is how many entries are read at once at most. Default 100.
	ReadCount int64
	// BlockTime is how long one read waits. Default 5 s.
	BlockTime time.Duration
	// ChannelPrefix begins the names of the channels for what is not kept. Default
	// "socket.io".
	ChannelPrefix string
	// UseShardedPubSub has those channels sharded: see NewSharded.
	UseShardedPubSub bool
	// OnlyPlaintext has events with binary written as JSON, in which it is
	// {"type":"Buffer","data":[…]}: it does not arrive as binary.
	OnlyPlaintext bool
	// SessionKeyPrefix begins the keys of sessions, which servers with Config.Recovery
	// write. Default "sockeye:session:".
	SessionKeyPrefix string
}

// NewStreams joins servers by Redis streams, as @socket.io/redis-streams-adapter 0.3 does.
// Events for sockets, and changes of their rooms, are kept in a stream, which all servers
// read: what is sent while a server's connection is away reaches it afterwards, up to MaxLen
// entries. Questions, their answers, and events for servers go by publish and subscribe, and
// are not in order with the former.
//
// What is queued while Redis is away (QueueWhileDown) is written at once when it is back: let
// MaxLen be more than that is, or the oldest is trimmed before all have read it.
//
// Every server gets everything: a stream knows no rooms.
//
// With Config.Recovery sockets come back on any server: what they have missed is read from
// the stream, as long as MaxLen keeps it. Redis 4 or later is needed for that.
func NewStreams(client redis.UniversalClient, o StreamsOptions) (*Adapter, error) {
	o.setDefaults()
	b := &streamsBus{o: o, client: client, positions: map[string]string{}}
	b.queues = o.QueueWhileDown
	if err := b.init(client, o.ChannelPrefix, &o.Options); err != nil {
		return nil, err
	}
	a, err := cluster.New(b, o.Options)
	if err != nil {
		return nil, err
	}
	return &Adapter{Adapter: a, enter: b.enter}, nil
}

func (o *StreamsOptions) setDefaults() {
	o.StreamName = cmp.Or(o.StreamName, "socket.io")
	o.StreamCount = max(o.StreamCount, 1)
	o.MaxLen = cmp.Or(o.MaxLen, 10_000)
	o.ReadCount = cmp.Or(o.ReadCount, 100)
	o.BlockTime = cmp.Or(o.BlockTime, 5*time.Second)
	o.ChannelPrefix = cmp.Or(o.ChannelPrefix, "socket.io")
	o.SessionKeyPrefix = cmp.Or(o.SessionKeyPrefix, "sockeye:session:")
}

// streamsBus speaks the format of @socket.io/redis-streams-adapter.
//
//	stream            uid, nsp, type and data of what is kept
//	prefix#nsp#       what is not, in MessagePack
//	prefix#nsp#uid#   answers to one server, in MessagePack
type streamsBus struct {
	base
	o      StreamsOptions
	client redis.UniversalClient

	looked map[string]chan struct{} // by stream: closed when it is known where it is read from

	ctx  context.Context //nolint:containedctx // of the readers
	stop context.CancelFunc

	taking sync.RWMutex // held for reading by who takes entries

	// Guarded by positionsMu.
	positionsMu sync.Mutex
	positions   map[string]string // what has been taken, by stream
}

// Kinds of frames.
const (
	kindPublish = iota
	kindEntry   // of a stream, which Channel names; Data is what entry makes
)

// stream is the key of a namespace's stream. The reference's index may be negative, and its
// servers do not read such a stream: what they write there is read here, but nothing is
// written to it.
func (o *StreamsOptions) stream(namespace string) string {
	if o.StreamCount == 1 {
		return o.StreamName
	}
	hash := int32(0)
	for _, unit := range utf16.Encode([]rune(namespace)) {
		hash = hash*31 + int32(unit)
	}
	n := int32(o.StreamCount)
	return o.StreamName + "-" + strconv.Itoa(int((hash%n+n)%n))
}

// streams are the keys of all streams that are read.
func (o *StreamsOptions) streams() (keys []string) {
	if o.StreamCount == 1 {
		return []string{o.StreamName}
	}
	for i := 1 - o.StreamCount; i < o.StreamCount; i++ {
		keys = append(keys, o.StreamName+"-"+strconv.Itoa(i))
	}
	return keys
}

func (b *streamsBus) Open(a *cluster.Adapter) error {
	b.a = a
	b.sub = newSubscriber(b.nodes, b.o.UseShardedPubSub, b.log, b.receive)
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.looked = map[string]chan struct{}{}
	for _, key := range b.o.streams() {
		b.looked[key] = make(chan struct{})
	}
	if b.nodes.cluster == nil {
		go b.read(b.o.streams())
		return nil
	}
	for _, key := range b.o.streams() { // one command reads from one node alone
		go b.read([]string{key})
	}
	return nil
}

func (b *streamsBus) Join(namespace string) {
	if s := b.join(namespace); s != nil {
		b.sub.want(true, s.all, s.all+b.a.UID()+"#")
	}
}

func (b *streamsBus) Leave(namespace string) {
	if s, _ := b.leave(namespace); s != nil {
		b.sub.want(false, s.all, s.all+b.a.UID()+"#")
	}
}

// Room: streams know none.
func (b *streamsBus) Room(string, string, bool) {}

// AllRooms: no room has a channel of its own.
func (b *streamsBus) AllRooms(string) error { return nil }

func (b *streamsBus) Others(ctx context.Context, namespace string) (int, error) {
	s := b.space(namespace)
	if s == nil {
		return 0, nil
	}
	return b.others(ctx, s.all, b.o.UseShardedPubSub)
}

// Close has nothing taken any more. A reader that waits for entries ends at its BlockTime:
// the client cannot be interrupted.
func (b *streamsBus) Close() error {
	b.stop()
	b.sub.close()
	b.taking.Lock() // until who takes entries has ended
	defer b.taking.Unlock()
	return nil
}

func (b *streamsBus) Ping(ctx context.Context) error { return b.pingAny(ctx) }

// kept tells whether a message goes into the stream.
func kept(m *cluster.Message) bool {
	switch m.Type {
	case cluster.Broadcast:
		return m.RequestID == ""
	case cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets:
		return true
	}
	return false
}

func (b *streamsBus) Encode(m *cluster.Message) (cluster.Frame, error) {
	return encodeStreams(&b.o, b.prefix, m)
}

func encodeStreams(o *StreamsOptions, prefix string, m *cluster.Message) (f cluster.Frame, err error) {
	if !kept(m) {
		all := *m
		all.Target.Rooms = nil // no channels of rooms
		f.Channel = cluster.Channel(prefix, &all, false)
		f.Data, err = cluster.AppendMsgpack(nil, m)
		return f, err
	}
	f.Kind, f.Channel = kindEntry, o.stream(m.Namespace)
	data := cluster.AppendDataJSON(nil, m)
	if n := len(m.Payload.Attachments); n > 0 && o.OnlyPlaintext {
		data, err = inPlaintext(data, m.Payload.Attachments)
	} else if n > 0 {
		data, err = cluster.AppendDataMsgpack(nil, m)
		data = base64.StdEncoding.AppendEncode(nil, data)
	}
	f.Data = appendEntry(nil, m, data)
	return f, err
}

// appendEntry writes an entry's fields as they are in a frame: uid, namespace, type and
// number, each with a length, and data.
func appendEntry(dst []byte, m *cluster.Message, data []byte) []byte {
	number := ""
	if m.Number != 0 {
		number = strconv.FormatUint(m.Number, 10)
	}
	for _, s := range []string{m.UID, m.Namespace, strconv.Itoa(int(m.Type)), number} {
		dst = append(strconv.AppendInt(dst, int64(len(s)), 10), ' ')
		dst = append(dst, s...)
	}
	return append(dst, data...)
}

const fieldNumber = "n"

// entry returns an entry's fields. The reference knows no number.
func entry(b []byte) (list []any) {
	for _, name := range []string{"uid", "nsp", "type", fieldNumber} {
		n, rest, _ := bytes.Cut(b, []byte{' '})
		size, _ := strconv.Atoi(string(n))
		if name != fieldNumber || size > 0 {
			list = append(list, name, rest[:size])
		}
		b = rest[size:]
	}
	return append(list, "data", b)
}

// inPlaintext puts what JSON.stringify makes of a Buffer in the place of placeholders.
func inPlaintext(data []byte, attachments [][]byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			if is, _ := v["_placeholder"].(bool); is {
				if num, ok := v["num"].(json.Number); ok {
					if i, err := strconv.Atoi(num.String()); err == nil && i >= 0 && i < len(attachments) {
						list := make([]int, len(attachments[i]))
						for k, c := range attachments[i] {
							list[k] = int(c)
						}
						return map[string]any{"type": "Buffer", "data": list}
					}
				}
			}
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	return json.Marshal(walk(v))
}

func (b *streamsBus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	b.readFirst(ctx, frames)
	return b.publishByNode(ctx, frames, b.o.route)
}

// firstLook bounds how long what is to be kept waits until its stream is being read.
const firstLook = time.Second

// readFirst waits until streams are read, so that this server reads what it writes there.
func (b *streamsBus) readFirst(ctx context.Context, frames []cluster.Frame) {
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	for i := range frames {
		if f := &frames[i]; f.Kind == kindEntry {
			select {
			case <-b.looked[f.Channel]:
			case <-ctx.Done():
				return
			}
		}
	}
}

// route returns what a frame's slot depends on, "" for the home, and its command.
func (o *StreamsOptions) route(f *cluster.Frame) (key string, command []any) {
	switch {
	case f.Kind == kindEntry:
		return f.Channel, append([]any{"xadd", f.Channel, "maxlen", "~", o.MaxLen, "*"}, entry(f.Data)...)
	case o.UseShardedPubSub:
		return f.Channel, []any{"spublish", f.Channel, f.Data}
	}
	return "", []any{"publish", f.Channel, f.Data}
}

// receive takes what is not kept.
func (b *streamsBus) receive(channel, _, payload string) {
	data := []byte(payload)
	m, err := cluster.Decode(data)
	if err != nil || kept(m) {
		b.a.Ignore(channel, cmp.Or(err, errFormat))
		return
	}
	if s := b.space(m.Namespace); s != nil && (channel == s.all || channel == s.all+b.a.UID()+"#") {
		b.a.Receive(m, len(data))
	}
}

// read reads streams until the bus is closed. It goes on behind what it has read last,
// also on another connection.
func (b *streamsBus) read(keys []string) {
	backoff := minBackoff
	var last []string // IDs, by key
	looked := false
	for b.ctx.Err() == nil {
		var err error
		if !looked {
			if err = b.answers(keys[0]); err == nil {
				last, err = b.look(keys, last)
			}
			if err == nil {
				b.reached(keys, last)
			}
		}
		if err == nil {
			looked = true
			err = b.readSome(keys, last)
		}
		switch {
		case err == nil:
			backoff = minBackoff
			continue
		case b.ctx.Err() != nil:
			return
		}
		looked = false
		b.warn.Warn("read", "redis: the streams cannot be read", "error", err)
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2+1)):
		case <-b.ctx.Done():
		}
		backoff = min(2*backoff, maxBackoff)
		b.nodes.changed(b.ctx)
	}
}

// answers tells whether a key's node answers, without the client's own retries: they would
// make it long until a node is found to be back.
func (b *streamsBus) answers(key string) error {
	c, err := b.nodes.owner(b.ctx, key)
	if err == nil {
		_, err = run(b.ctx, c, []once{{redis.NewCmd(b.ctx, "ping")}})
	}
	return err
}

// look returns behind which IDs to read: those that were read last, but where a stream
// has lower ones it is another one, of a server that has lost it, and is read from its end.
func (b *streamsBus) look(keys, last []string) ([]string, error) {
	now := make([]string, len(keys))
	for i, key := range keys {
		c, err := b.nodes.owner(b.ctx, key)
		if err != nil {
			return last, err
		}
		entries, err := c.XRevRangeN(b.ctx, key, "+", "-", 1).Result()
		if err != nil {
			return last, err
		}
		if len(entries) > 0 {
			now[i] = entries[0].ID
		} else if now[i], err = b.mark(key); err != nil {
			return last, err
		}
		if last != nil && !idLess(now[i], last[i]) {
			now[i] = last[i]
		}
	}
	return now, nil
}

// idLess compares IDs of entries.
func idLess(a, b string) bool {
	at, as := splitID(a)
	bt, bs := splitID(b)
	return at < bt || at == bt && as < bs
}

func splitID(id string) (ms, seq uint64) {
	a, b, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(a, 10, 64)
	seq, _ = strconv.ParseUint(b, 10, 64)
	return ms, seq
}

// readSome waits for entries, and takes them.
func (b *streamsBus) readSome(keys, last []string) error {
	c, err := b.nodes.owner(b.ctx, keys[0])
	if err != nil {
		return err
	}
	streams, err := c.XRead(b.ctx, &redis.XReadArgs{
		Streams: append(append(make([]string, 0, 2*len(keys)), keys...), last...),
		Count:   b.o.ReadCount,
		Block:   b.o.BlockTime,
	}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	b.taking.RLock()
	defer b.taking.RUnlock()
	for _, s := range streams {
		for i, key := range keys {
			if key != s.Stream {
				continue
			}
			for _, e := range s.Messages {
				if b.ctx.Err() != nil {
					return b.ctx.Err()
				}
				b.take(key, e)
				last[i] = e.ID
				b.reached(keys[i:i+1], last[i:i+1])
			}
		}
	}
	return nil
}

// take takes an entry.
func (b *streamsBus) take(key string, e redis.XMessage) {
	if e.Values["nsp"] == "" {
		return // a mark
	}
	m, size, err := decodeEntry(e)
	switch {
	case err != nil:
		b.a.Ignore(key, err)
	// Who joins a namespace meanwhile gets it, or finds that it has been passed over.
	case b.joined(m.Namespace, func() { b.reached([]string{key}, []string{e.ID}) }):
		if key != b.o.stream(m.Namespace) {
			m.Offset = "" // it has no place among the others: see stream
		}
		b.a.Receive(m, size)
	}
}

// decodeEntry reads an entry.
func decodeEntry(e redis.XMessage) (m *cluster.Message, size int, err error) {
	text := func(name string) string {
		s, _ := e.Values[name].(string)
		size += len(s)
		return s
	}
	m = &cluster.Message{UID: text("uid"), Namespace: text("nsp"), Offset: e.ID}
	kind, err := strconv.ParseUint(text("type"), 10, 8)
	if err != nil {
		return nil, 0, errFormat
	}
	m.Type = cluster.Type(kind)
	if number := text(fieldNumber); number != "" {
		if m.Number, err = strconv.ParseUint(number, 10, 63); err != nil {
			return nil, 0, errFormat
		}
	}
	data := []byte(text("data"))
	binary := len(data) == 0 || data[0] != '{'
	if binary {
		if data, err = base64.StdEncoding.AppendDecode(nil, data); err != nil {
			return nil, 0, err
		}
	}
	if m.Namespace == "" || m.Type < cluster.Broadcast || m.Type > cluster.DisconnectSockets {
		return nil, 0, errFormat
	}
	if err := cluster.DecodeData(m, data, binary); err != nil {
		return nil, 0, err
	}
	if !kept(m) {
		return nil, 0, errFormat
	}
	return m, size, nil
}
