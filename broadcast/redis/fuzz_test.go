package redis

import (
	"bytes"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// messages are some of each type.
func messages() []*cluster.Message {
	target := broadcast.Target{Rooms: []string{"red", "a#b"}, Except: []string{"*"}, Volatile: true, NoCompress: true, Passed: true}
	p := broadcast.Payload{JSON: []byte(`["e",{"_placeholder":true,"num":0},1.5,null]`), Attachments: [][]byte{{1, 2, 3}}}
	answer := broadcast.Payload{JSON: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{4}}}
	info := []broadcast.SocketInfo{{ID: "abc", Rooms: []string{"abc", "red"}, Handshake: []byte(`{"a":1}`), Data: []byte(`{}`)}}
	base := cluster.Message{UID: "0123456789abcdef", Namespace: "/"}
	list := []cluster.Message{
		{Type: cluster.Broadcast, Payload: p, Target: target},
		{Type: cluster.Broadcast, Payload: p, Target: broadcast.Target{Rooms: []string{"red"}}},
		{Type: cluster.Broadcast, Payload: p, Target: target, RequestID: "1", Timeout: 1e9},
		{Type: cluster.SocketsJoin, Target: target, Rooms: []string{"x"}},
		{Type: cluster.SocketsLeave, Target: target, Rooms: []string{"x"}},
		{Type: cluster.DisconnectSockets, Target: target, Close: true},
		{Type: cluster.FetchSockets, Target: target, RequestID: "2"},
		{Type: cluster.FetchSocketsResponse, To: "me", RequestID: "2", Sockets: info},
		{Type: cluster.ServerSideEmit, Payload: p, RequestID: "3"},
		{Type: cluster.ServerSideEmit, Payload: broadcast.Payload{JSON: []byte(`["e"]`), Passed: true}},
		{Type: cluster.ServerSideEmitResponse, To: "me", Payload: answer, RequestID: "3"},
		{Type: cluster.BroadcastClientCount, To: "me", RequestID: "1", Count: 7},
		{Type: cluster.BroadcastAck, To: "me", RequestID: "1", Payload: answer},
	}
	var all []*cluster.Message
	for i := range list {
		m := &list[i]
		m.UID, m.Namespace = base.UID, base.Namespace
		all = append(all, m)
	}
	return all
}

// seeds are what hostile buses say.
var seeds = []string{
	"", "{", "{}", "[]", "null", "\x93", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\x93\xa1a\x80\x80",
	`{"type":2}`, `{"type":2,"opts":null,"rooms":["x"]}`, `{"type":0,"requestId":"1","rooms":[{}]}`, `{"requestId":"1","sockets":["a"]}`,
	`{"requestId":1e999}`, `{"type":9,"requestId":"1"}`, `{"type":8,"requestId":"1","clientCount":-1}`, `{"uid":{"a":[]},"type":5}`,
	"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.", // a pickle
}

func tooMuch(t *testing.T, m *cluster.Message, data []byte) {
	n := len(m.UID) + len(m.Payload.JSON)
	for _, a := range m.Payload.Attachments {
		n += len(a)
	}
	for _, s := range slices.Concat(m.Rooms, m.Target.Rooms, m.Target.Except) {
		n += len(s)
	}
	if n > 20*len(data)+100 {
		t.Errorf("of %d bytes %d were made", len(data), n)
	}
	if m.Timeout < 0 || m.Count < 0 {
		t.Errorf("%+v", m)
	}
}

// addFrames adds what an adapter makes of messages, and seeds.
func addFrames(f *testing.F, encode func(m *cluster.Message) (cluster.Frame, error)) {
	for _, m := range messages() {
		frame, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame.Data)
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
}

// FuzzClassic: what comes by the channels of the classic adapter is read, or refused.
func FuzzClassic(f *testing.F) {
	addFrames(f, func(m *cluster.Message) (cluster.Frame, error) { return encodeClassic("socket.io", m, false) })
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		if m, err := decodeBroadcast(data); err == nil {
			tooMuch(t, m, data)
			again, err := encodeClassic("socket.io", m, false)
			if err != nil {
				t.Fatal(err)
			}
			m2, err := decodeBroadcast(again.Data)
			if err != nil || !slices.Equal(m.Target.Rooms, m2.Target.Rooms) || len(m.Payload.Attachments) != len(m2.Payload.Attachments) {
				t.Errorf("%+v became %+v, %v", m, m2, err)
			}
		}
		if m, r, err := decodeRequest("/", data); err == nil {
			if r == nil {
				t.Fatal("neither a request nor an error")
			}
			if m != nil {
				tooMuch(t, m, data)
			}
		}
		if m, err := decodeAnswer("/", data); err == nil && m != nil {
			tooMuch(t, m, data)
		}
		if !bytes.Equal(before, data) {
			t.Error("the input was changed")
		}
	})
}

// FuzzStreams: entries of a stream are read, or refused.
func FuzzStreams(f *testing.F) {
	o := StreamsOptions{}
	o.setDefaults()
	for _, m := range messages() {
		if frame, err := encodeStreams(&o, "socket.io", m); err == nil && frame.Kind == kindEntry {
			list := entry(frame.Data)
			f.Add(string(list[5].([]byte)), list[7].([]byte))
		}
	}
	for _, s := range seeds {
		f.Add("3", []byte(s))
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		m, _, err := decodeEntry(redis.XMessage{ID: "1-1", Values: map[string]any{"uid": "u", "nsp": "/", "type": kind, "data": string(data)}})
		if err == nil {
			tooMuch(t, m, data)
			if m.Offset != "1-1" {
				t.Errorf("the offset is %q", m.Offset)
			}
		}
	})
}

// FuzzSharded: what comes by the channels of the sharded adapter, and what streams do not
// keep, is read, or refused.
func FuzzSharded(f *testing.F) {
	addFrames(f, func(m *cluster.Message) (cluster.Frame, error) { return encodeSharded("socket.io", m, Dynamic) })
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := cluster.Decode(data); err == nil {
			tooMuch(t, m, data)
		}
	})
}

// TestFormats: what is written is read as it was.
func TestFormats(t *testing.T) {
	for _, m := range messages() {
		f, err := encodeClassic("p", m, false)
		if err != nil {
			t.Fatal(err)
		}
		var got *cluster.Message
		switch {
		case m.Type == cluster.Broadcast && m.RequestID == "":
			got, err = decodeBroadcast(f.Data)
		case m.To != "":
			got, err = decodeAnswer("/", f.Data)
		default:
			got, _, err = decodeRequest("/", f.Data)
		}
		if err != nil {
			t.Errorf("%s: %v", f.Data, err)
			continue
		}
		if got.Type != m.Type || got.RequestID != m.RequestID || !slices.Equal(got.Rooms, m.Rooms) || got.Close != m.Close || got.Count != m.Count || len(got.Sockets) != len(m.Sockets) || string(got.Payload.JSON) != string(m.Payload.JSON) || len(got.Payload.Attachments) != len(m.Payload.Attachments) || got.Payload.Passed != m.Payload.Passed || got.Target.Passed != m.Target.Passed || !slices.Equal(got.Target.Rooms, m.Target.Rooms) || !slices.Equal(got.Target.Except, m.Target.Except) {
			t.Errorf("%+v became %+v", m, got)
		}
	}
}

// TestStreamOf: namespaces have the streams that the reference gives them, but those that
// its servers do not read.
func TestStreamOf(t *testing.T) {
	o := StreamsOptions{StreamCount: 4}
	o.setDefaults()
	for namespace, want := range map[string]string{"/": "socket.io-3", "/my-namespace": "socket.io-1"} { // of the latter the reference has -3
		if got := o.stream(namespace); got != want {
			t.Errorf("%s has %s, not %s", namespace, got, want)
		}
	}
	if got := o.streams(); len(got) != 7 || got[0] != "socket.io--3" || got[6] != "socket.io-3" {
		t.Errorf("%q", got)
	}
}

// TestSlot: as Redis Cluster's specification has it.
func TestSlot(t *testing.T) {
	for name, want := range map[string]int{"123456789": 12739, "{123456789}x": 12739, "a{123456789}{b}": 12739} {
		if got := slotOf(name); got != want {
			t.Errorf("%s: %d, not %d", name, got, want)
		}
	}
	if slotOf("{}a") == slotOf("{}b") {
		t.Error("nothing between braces counts")
	}
}

// TestEntryID: isEntryID is this expression.
func TestEntryID(t *testing.T) {
	is := regexp.MustCompile(`^[0-9]{1,20}-[0-9]{1,20}\z`)
	for _, text := range []string{
		"", "-", "1", "1-", "-1", "1-2", "1-2-3", "0-0", "a-1", "1-b", " 1-2", "1-2 ", "1-2\n", "+1-2", "1--2", "١-1",
		"12345678901234567890-12345678901234567890", "123456789012345678901-1", "1-123456789012345678901",
	} {
		if got := isEntryID(text); got != is.MatchString(text) {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestPassedOver: a namespace is not joined while an entry of it is passed over, which its
// position says then.
func TestPassedOver(t *testing.T) {
	b := &base{spaces: map[string]*space{"/": {}}}
	joined, passed := make(chan struct{}), false
	if b.joined("/", func() {
		go func() {
			b.join("/")
			if !passed {
				t.Error("it is joined before")
			}
			close(joined)
		}()
		select {
		case <-joined:
			t.Error("it is joined meanwhile")
		case <-time.After(20 * time.Millisecond):
		}
		passed = true
	}) {
		t.Error("it is joined")
	}
	<-joined
	if !b.joined("/", nil) {
		t.Error("it is not joined")
	}
}
