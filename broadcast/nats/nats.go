package nats

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Options configure an adapter. In each field 0 means the default.
type Options struct {
	cluster.Options

	// Prefix begins all subjects. Default "sio".
	Prefix string
	// MaxReceived bounds the bytes that have come from NATS and wait for loops that are
	// behind. What is beyond is lost and counted, or, with JetStream, read again later.
	// Default 64 MiB.
	MaxReceived int
	// Linger is how long a room's subscription stays after the last member has left.
	// Default 500 ms.
	Linger time.Duration
	// JetStream, if not nil, keeps events in a stream: see the package's comment.
	JetStream *JetStream
}

// JetStream describes the stream. New makes it if it is missing, and else leaves it as it
// is, and refuses it if it would lose something.
type JetStream struct {
	// Stream is its name. Default: "sockeye", or, with another Prefix, "sockeye-" and that.
	Stream string
	// MaxAge and MaxBytes bound what is kept. Defaults 2 min, 256 MiB.
	MaxAge   time.Duration
	MaxBytes int64
	// Replicas is the number of NATS servers that keep it, and sessions. Default 1.
	Replicas int
	// Memory keeps it in memory, not in files.
	Memory bool

	// Recovery has sockets come back on any server, with Config.Recovery: what they have
	// missed is read from the stream, as long as it is kept, and what is known of them from a
	// key-value bucket. This server then gets what is for all rooms, and its own sockets get
	// events by the stream, too. nats-server 2.11 or later is needed.
	Recovery bool
	// Sessions is the bucket's name; New makes it if it is missing. Default: Stream and
	// "-sessions".
	Sessions string
	// MaxSessionBytes bounds what is kept of sessions: beyond it those go that were written
	// longest ago. Default 256 MiB.
	MaxSessionBytes int64
}

// Errors of New, and of calls.
var (
	errNoConn  = errors.New("nats: no connection is given")
	errPrefix  = errors.New("nats: a prefix is words of letters, digits, - and _ with dots between them")
	errStream  = errors.New("nats: a stream's name has letters, digits, - and _ only")
	errOffline = errors.New("nats: the connection is not up")
	errReset   = errors.New("nats: the connection was made again meanwhile")

	errNoLeader = errors.New("nats: the stream has no leader at present")

	// ErrNoJetStream is New's where JetStream is wanted and NATS has none.
	ErrNoJetStream = errors.New("nats: JetStream is not enabled: start nats-server with -js, or with jetstream {} in its configuration, and allow it for the account")

	// ErrTooLarge refuses a message that the NATS server does not take (max_payload).
	ErrTooLarge = errors.New("nats: the message is too large for the NATS server")
)

// New makes an adapter on a connection, which stays the user's. With JetStream it waits
// for NATS, and the connection must be up.
func New(nc *nats.Conn, o Options) (*cluster.Adapter, error) {
	a, _, err := open(nc, o)
	return a, err
}

func open(nc *nats.Conn, o Options) (a *cluster.Adapter, b *bus, err error) {
	if nc == nil {
		return nil, nil, errNoConn
	}
	if o.Prefix, err = prefix(o.Prefix); err != nil {
		return nil, nil, err
	}
	o.NamespaceHeartbeats = true // NATS does not count who is there
	o.MaxReceived = cmp.Or(o.MaxReceived, 64<<20)
	o.Linger = cmp.Or(o.Linger, 500*time.Millisecond)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	b = newBus(nc, o)
	if o.JetStream != nil {
		if b.kept, err = newKept(b, *o.JetStream); err != nil {
			return nil, nil, err
		}
	}
	if b.whole() {
		a, err = cluster.New(keepingBus{b}, o.Options)
	} else {
		a, err = cluster.New(b, o.Options)
	}
	return a, b, err
}

// prefix is a prefix, or the default.
func prefix(p string) (string, error) {
	p = cmp.Or(p, "sio")
	for word := range strings.SplitSeq(p, ".") {
		if !isWord(word) {
			return "", fmt.Errorf("%w: %q", errPrefix, p)
		}
	}
	return p, nil
}

// isWord tells whether s is a token of a subject as it is.
func isWord(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
