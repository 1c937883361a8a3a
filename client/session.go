package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// session is one Engine.IO session: from a handshake to the end of its transport.
type session struct {
	// Immutable after openBy.
	m       *manager
	sid     string
	patient time.Duration // without a ping: then the server is gone
	beat    time.Duration // between pongs, while pings are not read
	ended   chan struct{} // closed by manager.end

	// The reader's own.
	partial     *sio.Packet // waits for its attachments
	attachments [][]byte
	bytes       int // of partial and attachments

	writing sync.Mutex // held while packets are sent, and while the transport is changed; before mu

	// Guarded by manager.mu.
	flow     flow
	why      error // the first cause of the end
	t        transport
	places   map[string]place
	out      []*message
	outBytes int
	pong     bool // one is to be sent
	ponged   time.Time
	work     signal // for the writer
	watchdog *time.Timer
	linger   *time.Timer
	upgrading
}

// place is what is known of a namespace on this session.
type place struct {
	asked     bool    // CONNECT has been sent, and is not answered
	asker     *Client // by whom; nil if he has gone
	dismissed bool    // a socket of this side has left it
}

// upgrading is how the upgrade and the reader agree.
type upgrading struct {
	cancel context.CancelFunc
	pause  chan struct{} // not nil: to be closed by the reader when no poll is under way
	resume chan struct{} // not nil: to be waited for before a further poll
}

const (
	maxOutBytes   = 4 << 20          // wait for the server before Emit waits
	batchBytes    = 128 << 10        // are given to the transport at once
	writeTimeout  = 30 * time.Second // for the server to take something
	closeTimeout  = 2 * time.Second  // the same, when the session is to end
	maxDrain      = 10 * time.Second // for all that was emitted before
	lookAhead     = 500 * time.Millisecond
	stallTime     = 5 * time.Second
	maxHeartbeat  = 24 * time.Hour
	maxAttachment = 1 << 16 // of one packet
)

// errors that end a session, besides its transport's.
var (
	errClosedByServer = errors.New("client: closed by the server")
	errProtocol       = errors.New("client: the server broke the protocol")
	errPingTimeout    = errors.New("client: no ping of the server in time")
	errUnneeded       = errors.New("client: nobody needs the connection any more")
)

// parseError is of a Socket.IO packet.
type parseError struct{ error }

func (e *parseError) Unwrap() error { return e.error }

// openSession makes the handshake by the first transport that works.
func (m *manager) openSession(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.ConnectTimeout)
	defer cancel()
	var errs []error
	for _, name := range m.cfg.Transports {
		s, err := m.openBy(ctx, name)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w (%v)", ctx.Err(), err)
		}
		errs = append(errs, fmt.Errorf("client: %s: %w", name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (m *manager) openBy(ctx context.Context, name string) (*session, error) {
	t, err := m.dial(ctx, name, "")
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, t.close)
	packets, err := t.receive()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	var h handshake
	if err == nil {
		h, err = readHandshake(packets)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	s := &session{m: m, sid: h.SID, t: t, ended: make(chan struct{}), places: map[string]place{}}
	s.patient = min(time.Duration(h.PingInterval)*time.Millisecond+time.Duration(h.PingTimeout)*time.Millisecond, maxHeartbeat)
	s.beat, s.ponged = time.Duration(h.PingTimeout)*time.Millisecond/3, time.Now()
	t.opened(h)
	s.watchdog = time.AfterFunc(s.patient, func() { s.stop(errPingTimeout) })
	for _, packet := range packets[1:] {
		if err := s.handle(packet); err != nil {
			s.stop(err)
			return nil, err
		}
	}
	go s.write()
	if name == "polling" && slices.Contains(h.Upgrades, "websocket") && slices.Contains(m.cfg.Transports, "websocket") {
		var upgrade context.Context
		upgrade, s.cancel = context.WithTimeout(context.Background(), m.cfg.ConnectTimeout)
		go s.upgrade(upgrade)
	}
	return s, nil
}

// handshake is the server's first packet.
type handshake struct {
	SID                       string
	Upgrades                  []string
	PingInterval, PingTimeout int64 // ms
	MaxPayload                int
}

func readHandshake(packets []eio.Packet) (h handshake, err error) {
	if len(packets) == 0 || packets[0].Type != eio.Open {
		return h, errors.New("client: the server's first packet is no handshake")
	}
	if err := json.Unmarshal(packets[0].Data, &h); err != nil {
		return h, fmt.Errorf("client: the server's handshake: %w", err)
	}
	const limit = int64(maxHeartbeat / time.Millisecond)
	h.PingInterval, h.PingTimeout = min(h.PingInterval, limit), min(h.PingTimeout, limit)
	if h.SID == "" || h.PingInterval <= 0 || h.PingTimeout <= 0 {
		return h, errors.New("client: the server's handshake lacks sid, pingInterval or pingTimeout")
	}
	return h, nil
}

// read handles packets until the transport ends, and returns why it did.
func (s *session) read() error {
	for {
		t := s.next()
		packets, err := t.receive()
		for _, p := range packets {
			if err := s.handle(p); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// next is the transport to be read; it waits while an upgrade is completed.
func (s *session) next() transport {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.paused()
	for s.resume != nil {
		resume := s.resume
		s.m.mu.Unlock()
		<-resume
		s.m.mu.Lock()
	}
	return s.t
}

// paused tells the upgrade that no poll is under way. It is on the reader; m.mu is
// held.
func (s *session) paused() {
	if s.pause != nil {
		close(s.pause)
		s.pause = nil
	}
}

// pace waits while a Client's handlers have enough to do, unless something else is
// waited for that the server may have sent. It is on the reader; m.mu is held, but
// not while it waits.
func (s *session) pace(c *Client) {
	m := s.m
	if !c.full() || c.life == closed {
		return
	}
	s.watchdog.Stop() // pings are not read
	defer func() {
		if s.flow != stopping {
			s.watchdog.Reset(s.patient)
		}
	}()
	tick := time.NewTicker(max(min(s.beat/2, lookAhead/2), time.Millisecond))
	defer tick.Stop()
	for c.full() && s.flow == flowing {
		s.paused()
		crowded := c.bytesQueued > m.cfg.MaxQueuedBytes
		blocked := time.Since(c.lastTaken)
		switch {
		case !crowded && (blocked >= lookAhead || m.answersAwaited()):
			return
		case crowded && blocked >= stallTime:
			m.failAwaited()
		}
		// The server may have sent a ping that is not read yet. Engine.IO v4: it takes
		// a pong that it has not asked for, too.
		if time.Since(s.ponged) >= s.beat {
			s.sendPong()
		}
		changed := m.changed.wait()
		m.mu.Unlock()
		select {
		case <-changed:
		case <-tick.C:
		}
		m.mu.Lock()
	}
}

// answersAwaited tells whether anything but events is waited for. m.mu is held.
func (m *manager) answersAwaited() bool {
	if m.calls > 0 || m.senders > 0 {
		return true
	}
	for _, c := range m.clients {
		if len(c.waiters) > 0 {
			return true
		}
	}
	return false
}

// failAwaited ends the waiting for what cannot be read. m.mu is held.
func (m *manager) failAwaited() {
	for _, c := range m.clients {
		c.failCalls(ErrQueueFull, false)
		c.release(ErrQueueFull, false)
	}
}

// write sends what is queued, until the session ends.
func (s *session) write() {
	for s.waitForWork() {
		s.writing.Lock()
		t, packets := s.take()
		var err error
		switch {
		case t == nil: // it has ended
		case packets == nil: // nothing is left
			err = t.farewell()
		default:
			err = t.send(packets)
		}
		s.writing.Unlock()
		if err != nil {
			s.stop(err)
		}
		if packets == nil || err != nil {
			return // the reader sees the end
		}
		s.m.mu.Lock()
		s.m.space.wake()
		s.m.mu.Unlock()
	}
}

// waitForWork waits until something is to be sent, or nothing will be any more. It
// tells whether the session goes on.
func (s *session) waitForWork() bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for len(s.out) == 0 && !s.pong && s.flow == flowing {
		work := s.work.wait()
		s.m.mu.Unlock()
		<-work
		s.m.mu.Lock()
	}
	return s.flow != stopping
}

// take takes packets to be sent at once, and the transport. Without packets there
// are none any more, without a transport the session has ended.
func (s *session) take() (t transport, packets []eio.Packet) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.flow == stopping {
		return nil, nil
	}
	packets = []eio.Packet{}
	if s.pong {
		s.pong = false
		packets = append(packets, eio.Packet{Type: eio.Pong})
	}
	n, size := 0, 0
	for n < len(s.out) && size < batchBytes {
		packets = append(packets, s.out[n].packets...)
		size += s.out[n].bytes
		s.out[n] = nil
		n++
	}
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
	}
	s.outBytes -= size
	if len(packets) == 0 && s.flow == draining {
		return s.t, nil
	}
	return s.t, packets
}

// enqueue sends a message. It does not wait. m.mu is held.
func (s *session) enqueue(msg *message) {
	if s.flow != flowing {
		return
	}
	msg.sent = true
	s.out = append(s.out, msg)
	s.outBytes += msg.bytes
	s.work.wake()
}

// unsend takes back the messages that are void and have not been given to the
// transport. m.mu is held.
func (s *session) unsend() {
	s.out = slices.DeleteFunc(s.out, func(m *message) bool {
		if m.void {
			s.outBytes -= m.bytes
		}
		return m.void
	})
	s.m.space.wake()
}

// sendPong sends a pong, before all else. m.mu is held.
func (s *session) sendPong() {
	s.pong, s.ponged = true, time.Now()
	s.work.wake()
}

// ask sends a Client's CONNECT. m.mu is held.
func (s *session) ask(c *Client, auth []byte) {
	n := s.places[c.namespace]
	n.asked, n.asker = true, c
	s.places[c.namespace] = n
	text := sio.AppendHeader(nil, sio.Packet{Type: sio.Connect, Namespace: []byte(c.namespace)})
	s.enqueue(newMessage(append(text, auth...)))
}

// asks tells whether a CONNECT is not answered yet: a second one would be a fault.
// m.mu is held.
func (s *session) asks(namespace string) bool { return s.places[namespace].asked }

// answered forgets a CONNECT, and tells whose it was. m.mu is held.
func (s *session) answered(namespace string) (asker *Client, asked bool) {
	n := s.places[namespace]
	asker, asked = n.asker, n.asked
	if asked {
		n.asked, n.asker = false, nil
		s.places[namespace] = n
	}
	return asker, asked
}

// orphan: who has sent the CONNECT does not want its answer any more. m.mu is held.
func (s *session) orphan(namespace string) {
	n := s.places[namespace]
	n.asker = nil
	s.places[namespace] = n
}

// dismiss leaves a namespace. m.mu is held.
func (s *session) dismiss(namespace string) {
	n := s.places[namespace]
	n.dismissed = true
	s.places[namespace] = n
	s.enqueue(disconnectPacket(namespace))
}

// drain ends the session when what is queued has been sent. m.mu is held.
func (s *session) drain() {
	if s.flow != flowing {
		return
	}
	s.flow = draining
	s.work.wake()
	s.m.changed.wake()
	begun, taken := time.Now(), s.t.progress()
	s.linger = time.AfterFunc(closeTimeout, func() {
		s.m.mu.Lock()
		now := s.t.progress()
		if s.flow == draining && now != taken && time.Since(begun) < maxDrain-closeTimeout {
			taken = now
			s.linger.Reset(closeTimeout)
			s.m.mu.Unlock()
			return
		}
		s.m.mu.Unlock()
		s.stop(errUnneeded)
	})
}

// stop ends the session now.
func (s *session) stop(why error) {
	s.m.mu.Lock()
	if s.flow != stopping {
		s.flow = stopping
		s.why = why
		s.watchdog.Stop()
		if s.linger != nil {
			s.linger.Stop()
		}
		if s.cancel != nil {
			s.cancel()
		}
		s.out, s.outBytes = nil, 0
		s.work.wake()
		s.m.space.wake()
		s.m.changed.wake()
	}
	t := s.t
	s.m.mu.Unlock()
	t.close()
}

// upgrade goes over from polling to a WebSocket. Engine.IO v4, "Upgrade".
func (s *session) upgrade(ctx context.Context) {
	defer s.cancel()
	w, err := s.m.dial(ctx, "websocket", s.sid)
	if err != nil {
		return // polling goes on
	}
	stop := context.AfterFunc(ctx, w.close)
	err = w.send([]eio.Packet{{Type: eio.Ping, Data: []byte("probe")}})
	var answer []eio.Packet
	if err == nil {
		answer, err = w.receive()
	}
	right := err == nil && len(answer) == 1 && answer[0].Type == eio.Pong && string(answer[0].Data) == "probe"
	if !right || !s.pauseReader(ctx) {
		stop()
		w.close()
		s.resumeReader()
		return
	}
	// No poll is under way; no POST may be, either.
	s.writing.Lock()
	defer s.writing.Unlock()
	defer s.resumeReader()
	if !stop() {
		w.close()
		return
	}
	if err := w.send([]eio.Packet{{Type: eio.Upgrade}}); err != nil {
		w.close()
		s.stop(err)
		return
	}
	s.m.mu.Lock()
	s.t = w
	gone := s.flow == stopping
	s.m.mu.Unlock()
	if gone {
		w.close()
	}
}

// pauseReader waits until no poll is under way.
func (s *session) pauseReader(ctx context.Context) bool {
	pause := make(chan struct{})
	s.m.mu.Lock()
	s.pause, s.resume = pause, make(chan struct{})
	s.m.changed.wake()
	s.m.mu.Unlock()
	select {
	case <-pause:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *session) resumeReader() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.pause = nil; s.resume != nil {
		close(s.resume)
		s.resume = nil
	}
}

// handle handles a packet of the server. It is on the reader.
func (s *session) handle(p eio.Packet) error {
	switch p.Type {
	case eio.Ping:
		s.m.mu.Lock()
		defer s.m.mu.Unlock()
		if s.flow != stopping {
			s.watchdog.Reset(s.patient)
			s.sendPong()
		}
	case eio.Close:
		return errClosedByServer
	case eio.Message:
		var err error
		if p.Binary {
			err = s.handleAttachment(p.Data)
		} else {
			err = s.handleMessage(p.Data)
		}
		if err != nil {
			return &parseError{err}
		}
	}
	return nil
}

func (s *session) handleMessage(b []byte) error {
	p, err := sio.Limits{MaxAttachments: maxAttachment}.ConsumePacket(b)
	switch {
	case err != nil:
		return err
	case s.partial != nil:
		return errProtocol
	case p.Attachments > 0:
		s.partial, s.bytes = &p, len(b)
		return nil
	}
	return s.m.handlePacket(s, p, nil)
}

func (s *session) handleAttachment(b []byte) error {
	if s.partial == nil {
		return errProtocol
	}
	if s.bytes += 24 + len(b); s.bytes > s.m.cfg.MaxMessageBytes {
		return errors.New("client: a message with its attachments is over MaxMessageBytes")
	}
	if s.attachments = append(s.attachments, b); len(s.attachments) < s.partial.Attachments {
		return nil
	}
	p, attachments := *s.partial, s.attachments
	s.partial, s.attachments = nil, nil
	return s.m.handlePacket(s, p, attachments)
}
