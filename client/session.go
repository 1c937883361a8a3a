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
	// Immutable after openSession.
	m       *manager
	sid     string
	patient time.Duration // without a ping: then the server is gone
	ended   chan struct{}

	// The reader's own.
	partial     *sio.Packet // waits for its attachments
	attachments [][]byte
	watchdog    *time.Timer

	writing sync.Mutex // held while packets are sent, and while the transport is changed

	// Guarded by mu.
	mu      sync.Mutex
	changed sync.Cond
	t       transport
	out     []eio.Packet
	bytes   int
	closing bool          // what is queued goes out, then the transport is closed
	over    bool          // nothing goes out any more
	pause   chan struct{} // not nil: the reader closes it when no poll is under way, and waits for resume
	resume  chan struct{}
}

// maxOutBytes is how much may wait for the server before Emit waits.
const maxOutBytes = 4 << 20

// openSession makes the handshake by the first transport that works.
func (m *manager) openSession(ctx context.Context) (*session, error) {
	var errs []error
	for _, name := range m.cfg.Transports {
		s, err := m.openBy(ctx, name)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (m *manager) openBy(ctx context.Context, name string) (*session, error) {
	var t transport
	var p *polling
	switch name {
	case "polling":
		p = newPolling(m)
		t = p
	case "websocket":
		w, err := m.dialWebSocket(ctx, "")
		if err != nil {
			return nil, err
		}
		t = w
	default:
		return nil, fmt.Errorf("client: Config.Transports: %q is neither polling nor websocket", name)
	}
	stop := context.AfterFunc(ctx, t.close)
	packets, err := t.receive()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil && (len(packets) == 0 || packets[0].Type != eio.Open) {
		err = errors.New("client: the server's first packet is no handshake")
	}
	var h struct {
		SID                       string
		Upgrades                  []string
		PingInterval, PingTimeout int64
		MaxPayload                int
	}
	if err == nil {
		err = json.Unmarshal(packets[0].Data, &h)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	s := &session{m: m, sid: h.SID, t: t, patient: time.Duration(h.PingInterval+h.PingTimeout) * time.Millisecond, ended: make(chan struct{})}
	s.changed.L = &s.mu
	if p != nil {
		p.sid, p.max = h.SID, h.MaxPayload
	}
	s.watchdog = time.AfterFunc(s.patient, s.abort)
	for _, packet := range packets[1:] {
		s.handle(packet)
	}
	m.wg.Go(s.write)
	if p != nil && slices.Contains(h.Upgrades, "websocket") && slices.Contains(m.cfg.Transports, "websocket") {
		m.wg.Go(s.upgrade)
	}
	return s, nil
}

// read handles packets until the transport ends, and returns why it did.
func (s *session) read() error {
	for {
		t := s.reader()
		packets, err := t.receive()
		for _, p := range packets {
			if err == nil {
				err = s.handle(p)
			}
		}
		if err != nil && s.transport() == t {
			return err
		}
	}
}

func (s *session) transport() transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t
}

// reader is the transport to be read; it waits while an upgrade is completed.
func (s *session) reader() transport {
	s.mu.Lock()
	pause, resume := s.pause, s.resume
	s.pause = nil
	s.mu.Unlock()
	if pause != nil {
		close(pause)
		<-resume
	}
	return s.transport()
}

// write sends what is queued, everything at once.
func (s *session) write() {
	for {
		s.mu.Lock()
		for len(s.out) == 0 && !s.closing && !s.over {
			s.changed.Wait()
		}
		packets := s.out
		s.out, s.bytes = nil, 0
		done := s.over || len(packets) == 0
		s.changed.Broadcast()
		s.mu.Unlock()
		if done {
			break
		}
		s.writing.Lock()
		err := s.transport().send(packets)
		s.writing.Unlock()
		if err != nil {
			break
		}
	}
	s.abort()
}

// upgrade goes over from polling to a WebSocket. Engine.IO v4, "Upgrade".
func (s *session) upgrade() {
	ctx, cancel := context.WithTimeout(context.Background(), s.m.cfg.ConnectTimeout)
	defer cancel()
	w, err := s.m.dialWebSocket(ctx, s.sid)
	if err != nil {
		return // polling goes on
	}
	stop := context.AfterFunc(ctx, w.close)
	err = w.send([]eio.Packet{{Type: eio.Ping, Data: []byte("probe")}})
	var answer []eio.Packet
	if err == nil {
		answer, err = w.receive()
	}
	if !stop() || err != nil || len(answer) != 1 || answer[0].Type != eio.Pong || string(answer[0].Data) != "probe" {
		w.close()
		return
	}
	// No POST, and then no poll, may be under way.
	s.writing.Lock()
	defer s.writing.Unlock()
	pause, resume := make(chan struct{}), make(chan struct{})
	defer close(resume)
	s.mu.Lock()
	s.pause, s.resume = pause, resume
	s.mu.Unlock()
	select {
	case <-pause:
	case <-s.ended:
		w.close()
		return
	}
	if err := w.send([]eio.Packet{{Type: eio.Upgrade}}); err != nil {
		w.close()
		s.abort()
		return
	}
	s.mu.Lock()
	s.t = w
	over := s.over
	s.mu.Unlock()
	if over {
		w.close()
	}
}

// enqueue sends packets. It does not wait.
func (s *session) enqueue(packets ...eio.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.closing {
		return
	}
	s.out = append(s.out, packets...)
	for _, p := range packets {
		s.bytes += len(p.Data)
	}
	s.changed.Broadcast()
}

// waitForRoom waits while too much is queued.
func (s *session) waitForRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes > maxOutBytes && !s.over && !s.closing {
		s.changed.Wait()
	}
}

// close ends the session when what is queued has been sent.
func (s *session) close() {
	s.enqueue(eio.Packet{Type: eio.Close})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.changed.Broadcast()
}

// abort ends the session now.
func (s *session) abort() {
	s.mu.Lock()
	s.over = true
	t := s.t
	s.changed.Broadcast()
	s.mu.Unlock()
	t.close()
}

// errors that end a session, besides its transport's.
var (
	errClosedByServer = errors.New("client: closed by the server")
	errProtocol       = errors.New("client: the server broke the protocol")
)

// handle handles a packet of the server.
func (s *session) handle(p eio.Packet) error {
	switch p.Type {
	case eio.Ping:
		s.watchdog.Reset(s.patient)
		s.enqueue(eio.Packet{Type: eio.Pong})
	case eio.Close:
		return errClosedByServer
	case eio.Message:
		if p.Binary {
			return s.handleAttachment(p.Data)
		}
		return s.handleMessage(p.Data)
	}
	return nil
}

// maxAttachments bounds those of one packet.
const maxAttachments = 1 << 16

func (s *session) handleMessage(b []byte) error {
	p, err := sio.Limits{MaxAttachments: maxAttachments}.ConsumePacket(b)
	switch {
	case err != nil:
		return err
	case s.partial != nil:
		return errProtocol
	case p.Attachments > 0:
		s.partial = &p
		return nil
	}
	return s.m.handlePacket(p, nil)
}

func (s *session) handleAttachment(b []byte) error {
	if s.partial == nil {
		return errProtocol
	}
	if s.attachments = append(s.attachments, b); len(s.attachments) < s.partial.Attachments {
		return nil
	}
	p, attachments := *s.partial, s.attachments
	s.partial, s.attachments = nil, nil
	return s.m.handlePacket(p, attachments)
}
