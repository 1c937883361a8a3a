package pyredis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// TestEncode: messages are, byte for byte but for spaces, what PubSubManager publishes.
func TestEncode(t *testing.T) {
	const id, id2 = "abcdefghijklmnopqrst", "ABCDEFGHIJKLMNO-_123"
	payload := broadcast.Payload{JSON: []byte(`["hello","x",{"a":[1,2]}]`)}
	for _, c := range []struct {
		m    cluster.Message
		want string
	}{
		{
			cluster.Message{Type: cluster.Broadcast, Payload: payload, Namespace: "/"},
			`{"method":"emit","event":"hello","data":["x",{"a":[1,2]}],"binary":false,"namespace":"/","room":null,"skip_sid":null,"callback":null,"host_id":"me"}`,
		},
		{
			cluster.Message{Type: cluster.Broadcast, Payload: broadcast.Payload{JSON: []byte(`["e"]`)}, Namespace: "/a", Target: broadcast.Target{Rooms: []string{"r1"}, Except: []string{id}}},
			`{"method":"emit","event":"e","data":[],"binary":false,"namespace":"/a","room":"r1","skip_sid":"abcdefghijklmnopqrst","callback":null,"host_id":"me"}`,
		},
		{
			cluster.Message{Type: cluster.Broadcast, RequestID: "7", Namespace: "/a", Target: broadcast.Target{Rooms: []string{id}, Except: []string{id, id2}}, Payload: broadcast.Payload{JSON: []byte(`["e",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1, 2}}}},
			`{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":0}],"AQI="],"binary":true,"namespace":"/a","room":"abcdefghijklmnopqrst","skip_sid":["abcdefghijklmnopqrst","ABCDEFGHIJKLMNO-_123"],"callback":["abcdefghijklmnopqrst","/a",7],"host_id":"me"}`,
		},
		{
			cluster.Message{Type: cluster.SocketsJoin, Namespace: "/", Target: broadcast.Target{Rooms: []string{id}}, Rooms: []string{"r"}},
			`{"method":"enter_room","sid":"abcdefghijklmnopqrst","room":"r","namespace":"/","host_id":"me"}`,
		},
		{
			cluster.Message{Type: cluster.SocketsLeave, Namespace: "/", Target: broadcast.Target{Rooms: []string{id}}, Rooms: []string{"r"}},
			`{"method":"leave_room","sid":"abcdefghijklmnopqrst","room":"r","namespace":"/","host_id":"me"}`,
		},
		{
			cluster.Message{Type: cluster.SocketsLeave, Namespace: "/", Target: broadcast.Target{Rooms: []string{"r"}}, Rooms: []string{"r"}},
			`{"method":"close_room","room":"r","namespace":"/","host_id":"me"}`,
		},
		{
			cluster.Message{Type: cluster.DisconnectSockets, Namespace: "/", Target: broadcast.Target{Rooms: []string{id}}},
			`{"method":"disconnect","sid":"abcdefghijklmnopqrst","namespace":"/","host_id":"me"}`,
		},
	} {
		got, err := encode("me", &c.m)
		if err != nil || string(got) != c.want {
			t.Errorf("%v\n%s, not\n%s", err, got, c.want)
		}
	}
	for _, m := range []cluster.Message{
		{Type: cluster.Broadcast, Payload: payload, Target: broadcast.Target{Except: []string{"room"}}},
		{Type: cluster.FetchSockets},
		{Type: cluster.ServerSideEmit},
		{Type: cluster.BroadcastAck, Payload: broadcast.Payload{JSON: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}}},
	} {
		if _, err := encode("me", &m); !errors.Is(err, broadcast.ErrUnsupported) {
			t.Errorf("%v for type %d", err, m.Type)
		}
	}
}

// vectors are messages, and what they mean; "" for those that are refused.
var vectors = []struct{ in, want string }{
	{`{"method": "emit", "event": "hello", "data": ["x", 2], "binary": false, "namespace": "/admin", "room": "r1", "skip_sid": null, "callback": null, "host_id": "h"}`, `3 h /admin ["hello","x",2] [r1] []`},
	{`{"method": "emit", "event": "e", "data": [null], "binary": false, "namespace": "/", "room": ["a", 5], "skip_sid": ["abcdefghijklmnopqrst", "room", null], "callback": null, "host_id": "h"}`, ``},
	{`{"method": "emit", "event": "e", "data": [null], "binary": false, "namespace": "/", "room": ["a", 5], "skip_sid": ["abcdefghijklmnopqrst", "room"], "callback": null, "host_id": "h"}`, `3 h / ["e"] [a 5] [abcdefghijklmnopqrst]`},
	{`{"method": "emit", "event": "e", "data": [], "namespace": "/", "host_id": "h"}`, `3 h / ["e"] [] []`},
	{`{"method": "emit", "event": "e", "data": {"not": "a list"}, "namespace": "/"}`, `3  / ["e",{"not": "a list"}] [] []`},
	{`{"method": "emit", "event": "e", "data": null, "namespace": "/"}`, `3  / ["e"] [] []`},
	{`{"method": "emit", "event": "e", "data": [[null]], "namespace": "/", "room": 5}`, `3  / ["e",[null]] [5] []`},
	{`{"method": "emit", "event": "e", "data": [[{"_placeholder": true, "num": 0}, 1], "AQI="], "binary": true, "namespace": "/", "host_id": "h"}`, `3 h / ["e",{"_placeholder": true, "num": 0},1] [] [] [[1 2]]`},
	{`{"method": "emit", "event": "e", "data": [{"_placeholder": true, "num": 0}], "binary": false, "namespace": "/", "host_id": "h"}`, `3 h / ["e",{"_placeholder": true, "num": 0}] [] []`},
	{`{"method": "emit", "event": "e", "data": [1], "namespace": "/", "room": "abcdefghijklmnopqrst", "callback": ["abcdefghijklmnopqrst", "/", 1], "host_id": "h"}`, `3 h / ["e",1] [abcdefghijklmnopqrst] [] {"method":"callback","host_id":"h","sid":"abcdefghijklmnopqrst","namespace":"/","id":1,"args":`},
	{`{"method": "callback", "host_id": "h", "sid": "s", "namespace": "/", "id": 7, "args": [1, "2"]}`, `callback h / s 7 [1, "2"]`},
	{`{"method": "callback", "host_id": "h", "sid": "s", "namespace": "/", "id": -7, "args": []}`, `callback h / s 0 []`},
	{`{"method": "disconnect", "sid": "s", "namespace": "/", "host_id": "h"}`, `6 h / s [s] []`},
	{`{"method": "enter_room", "sid": "s", "room": "r", "namespace": "/", "host_id": "h"}`, `4 h / s [s] [r]`},
	{`{"method": "leave_room", "sid": "s", "room": 1, "namespace": "/", "host_id": "h"}`, `5 h / s [s] [1]`},
	{`{"method": "close_room", "room": "r", "namespace": "/", "host_id": "h"}`, `5 h /  [r] [r]`},
	{`{"method": "what", "namespace": 1}`, ``},
	{`{"method": "what"}`, `nothing`},

	{"{\"method\": \"emit\", \"event\": \"e\", \"data\": {\"text\": \"\xed\"}, \"namespace\": \"/\"}", ``},
	{"{\"method\": \"emit\", \"event\": \"e\", \"data\": [\"\xed\"], \"namespace\": \"/\"}", ``},
	{"{\"method\": \"callback\", \"host_id\": \"h\", \"sid\": \"s\", \"namespace\": \"/\", \"id\": 7, \"args\": [\"\xed\"]}", ``},

	// a pickle of python-socketio 5.13
	{"\x80\x04\x95\x14\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x06method\x94\x8c\x04emit\x94s.", ``},
	{``, ``},
	{`[]`, ``},
	{`{`, ``},
	{`{}`, ``},
	{`{"method": 1}`, ``},
	{`{"method": "emit", "event": 1, "data": [], "namespace": "/"}`, ``},
	{`{"method": "emit", "event": "e", "namespace": "/"}`, ``},
	{`{"method": "emit", "event": "e", "data": []}`, ``},
	{`{"method": "emit", "event": "e", "data": [], "namespace": "/", "room": true}`, ``},
	{`{"method": "emit", "event": "e", "data": [], "namespace": "/", "room": []}`, ``},
	{`{"method": "emit", "event": "e", "data": [], "namespace": "/", "room": [[]]}`, ``},
	{`{"method": "emit", "event": "e", "data": [], "namespace": "/", "room": {}}`, ``},
	{`{"method": "emit", "event": "e", "data": [], "namespace": "/", "callback": 1}`, ``},
	{`{"method": "emit", "event": "e", "data": [], "namespace": "/", "binary": 1}`, ``},
	{`{"method": "emit", "event": "e", "data": [[]], "binary": true, "namespace": "/"}`, ``},
	{`{"method": "emit", "event": "e", "data": [[], "AQI="], "binary": true, "namespace": "/"}`, `3  / ["e"] [] [] [[1 2]]`},
	{`{"method": "emit", "event": "e", "data": [[{"_placeholder": true, "num": 0}], "?"], "binary": true, "namespace": "/"}`, ``},
	{`{"method": "emit", "event": "e", "data": [[{"_placeholder": true, "num": 0}], [1]], "binary": true, "namespace": "/"}`, ``},
	{`{"method": "emit", "event": "e", "data": [[{"_placeholder": true, "num": 1}], "AQI="], "binary": true, "namespace": "/"}`, ``},
	{`{"method": "emit", "event": "e", "data": {}, "binary": true, "namespace": "/"}`, ``},
	{`{"method": "emit", "event": "e", "data": [NaN], "namespace": "/"}`, ``},
	{`{"method": "callback", "host_id": "h", "sid": "s", "namespace": "/", "id": 7, "args": 1}`, ``},
	{`{"method": "callback", "host_id": "h", "sid": ["s"], "namespace": "/", "id": 7, "args": []}`, ``},
	{`{"method": "disconnect", "namespace": "/"}`, ``},
	{`{"method": "disconnect", "sid": ["s"], "namespace": "/"}`, ``},
	{`{"method": "enter_room", "sid": "s", "namespace": "/"}`, ``},
	{`{"method": "close_room", "namespace": "/"}`, ``},
	{`{"method": "close_room", "room": null, "namespace": "/"}`, ``},
}

// meaning is a message as a text.
func meaning(d *message, err error) string {
	switch {
	case err != nil:
		return ""
	case d == nil:
		return "nothing"
	case d.m == nil:
		return text("callback", d.host, d.namespace, d.sid, d.id, string(d.args.JSON))
	case d.m.Type != cluster.Broadcast:
		return text(int(d.m.Type), d.host, d.namespace, d.sid, d.m.Target.Rooms, d.m.Rooms)
	}
	list := []any{int(d.m.Type), d.host, d.namespace, string(d.m.Payload.JSON), d.m.Target.Rooms, d.m.Target.Except}
	if len(d.m.Payload.Attachments) > 0 {
		list = append(list, d.m.Payload.Attachments)
	}
	if d.m.RequestID != "" {
		list = append(list, d.m.RequestID)
	}
	return text(list...)
}

func TestDecode(t *testing.T) {
	for _, v := range vectors {
		if got := meaning(decode([]byte(v.in))); got != v.want {
			t.Errorf("%s\n%q, not\n%q", v.in, got, v.want)
		}
	}
}

// FuzzDecode: nothing panics, what is read can be written, and is then read as the same.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors {
		f.Add([]byte(v.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		kept := bytes.Clone(in)
		d, err := decode(in)
		if !bytes.Equal(in, kept) {
			t.Fatal("decode writes into its input")
		}
		if err != nil || d == nil || d.m == nil {
			return
		}
		m := *d.m
		if m.RequestID != "" { // the answer is JSON, with the asker's values
			ack := cluster.Message{Type: cluster.BroadcastAck, RequestID: m.RequestID, Payload: broadcast.Payload{JSON: []byte(`[1]`)}}
			out, err := encode("me", &ack)
			if err != nil || !json.Valid(out) {
				t.Fatalf("%v %q", err, out)
			}
			m.RequestID = ""
		}
		if m.Type == cluster.SocketsLeave && (d.sid == "") == isID(m.Target.Rooms[0]) {
			return // the server never sends it so
		}
		out, err := encode(d.host, &m)
		if err != nil || !json.Valid(out) {
			t.Fatalf("%v %q", err, out)
		}
		if strings.ContainsAny(d.host, "\"\\") || !json.Valid([]byte(`"`+d.host+`"`)) || len(m.Target.Rooms) == 1 && m.Type == cluster.Broadcast {
			return // hosts here are plain; one room in a list is written as one
		}
		d.m.RequestID = ""
		d2, err := decode(out)
		if err != nil || meaning(d2, err) != meaning(d, nil) {
			t.Fatalf("%v\n%q\n%q", err, meaning(d, nil), meaning(d2, err))
		}
	})
}

func text(list ...any) string {
	return strings.TrimSuffix(fmt.Sprintln(list...), "\n")
}
