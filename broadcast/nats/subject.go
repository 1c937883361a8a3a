package nats

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

const (
	serverLen = 6   // what of a socket's ID names its server
	idLen     = 20  // a socket's ID
	maxName   = 300 // NATS has a bound for the line with the subject (max_control_line)
)

var b64 = base64.RawURLEncoding

// token is a name as one token of a subject.
func token(name string) string {
	switch {
	case name == "":
		return "~"
	case len(name) > maxName:
		sum := sha256.Sum256([]byte(name))
		return "~" + b64.EncodeToString(sum[:])
	}
	return b64.EncodeToString([]byte(name))
}

// word is an own word as one token, or a foreign one that is made harmless.
func word(s string) string {
	if len(s) <= 64 && isWord(s) {
		return s
	}
	return token(s)
}

// space is what the subjects of a namespace begin with.
func space(prefix, namespace string) string { return prefix + "." + token(namespace) }

// roomSubject is where events for one room are. Those for what looks like a socket's ID
// are where a server gets all its sockets' by one subscription.
func roomSubject(space, room string) string {
	if len(room) == idLen {
		return space + ".sock." + token(room[:serverLen]) + "." + token(room[serverLen:])
	}
	return space + ".room." + token(room)
}

// Kinds of frames.
const (
	passing = iota // heartbeats and answers
	keep           // what a stream keeps
)

// subject is where a message goes, and of which kind it is.
func subject(prefix string, m *cluster.Message) (s string, kind int) {
	at := space(prefix, m.Namespace)
	rooms := m.Target.Rooms
	switch {
	case m.To != "":
		return at + ".node." + word(m.To), passing
	case m.Type == cluster.InitialHeartbeat || m.Type == cluster.Heartbeat || m.Type == cluster.AdapterClose:
		return at + ".beat", passing
	case m.Type == cluster.Broadcast && m.RequestID == "" && len(rooms) == 1:
		return roomSubject(at, rooms[0]), keep
	}
	return at + ".all", keep
}

// encode makes a frame of a message.
func encode(prefix string, m *cluster.Message) (f cluster.Frame, err error) {
	f.Channel, f.Kind = subject(prefix, m)
	if len(m.Payload.Attachments) > 0 {
		f.Data, err = cluster.AppendMsgpack(nil, m)
	} else {
		f.Data = cluster.AppendJSON(nil, m)
	}
	return f, err
}
