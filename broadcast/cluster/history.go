package cluster

import (
	"context"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// Keeper is implemented by a Bus that keeps broadcasts, hands them back to the server that
// has sent them if they have a Number, and keeps sessions. See broadcast.History.
type Keeper interface {
	Position(namespace string) string
	Compare(a, b string) (order int, ok bool)
	// ReadKept returns broadcasts of a namespace, with their offsets.
	ReadKept(ctx context.Context, namespace, after, upto string, rooms []string, maxBytes int) (list []*Message, next string, err error)
	TakeSession(ctx context.Context, pid, owner string, lease time.Duration) (data []byte, was string, err error)
	PutSessions(ctx context.Context, list []broadcast.StoredSession) (lost []int, err error)
}

// history is a node's, if its bus is a Keeper.
type history struct {
	Keeper
	n *node
}

// History is nil if the bus keeps nothing.
func (n *node) History() broadcast.History {
	if n.keeper == nil {
		return nil
	}
	return history{n.keeper, n}
}

func (h history) Append(p broadcast.Payload, t broadcast.Target, number uint64) error {
	return h.n.tell(&Message{Type: Broadcast, Payload: p, Target: t, Number: number})
}

func (h history) Origin() string { return h.n.a.uid }

func (h history) Position() string { return h.Keeper.Position(h.n.name) }

func (h history) Read(ctx context.Context, after, upto string, rooms []string, maxBytes int) (list []broadcast.Kept, next string, err error) {
	messages, next, err := h.ReadKept(ctx, h.n.name, after, upto, rooms, maxBytes)
	for _, m := range messages {
		list = append(list, m.kept())
	}
	return list, next, err
}

func (m *Message) kept() broadcast.Kept {
	return broadcast.Kept{Offset: m.Offset, Origin: m.UID, Number: m.Number, Payload: m.Payload, Target: m.Target}
}

// recorder is who gets a message as one that is kept; nil if it is none.
func (n *node) recorder(m *Message) broadcast.Recorder {
	if n.keeper == nil || m.Type != Broadcast || m.RequestID != "" || m.Offset == "" || m.Target.Volatile {
		return nil
	}
	r, _ := n.local.(broadcast.Recorder)
	return r
}
