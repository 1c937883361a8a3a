package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/internal/ratelog"
)

// kept is what JetStream keeps. What has been stored comes by subscriptions, with its
// number; what lies between two epochs of the inbox is read from the stream.
type kept struct {
	// Immutable after newKept.
	b      *bus
	js     jetstream.JetStream
	o      JetStream
	prefix string // of what the stream hands on
	api    string // begins JetStream's subjects
	inbox  *inbox
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // until Close
	ready  chan struct{}   // closed when it is known from where the stream is read
	lacks  chan struct{}   // has an element when the bucket has not been found
	x      exchange
	log    *ratelog.Log

	// Any goroutine (atomic).
	position   atomic.Pointer[string] // with recovery: the last place that has been handed on
	maxMessage atomic.Int64           // of the stream; 0: it has no bound of its own
	maxRecord  atomic.Int64           // of the bucket

	// deliver's own.
	known bool
	made  uint64    // when the stream was made, in ms
	last  uint64    // the number of the last message that has been handed on, or passed over
	when  time.Time // when that was stored
}

const (
	openTimeout = 5 * time.Second
	readTimeout = 10 * time.Second
	maxFilters  = 100 // more subjects are filtered here
	readBatch   = 64
	pullTimeout = 2 * time.Second // without a message
	// maxJump is how far a number may be ahead before the stream is asked whether it is so.
	maxJump = 100_000
)

// Headers of what a stream hands on.
const (
	headerSequence = "Nats-Sequence"
	headerStream   = "Nats-Stream"
)

func newKept(b *bus, o JetStream) (*kept, error) {
	if o.Stream == "" {
		o.Stream = "sockeye"
		if b.o.Prefix != "sio" {
			o.Stream += "-" + strings.ReplaceAll(b.o.Prefix, ".", "-")
		}
	}
	o.Sessions = cmp.Or(o.Sessions, o.Stream+"-sessions")
	for _, name := range []string{o.Stream, o.Sessions} {
		if !isWord(name) {
			return nil, fmt.Errorf("%w: %q", errStream, name)
		}
	}
	if !b.nc.IsConnected() {
		return nil, errOffline
	}
	o.MaxAge = cmp.Or(o.MaxAge, 2*time.Minute)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.MaxSessionBytes = cmp.Or(o.MaxSessionBytes, 256<<20)
	o.Replicas = cmp.Or(o.Replicas, 1)
	js, err := jetstream.New(b.nc)
	if err != nil {
		return nil, fmt.Errorf("nats: JetStream: %w", err)
	}
	k := &kept{
		b: b, js: js, o: o, prefix: keptPrefix(b.o.Prefix), api: cmp.Or(js.Options().APIPrefix, jetstream.DefaultAPIPrefix),
		inbox: newInbox(b.o.MaxReceived), ready: make(chan struct{}), lacks: make(chan struct{}, 1), log: ratelog.New(b.o.Logger),
	}
	k.x.init(b.nc)
	k.ctx, k.cancel = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(k.ctx, openTimeout)
	defer cancel()
	for {
		_, err := k.ensure(ctx)
		if err == nil && o.Recovery {
			err = k.ensureBucket(ctx)
		}
		if !errors.Is(err, errNoLeader) {
			return k, err
		}
		select {
		case <-time.After(openTimeout / 50):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// keptPrefix begins the subjects of what a stream hands on.
func keptPrefix(prefix string) string { return prefix + "-kept." }

// ensure has the stream exist, and one that leads it: others may answer, meanwhile, and are
// behind.
func (k *kept) ensure(ctx context.Context) (jetstream.Stream, error) {
	p := k.b.o.Prefix
	wanted := jetstream.StreamConfig{
		Name: k.o.Stream, Description: "events of Socket.IO servers, for those that were cut off",
		Subjects: []string{p + ".*.all", p + ".*.room.*", p + ".*.sock.*.*"},
		MaxAge:   k.o.MaxAge, MaxBytes: k.o.MaxBytes, AllowDirect: true,
		RePublish: &jetstream.RePublish{Source: ">", Destination: k.prefix + ">"},
	}
	s, err := k.ensureStream(ctx, wanted)
	if err != nil {
		return nil, err
	}
	info := s.CachedInfo()
	c := &info.Config
	switch r := c.RePublish; {
	case r == nil || r.Destination != k.prefix+">" || r.Source != ">" && r.Source != "" || r.HeadersOnly:
		return nil, fmt.Errorf("nats: stream %q does not hand all on to %s (RePublish)", k.o.Stream, k.prefix+">")
	case c.MaxMsgsPerSubject > 0:
		return nil, fmt.Errorf("nats: stream %q keeps only some events of each room: nats stream edit %s --max-msgs-per-subject=-1", k.o.Stream, k.o.Stream)
	case k.o.Recovery && !c.AllowDirect:
		return nil, fmt.Errorf("nats: stream %q cannot be read directly, as Recovery needs it: nats stream edit %s --allow-direct", k.o.Stream, k.o.Stream)
	}
	if err := unfit("stream", k.o.Stream, c, wanted.Subjects); err != nil {
		return nil, err
	}
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return nil, fmt.Errorf("%w: %q", errNoLeader, k.o.Stream)
	}
	k.maxMessage.Store(int64(max(c.MaxMsgSize, 0)))
	return s, nil
}

// ensureBucket has the bucket exist.
func (k *kept) ensureBucket(ctx context.Context) error {
	wanted := k.bucket()
	s, err := k.ensureStream(ctx, wanted)
	if err != nil {
		return err
	}
	c := &s.CachedInfo().Config
	switch {
	case !c.AllowMsgTTL:
		return fmt.Errorf("nats: bucket %q takes no expiry of a single record (AllowMsgTTL), as Recovery needs it: remove it, and have nats-server 2.11 or later", k.o.Sessions)
	case !c.AllowDirect:
		return fmt.Errorf("nats: bucket %q cannot be read directly: nats stream edit %s --allow-direct", k.o.Sessions, wanted.Name)
	}
	k.maxRecord.Store(int64(max(c.MaxMsgSize, 0)))
	return unfit("bucket", k.o.Sessions, c, wanted.Subjects)
}

// unfit tells why a stream that was found does not do; nil if it does.
func unfit(what, name string, c *jetstream.StreamConfig, subjects []string) error {
	bounded := c.MaxBytes > 0 || c.MaxMsgs > 0
	for _, u := range []struct {
		is      bool
		because string
	}{
		{c.Retention != jetstream.LimitsPolicy, "does not keep what nobody consumes (its retention is not by limits)"},
		{c.NoAck, "does not say what it has stored (NoAck)"},
		{c.Sealed, "takes nothing (Sealed)"},
		{c.Discard == jetstream.DiscardNew && (bounded || c.DiscardNewPerSubject), "refuses what is new when it is full: nats stream edit " + c.Name + " --discard=old"},
		{c.SubjectTransform != nil, "changes subjects (SubjectTransform)"},
		{c.AllowMsgCounter, "takes numbers only (AllowMsgCounter)"},
	} {
		if u.is {
			return fmt.Errorf("nats: %s %q %s", what, name, u.because)
		}
	}
	for _, subject := range subjects {
		if !slices.ContainsFunc(c.Subjects, func(s string) bool { return covers(s, subject) }) {
			return fmt.Errorf("nats: %s %q has not all that is sent: it lacks the subject %s", what, name, subject)
		}
	}
	return nil
}

// covers tells whether all that one pattern of subjects has is another's, too.
func covers(pattern, other string) bool {
	a, b := strings.Split(pattern, "."), strings.Split(other, ".")
	for i, word := range a {
		switch {
		case i == len(b):
			return false
		case word == ">":
			return true
		case b[i] == ">" || word != "*" && word != b[i]:
			return false
		}
	}
	return len(a) == len(b)
}

// ensureStream has a stream exist.
func (k *kept) ensureStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := k.js.Stream(ctx, c.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		c.Storage, c.Replicas = jetstream.FileStorage, k.o.Replicas
		if k.o.Memory {
			c.Storage = jetstream.MemoryStorage
		}
		s, err = k.js.CreateStream(ctx, c)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another server has just made it
			s, err = k.js.Stream(ctx, c.Name)
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w: %w", ErrNoJetStream, err)
	case err != nil:
		return nil, fmt.Errorf("nats: stream %q: %w", c.Name, err)
	}
	return s, nil
}

func (k *kept) close() {
	k.cancel()
	k.inbox.close()
}

// deliver hands on what is in the inbox.
func (k *kept) deliver() {
	epoch, begun := uint64(0), false
	for {
		if !begun { // from here on nothing is to be missed
			begun = k.catchUp()
		}
		m, ok := k.inbox.pop(epoch)
		if !ok {
			return
		}
		if m.epoch != epoch {
			if !k.catchUp() {
				return
			}
			epoch = m.epoch
		}
		if m.Msg != nil {
			k.live(m.Msg)
		}
	}
}

var errForged = errors.New("it has no number of the stream's")

// live hands on what a subscription has brought, unless it has been read.
func (k *kept) live(m *nats.Msg) {
	s, err := readStored(m, k.o.Stream)
	if err != nil || s.copied {
		k.b.a.Ignore(m.Subject, errForged)
		return
	}
	s.subject = m.Subject[len(k.prefix):]
	// The first of a stream is looked at in any case: the stream may be new, and its clock behind.
	if again := s.seq <= k.last && s.when.After(k.when) || s.seq == 1 && k.o.Recovery; again || s.seq > k.last+k.jump() { // or some are missing
		if !k.catchUp() {
			return
		}
		if again && s.seq > k.last || s.seq > k.last+k.jump() {
			k.b.a.Ignore(m.Subject, errForged)
			return
		}
	}
	if s.seq > k.last {
		k.hand(s)
	}
}

// jump is how far a number may be ahead.
func (k *kept) jump() uint64 {
	if k.o.Recovery {
		return 1 // all that is stored comes
	}
	return maxJump
}

// hand hands on what is the next in the stream.
func (k *kept) hand(s stored) {
	s.made, k.last, k.when = k.made, s.seq, s.when
	if !k.o.Recovery {
		k.b.receive(s.subject, s.data)
		return
	}
	// Who joins a namespace meanwhile gets it, or finds that it has been passed over.
	if k.b.topics.joined(spaceOf(k.b.o.Prefix, s.subject), func() { k.reached(s.place) }) {
		k.take(s)
		k.reached(s.place)
	}
}

// take hands on what is stored to a namespace of this server's.
func (k *kept) take(s stored) {
	if k.b.a.Own(s.data) {
		return
	}
	m, err := k.decode(s, k.made)
	if err != nil {
		k.b.a.Ignore(s.subject, err)
		return
	}
	k.b.a.Receive(m, len(s.data))
}

// catchUp hands on what is in the stream and has not come, as soon as that can be done;
// false at the end.
func (k *kept) catchUp() bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := k.read()
		if err == nil {
			return true
		}
		if k.ctx.Err() != nil {
			return false
		}
		if k.b.nc.IsConnected() {
			k.b.o.Logger.Warn("nats: the stream cannot be read", "stream", k.o.Stream, "error", err)
		}
		select {
		case <-time.After(wait):
		case <-k.ctx.Done():
			return false
		}
	}
}

// read hands on what is in the stream and has not come. What is stored from now on
// comes by the subscriptions that there are.
func (k *kept) read() error {
	ctx, cancel := context.WithTimeout(k.ctx, readTimeout)
	defer cancel()
	if !k.b.nc.IsConnected() {
		return errOffline
	}
	subjects, info, err := k.look(ctx)
	if err != nil {
		return err
	}
	state := info.State
	end := place{made: made(info), seq: state.LastSeq, at: stamp(state.LastTime)}
	switch {
	case !k.known:
		k.known, k.made, k.last, k.when = true, end.made, end.seq, state.LastTime
	case end.made != k.made:
		k.b.o.Logger.Error("nats: the stream is another one: what was in the old one is lost", "stream", k.o.Stream)
		k.made, k.last, k.when = end.made, 0, time.Time{}
	default:
		if err := k.follow(ctx, state); err != nil {
			return err
		}
		if state.FirstSeq > k.last+1 && end.seq > k.last && !k.o.Recovery {
			k.b.o.Logger.Error("nats: the stream no longer has all that has been missed", "stream", k.o.Stream, "messages, of all servers", state.FirstSeq-k.last-1)
		}
	}
	switch {
	case k.o.Recovery:
		if err := k.readAll(ctx, end.seq); err != nil {
			return err
		}
		if k.last == end.seq {
			k.reached(end)
		}
	case end.seq > k.last && len(subjects) > 0:
		if err := k.readTo(ctx, subjects, end.seq); err != nil {
			return err
		}
	}
	if k.last <= end.seq {
		k.last, k.when = end.seq, state.LastTime
	}
	return nil
}

// follow goes back to where the stream is, if it has lost what was stored last, and has given
// numbers anew. That it ends earlier shows nothing alone: who was asked may be behind.
func (k *kept) follow(ctx context.Context, state jetstream.StreamState) error {
	if k.last == 0 || k.when.IsZero() {
		return nil
	}
	if state.LastSeq >= k.last {
		s, err := k.leaders(ctx, k.o.Stream, fmt.Sprintf(`{"seq":%d}`, k.last))
		if errors.Is(err, errNone) || err == nil && s.when.Equal(k.when) {
			return nil // it has been trimmed, or it is what it was
		}
		if err != nil {
			return err
		}
	} else if !state.LastTime.After(k.when) {
		return nil
	}
	from, to := max(state.FirstSeq, 1), state.LastSeq+1 // the first that is later than the last one that was handed on
	for from < to {
		middle := from + (to-from)/2
		s, err := k.leaders(ctx, k.o.Stream, fmt.Sprintf(`{"seq":%d,"next_by_subj":">"}`, middle))
		switch {
		case errors.Is(err, errNone):
			to = middle
		case err != nil:
			return err
		case s.when.After(k.when):
			to = middle
		default:
			from = s.seq + 1
		}
	}
	k.b.o.Logger.Error("nats: the stream has lost what was stored last", "stream", k.o.Stream, "up to", k.last, "it goes on behind", from-1)
	k.last = from - 1
	return nil
}

// look returns the subjects in the stream that are subscribed to, and how far the stream
// was at a moment from which on they are, all of them.
func (k *kept) look(ctx context.Context) (subjects []string, info *jetstream.StreamInfo, err error) {
	ts := &k.b.topics
	ts.tending.Lock() // a subscription that came between would miss what is stored between
	defer ts.tending.Unlock()
	if _, err := ts.tendLocked(k.b.subscribe); err != nil {
		return nil, nil, err
	}
	subjects = ts.active(func(s string) bool { return strings.HasPrefix(s, k.prefix) })
	if err := k.b.nc.FlushWithContext(ctx); err != nil {
		return nil, nil, err
	}
	s, err := k.ensure(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range subjects {
		subjects[i] = subjects[i][len(k.prefix):]
	}
	return subjects, s.CachedInfo(), nil
}

var errGap = errors.New("messages were lost on the way")

// readTo hands on what is in the stream up to a number.
func (k *kept) readTo(ctx context.Context, subjects []string, to uint64) error {
	filters, wanted := subjects, map[string]bool(nil)
	if len(subjects) > maxFilters {
		wanted = map[string]bool{}
		spaces := map[string]bool{}
		for _, s := range subjects {
			wanted[s] = true
			spaces[spaceOf(k.b.o.Prefix, s)+".>"] = true
		}
		filters = filters[:0:0]
		for s := range spaces {
			filters = append(filters, s)
		}
		if len(filters) > maxFilters {
			filters = nil
		}
	}
	slices.Sort(filters)
	c, err := k.js.CreateConsumer(ctx, k.o.Stream, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: k.last + 1,
		FilterSubjects: filters, InactiveThreshold: 2 * readTimeout, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return err
	}
	defer func() { _ = k.js.DeleteConsumer(context.WithoutCancel(ctx), k.o.Stream, c.CachedInfo().Name) }() // or it ends by itself
	in := make(chan *nats.Msg, 2*readBatch)
	inbox := k.b.nc.NewInbox()
	sub, err := k.b.nc.ChanSubscribe(inbox, in)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	next := k.api + "CONSUMER.MSG.NEXT." + k.o.Stream + "." + c.CachedInfo().Name
	handed := uint64(0) // what the consumer has handed out: nothing of it must get lost on the way
	for {
		before := handed
		if err := k.b.nc.PublishRequest(next, inbox, fmt.Appendf(nil, `{"batch":%d,"no_wait":true}`, readBatch)); err != nil {
			return err
		}
		for range readBatch {
			m, err := pull(ctx, in)
			if err != nil {
				return err
			}
			// The library's Fetch takes what it is told from headers, which are anybody's.
			if !strings.HasPrefix(m.Reply, "$JS.ACK.") {
				break // there is no more at present
			}
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if handed++; meta.Sequence.Consumer != handed {
				return errGap
			}
			seq := meta.Sequence.Stream
			if seq > to {
				k.last = to
				return nil
			}
			if seq <= k.last {
				continue
			}
			k.last, k.when = seq, meta.Timestamp
			if wanted == nil || wants(wanted, m.Subject) {
				k.b.receive(m.Subject, m.Data)
			}
		}
		if handed > before {
			continue
		}
		info, err := c.Info(ctx)
		switch {
		case err != nil:
			return err
		case info.Delivered.Consumer != handed:
			return errGap
		case info.NumPending == 0:
			k.last = to
			return nil
		}
	}
}

// pull is the next message.
func pull(ctx context.Context, in <-chan *nats.Msg) (*nats.Msg, error) {
	timer := time.NewTimer(pullTimeout)
	defer timer.Stop()
	select {
	case m := <-in:
		return m, nil
	case <-timer.C:
		return nil, errGap
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spaceOf is the beginning of a subject that names its namespace.
func spaceOf(prefix, subject string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(subject, prefix+"."), ".")
	return prefix + "." + name
}

// wants tells whether a subject is among those wanted, of which some end with a wildcard.
func wants(wanted map[string]bool, subject string) bool {
	if wanted[subject] {
		return true
	}
	i := strings.LastIndexByte(subject, '.')
	return wanted[subject[:i+1]+">"]
}
