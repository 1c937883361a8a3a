package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Options are New's. In each field the zero value means the default.
type Options struct {
	cluster.Options
	// Key begins the names of all channels. Default "socket.io".
	Key string
	// PublishOnSpecificResponseChannel sends answers to who has asked alone, and not to all
	// servers. It is a setting of those that answer; servers without it take part.
	PublishOnSpecificResponseChannel bool
}

// New joins servers by publish and subscribe, as @socket.io/redis-adapter 8 does. Its format
// has no heartbeats, so a *MissingError tells how many servers have not answered, but not
// which.
//
// In a Redis Cluster everything goes by one of its masters, the one that has the slot of
// Key, and from there to all nodes: see NewSharded.
func New(client redis.UniversalClient, o Options) (*Adapter, error) {
	b := &classicBus{specific: o.PublishOnSpecificResponseChannel}
	b.queues = o.QueueWhileDown
	if err := b.init(client, cmp.Or(o.Key, "socket.io"), &o.Options); err != nil {
		return nil, err
	}
	a, err := cluster.New(b, o.Options)
	if err != nil {
		return nil, err
	}
	return &Adapter{Adapter: a, enter: b.enter}, nil
}

// classicBus speaks the format of @socket.io/redis-adapter.
//
//	key#nsp#              broadcasts                   [uid, packet, opts], MessagePack
//	key#nsp#room#         broadcasts to one room       the same
//	key-request#nsp#      requests, of the types below JSON, or MessagePack if there is binary
//	key-response#nsp#     answers                      the same
//	key-response#nsp#uid# answers to one server
//
// The reference subscribes to key#nsp#*. This subscribes to key#nsp#, to the channels of the
// rooms here, and, for the sockets' own rooms, to key#nsp#server*, server being what all IDs
// here begin with.
type classicBus struct {
	base
	specific bool
}

// Types of requests; the answers of some have the same. Nobody sends the first two any
// more, but they are answered.
const (
	reqSockets = iota
	reqAllRooms
	reqJoin
	reqLeave
	reqDisconnect
	reqFetch
	reqServerEvent
	reqBroadcast
	ansClientCount
	ansAck
)

func (b *classicBus) requests(namespace string) string {
	return b.prefix + "-request#" + namespace + "#"
}

func (b *classicBus) answers(namespace string) string {
	return b.prefix + "-response#" + namespace + "#"
}

func (b *classicBus) channels(s *space) []string {
	name := s.local.Name()
	return []string{s.all, b.requests(name), b.answers(name), b.answers(name) + b.a.UID() + "#"}
}

// pattern is that of the channels of the sockets' own rooms.
func (s *space) pattern() string {
	if s.everything() {
		return escapeGlob(s.all) + "*"
	}
	return escapeGlob(s.all+s.local.Server()) + "*"
}

// everything tells whether what is sent to any room is wanted.
func (s *space) everything() bool {
	_, ok := s.local.(broadcast.Gateway)
	return ok
}

// AllRooms: the pattern does it.
func (b *classicBus) AllRooms(string) error { return nil }

// escapeGlob escapes what patterns give a meaning to.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

func (b *classicBus) Open(a *cluster.Adapter) error {
	b.a = a
	b.sub = newSubscriber(b.nodes, false, b.log, b.receive)
	return nil
}

func (b *classicBus) Join(namespace string) {
	if s := b.join(namespace); s != nil {
		b.sub.want(true, b.channels(s)...)
		b.sub.wantPattern(true, s.pattern())
	}
}

func (b *classicBus) Leave(namespace string) {
	if s, rooms := b.leave(namespace); s != nil {
		b.sub.want(false, append(rooms, b.channels(s)...)...)
		b.sub.wantPattern(false, s.pattern())
	}
}

func (b *classicBus) Room(namespace, room string, exists bool) {
	if s := b.space(namespace); s != nil && !s.everything() && !strings.HasPrefix(room, s.local.Server()) { // or it has the pattern
		b.setRoom(namespace, room, exists)
	}
}

func (b *classicBus) Others(ctx context.Context, namespace string) (int, error) {
	return b.others(ctx, b.requests(namespace), false)
}

func (b *classicBus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	return b.publish(ctx, frames)
}

func (b *classicBus) Encode(m *cluster.Message) (f cluster.Frame, err error) {
	return encodeClassic(b.prefix, m, b.specific)
}

// encodeClassic makes a frame of a message.
func encodeClassic(prefix string, m *cluster.Message, specific bool) (f cluster.Frame, err error) {
	if m.Type == cluster.Broadcast && m.RequestID == "" {
		f.Channel = cluster.Channel(prefix, m, true)
		text := sio.AppendString([]byte{'['}, m.UID)
		text = append(appendPacket(append(text, ','), m), ',')
		text = append(cluster.AppendTargetJSON(text, m), ']')
		f.Data, err = msgpack.AppendValue(nil, text, m.Payload.Attachments)
		return f, err
	}
	f.Channel = prefix + "-request#" + m.Namespace + "#"
	text := []byte{'{'}
	field := func(name string) {
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(append(append(text, '"'), name...), '"', ':')
	}
	kind := func(t int64) {
		field("type")
		text = strconv.AppendInt(text, t, 10)
	}
	answer := func() {
		f.Channel = prefix + "-response#" + m.Namespace + "#"
		if specific && m.Type != cluster.ServerSideEmitResponse {
			f.Channel += m.To + "#"
		}
	}
	question := func(t int64) {
		if m.UID != "" {
			field("uid")
			text = sio.AppendString(text, m.UID)
		}
		kind(t)
	}
	target := func() {
		field("opts")
		text = cluster.AppendTargetJSON(text, m)
	}
	if m.RequestID != "" {
		field("requestId")
		text = sio.AppendString(text, m.RequestID)
	}
	binary := len(m.Payload.Attachments) > 0
	switch m.Type {
	case cluster.Broadcast:
		question(reqBroadcast)
		field("packet")
		text = appendPacket(text, m)
		target()
		binary = true
	case cluster.SocketsJoin, cluster.SocketsLeave:
		question(reqJoin + int64(m.Type-cluster.SocketsJoin))
		target()
		field("rooms")
		text = cluster.AppendNames(text, m.Rooms)
	case cluster.DisconnectSockets:
		question(reqDisconnect)
		target()
		field("close")
		text = strconv.AppendBool(text, m.Close)
	case cluster.FetchSockets:
		question(reqFetch)
		target()
	case cluster.ServerSideEmit:
		question(reqServerEvent)
		field("data")
		text = append(text, m.Payload.JSON...)
		if m.Payload.Passed {
			field("passed") // other servers do not look at it
			text = append(text, "true"...)
		}
	case cluster.FetchSocketsResponse:
		answer()
		field("sockets")
		text = cluster.AppendSockets(text, m.Sockets)
	case cluster.ServerSideEmitResponse:
		answer()
		kind(reqServerEvent)
		field("data")
		text = append(text, cluster.Value(m.Payload.JSON)...)
	case cluster.BroadcastClientCount:
		answer()
		kind(ansClientCount)
		field("clientCount")
		text = strconv.AppendInt(text, int64(m.Count), 10)
	case cluster.BroadcastAck:
		answer()
		kind(ansAck)
		field("packet")
		text = append(text, cluster.Value(m.Payload.JSON)...)
		binary = true
	default:
		return f, broadcast.ErrUnsupported
	}
	f.Data = append(text, '}')
	if binary {
		f.Data, err = msgpack.AppendValue(nil, f.Data, m.Payload.Attachments)
	}
	return f, err
}

// appendPacket appends a packet as the reference's broadcasts have it.
func appendPacket(dst []byte, m *cluster.Message) []byte {
	dst = append(append(dst, `{"type":2,"data":`...), m.Payload.JSON...)
	return append(sio.AppendString(append(dst, `,"nsp":`...), m.Namespace), '}')
}

var errFormat = errors.New("not in the adapter's format")

// receive takes what comes.
func (b *classicBus) receive(channel, pattern, payload string) {
	data := []byte(payload)
	var err error
	switch {
	case strings.HasPrefix(channel, b.prefix+"-request#"):
		err = b.request(channel[len(b.prefix)+len("-request#"):], data)
	case strings.HasPrefix(channel, b.prefix+"-response#"):
		err = b.answer(channel[len(b.prefix)+len("-response#"):], data)
	default:
		var m *cluster.Message
		if m, err = decodeBroadcast(data); err == nil && b.wants(m, channel, pattern) {
			b.a.Receive(m, len(data))
		}
	}
	if err != nil {
		b.a.Ignore(channel, err)
	}
}

// wants tells whether a broadcast has come by a channel on which it belongs here. The names
// of a namespace and a room may together be those of another namespace: the message says
// which it is. What two subscriptions bring counts once.
func (b *classicBus) wants(m *cluster.Message, channel, pattern string) bool {
	s := b.space(m.Namespace)
	if s == nil {
		return false
	}
	if channel == s.all {
		return pattern == ""
	}
	room, ok := roomOf(s.all, channel)
	if !ok {
		return false
	}
	want := ""
	if s.everything() || strings.HasPrefix(room, s.local.Server()) {
		want = s.pattern()
	}
	return pattern == want && len(m.Target.Rooms) == 1 && m.Target.Rooms[0] == room && s.local.HasRoom(room)
}

// toJSON is what is in JSON or in MessagePack as JSON.
func toJSON(data []byte) (text []byte, attachments [][]byte, err error) {
	if len(data) > 0 && data[0] == '{' {
		return data, nil, nil
	}
	text, err = msgpack.AppendJSON(nil, data, &attachments)
	return text, attachments, err
}

// packet is an event as the reference has it.
type packet struct {
	Data      json.RawMessage `json:"data"`
	Namespace *string         `json:"nsp"`
}

func (p *packet) set(m *cluster.Message) {
	m.Payload.JSON = p.Data
	m.Namespace = "/"
	if p.Namespace != nil {
		m.Namespace = *p.Namespace
	}
}

// decodeBroadcast reads [uid, packet, opts].
func decodeBroadcast(data []byte) (*cluster.Message, error) {
	m := &cluster.Message{Type: cluster.Broadcast}
	var attachments [][]byte
	text, err := msgpack.AppendJSON(nil, data, &attachments)
	if err != nil {
		return nil, err
	}
	var p *packet
	var o *cluster.Opts
	list := []any{&m.UID, &p, &o}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	if p == nil || o == nil || len(list) != 3 {
		return nil, errFormat
	}
	p.set(m)
	o.Set(m)
	m.Payload.Attachments = attachments
	return m, cluster.Check(m)
}

// request is one of another server's.
type request struct {
	UID       string          `json:"uid"`
	RequestID string          `json:"requestId"`
	Type      *int            `json:"type"`
	Opts      *cluster.Opts   `json:"opts"`
	Rooms     cluster.Names   `json:"rooms"`
	Close     bool            `json:"close"`
	Data      json.RawMessage `json:"data"`
	Packet    packet          `json:"packet"`
	SID       string          `json:"sid"`  // of old servers, without Opts
	Room      *string         `json:"room"` // the same
	Passed    bool            `json:"passed"`
}

// request takes a request.
func (b *classicBus) request(rest string, data []byte) error {
	namespace, ok := strings.CutSuffix(rest, "#")
	if !ok {
		return errFormat
	}
	m, r, err := decodeRequest(namespace, data)
	if err != nil || r.UID == b.a.UID() {
		return err
	}
	s := b.space(namespace)
	switch {
	case s == nil: // it has just been left
	case m == nil:
		b.askOld(s, r)
	default:
		if r.Opts == nil && m.Type != cluster.ServerSideEmit && !s.local.HasRoom(r.SID) {
			return nil
		}
		b.a.Receive(m, len(data))
		if r.Opts == nil && m.Type != cluster.ServerSideEmit && r.RequestID != "" {
			b.answerOld(s, r, nil)
		}
	}
	return nil
}

// decodeRequest reads a request; m is nil for those that only old servers know.
func decodeRequest(namespace string, data []byte) (m *cluster.Message, r *request, err error) {
	text, attachments, err := toJSON(data)
	if err != nil {
		return nil, nil, err
	}
	r = new(request)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, nil, err
	}
	if r.Type == nil {
		return nil, nil, errFormat
	}
	m = &cluster.Message{UID: r.UID, Namespace: namespace, Rooms: r.Rooms, Close: r.Close}
	switch *r.Type {
	case reqSockets, reqAllRooms:
		if r.RequestID == "" {
			err = errFormat
		}
		return nil, r, err
	case reqJoin, reqLeave:
		m.Type = cluster.SocketsJoin + cluster.Type(*r.Type-reqJoin)
	case reqDisconnect:
		m.Type = cluster.DisconnectSockets
	case reqFetch:
		m.Type, m.RequestID = cluster.FetchSockets, r.RequestID
	case reqServerEvent:
		m.Type, m.RequestID = cluster.ServerSideEmit, r.RequestID
		m.Payload = broadcast.Payload{JSON: r.Data, Attachments: attachments, Passed: r.Passed}
	case reqBroadcast:
		m.Type, m.RequestID = cluster.Broadcast, r.RequestID
		r.Packet.set(m)
		m.Payload.Attachments = attachments
		if m.RequestID == "" || m.Namespace != namespace {
			return nil, nil, errFormat
		}
	default:
		return nil, nil, fmt.Errorf("%w: type %d", errFormat, *r.Type)
	}
	switch {
	case m.Type == cluster.ServerSideEmit:
	case r.Opts != nil:
		r.Opts.Set(m)
	case r.SID != "" && *r.Type <= reqDisconnect && (r.Room != nil || *r.Type == reqDisconnect):
		m.Target = broadcast.Target{Rooms: []string{r.SID}}
		if r.Room != nil {
			m.Rooms = []string{*r.Room}
		}
	default:
		return nil, nil, errFormat
	}
	return m, r, cluster.Check(m)
}

// askOld answers what old servers ask.
func (b *classicBus) askOld(s *space, r *request) {
	var ids []string
	for _, info := range s.local.Sockets(broadcast.Target{Rooms: r.Rooms}) {
		ids = append(ids, info.ID)
	}
	if *r.Type == reqSockets {
		b.answerOld(s, r, append([]byte(`"sockets":`), cluster.AppendNames(nil, ids)...))
		return
	}
	b.answerOld(s, r, append([]byte(`"rooms":`), cluster.AppendNames(nil, append(s.local.Rooms(), ids...))...))
}

func (b *classicBus) answerOld(s *space, r *request, more []byte) {
	f := cluster.Frame{Channel: b.answers(s.local.Name())}
	if b.specific {
		f.Channel += r.UID + "#"
	}
	f.Data = sio.AppendString([]byte(`{"requestId":`), r.RequestID)
	if more != nil {
		f.Data = append(append(f.Data, ','), more...)
	}
	f.Data = append(f.Data, '}')
	_ = b.a.SendFrame(f) // who asks has a time of its own
}

// answer takes an answer to a request.
func (b *classicBus) answer(rest string, data []byte) error {
	namespace, ok := strings.CutSuffix(rest, "#")
	if !ok {
		return errFormat
	}
	if own, ok := strings.CutSuffix(namespace, "#"+b.a.UID()); ok {
		namespace = own
	}
	m, err := decodeAnswer(namespace, data)
	if m != nil {
		b.a.Receive(m, len(data))
	}
	return err
}

// decodeAnswer reads an answer; nil if it is one that nobody here has asked for.
func decodeAnswer(namespace string, data []byte) (*cluster.Message, error) {
	text, attachments, err := toJSON(data)
	if err != nil {
		return nil, err
	}
	var r struct {
		RequestID   string          `json:"requestId"`
		Type        *int            `json:"type"`
		Sockets     json.RawMessage `json:"sockets"`
		Data        json.RawMessage `json:"data"`
		Packet      json.RawMessage `json:"packet"`
		ClientCount int             `json:"clientCount"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	m := &cluster.Message{Namespace: namespace, RequestID: r.RequestID}
	switch {
	case r.RequestID == "":
		return nil, errFormat
	case r.Type == nil && r.Sockets != nil:
		m.Type = cluster.FetchSocketsResponse
		if json.Unmarshal(r.Sockets, &m.Sockets) != nil { // a list of IDs, to an old server
			return nil, nil
		}
	case r.Type == nil: // to an old server
		return nil, nil
	case *r.Type == reqServerEvent:
		m.Type = cluster.ServerSideEmitResponse
		m.Payload = broadcast.Payload{JSON: cluster.Array(r.Data), Attachments: attachments}
	case *r.Type == ansClientCount:
		m.Type, m.Count = cluster.BroadcastClientCount, r.ClientCount
	case *r.Type == ansAck:
		m.Type = cluster.BroadcastAck
		m.Payload = broadcast.Payload{JSON: cluster.Array(r.Packet), Attachments: attachments}
	default:
		return nil, fmt.Errorf("%w: answer of type %d", errFormat, *r.Type)
	}
	return m, cluster.Check(m)
}
