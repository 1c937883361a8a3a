package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// manager keeps the connection that Clients share.
type manager struct {
	// Immutable after newManager.
	cfg     Config
	url     *url.URL        // scheme and host
	ownHTTP *http.Transport // nil if the requests are the user's

	webSocketTLS *tls.Config // of a WebSocket's connection; nil: crypto/tls's defaults
	dial         func(ctx context.Context, name, sid string) (transport, error)

	// mu guards all that Clients and sessions have, too. No function of the user is
	// called while it is held.
	mu sync.Mutex

	// Guarded by mu.
	clients map[string]*Client
	link    link
	session *session           // from opened to its end
	ctx     context.Context    // of the attempts
	cancel  context.CancelFunc // when nobody needs the link any more
	calls   int                // that wait, of all Clients
	senders int                // who wait for space
	space   signal             // there may be some
	changed signal             // for the reader and for run: what they wait for may have come
}

func newManager(address string, cfg Config) (m *manager, namespace string, err error) {
	if err := cfg.validate(); err != nil {
		return nil, "", err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, "", fmt.Errorf("client: %w", err)
	}
	scheme := strings.Replace(u.Scheme, "ws", "http", 1)
	if scheme != "http" && scheme != "https" || u.Host == "" {
		return nil, "", fmt.Errorf("client: %q: the URL must begin with http://, https://, ws:// or wss://, and a host", address)
	}
	cfg = cfg.withDefaults()
	query := url.Values{}
	maps.Copy(query, u.Query()) // as the JavaScript client has it
	for k, v := range cfg.Query {
		query[k] = append([]string(nil), v...)
	}
	cfg.Query = query
	m = &manager{cfg: cfg, url: &url.URL{Scheme: scheme, Host: u.Host}, clients: map[string]*Client{}}
	m.dial = m.dialTransport
	m.webSocketTLS = cfg.TLS.Clone() // nil of nil
	if m.cfg.HTTPClient == nil {
		m.ownHTTP = http.DefaultTransport.(*http.Transport).Clone()
		m.ownHTTP.TLSClientConfig = cfg.TLS.Clone() // which it changes
		m.cfg.HTTPClient = &http.Client{Transport: m.ownHTTP}
	} else if t, ok := m.cfg.HTTPClient.Transport.(*http.Transport); ok && cfg.TLS == nil {
		m.webSocketTLS = t.Clone().TLSClientConfig // not t's own, which the first request changes
	}
	if m.webSocketTLS != nil {
		m.webSocketTLS.NextProtos = []string{"http/1.1"} // there is no Upgrade in HTTP/2
	}
	return m, u.Path, nil
}

// newClient makes a Client; m.mu is held, or m is not shared yet.
func (m *manager) newClient(namespace string) *Client {
	if namespace == "" {
		namespace = "/"
	}
	c := &Client{
		m: m, namespace: namespace, waiters: map[*waiter]struct{}{},
		calls: map[uint64]*call{}, handlers: map[string]*hook[func(*Event)]{},
	}
	m.clients[namespace] = c
	return c
}

// change has e happen to the link, by the table. It tells whether there was a
// change. m.mu is held.
func (m *manager) change(e linkEvent) bool {
	from := m.link
	m.link = linkTable[from][e]
	return m.link != from
}

// active tells whether somebody needs the link. m.mu is held.
func (m *manager) active() bool {
	for _, c := range m.clients {
		if c.life.active() {
			return true
		}
	}
	return false
}

// need begins to connect, unless that has begun. m.mu is held.
func (m *manager) need() {
	if m.change(needed) {
		m.ctx, m.cancel = context.WithCancel(context.Background())
		go m.run(m.ctx)
	}
}

// spare ends the link if nobody needs it. m.mu is held.
func (m *manager) spare() {
	if !m.active() && m.change(unneeded) {
		m.cancel()
		if m.session != nil {
			m.session.drain()
		}
	}
}

// join sends a Client's CONNECT when it can be sent. m.mu is held.
func (m *manager) join(c *Client) {
	if m.link != open || c.hooksQueued >= maxHooks || m.session.asks(c.namespace) || !c.happen(reached, happening{}) {
		return
	}
	if c.attempt++; !c.preparer {
		c.preparer = true
		go c.prepare()
	}
}

// joinNamed is join for the Client of a namespace, if there is one. m.mu is held.
func (m *manager) joinNamed(namespace string) {
	if c := m.clients[namespace]; c != nil {
		m.join(c)
	}
}

// run keeps the link while somebody needs it.
func (m *manager) run(ctx context.Context) {
	m.serve(ctx)
	m.mu.Lock()
	m.change(over)
	if m.active() { // again, since it was to end
		m.need()
	}
	m.mu.Unlock()
	if m.ownHTTP != nil {
		m.ownHTTP.CloseIdleConnections()
	}
}

// serve makes the connection again and again until nobody needs it, or the attempts
// are used up.
func (m *manager) serve(ctx context.Context) {
	delay := m.cfg.ReconnectDelay
	for attempt := 0; ; {
		s, err := m.openSession(ctx)
		if err == nil {
			if m.begin(s, attempt) {
				attempt, delay = 0, m.cfg.ReconnectDelay
				s.stop(s.read())
			} else {
				s.stop(errUnneeded)
			}
			m.end(s)
		} else {
			m.fail(err, attempt)
		}
		if m.giveUp(err, attempt) {
			return
		}
		wait := delay/2 + time.Duration(rand.Int64N(int64(delay)+1))
		delay = min(2*delay, max(m.cfg.ReconnectDelay, m.cfg.ReconnectDelayMax))
		attempt++
		if !m.rest(ctx, wait) || !m.again(ctx, attempt) {
			return
		}
	}
}

// begin makes s the connection, unless nobody needs it any more.
func (m *manager) begin(s *session, attempt int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.change(opened) {
		return false
	}
	m.session = s
	for _, c := range m.clients {
		if attempt > 0 && c.life.active() {
			tell(c, c.onReconnect, func(f func(int)) { f(attempt) })
		}
		m.join(c)
	}
	return true
}

// end is what follows from a session's end.
func (m *manager) end(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = nil
	m.change(ended)
	reason := s.reason()
	for _, c := range m.clients {
		c.happen(cut, happening{reason: reason})
	}
	m.space.wake()
	close(s.ended)
}

// fail tells of an attempt that has failed.
func (m *manager) fail(err error, attempt int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.change(failed) {
		return
	}
	for _, c := range m.clients {
		if !c.life.active() {
			continue
		}
		c.lastErr = err
		tell(c, c.onConnectError, func(f func(error)) { f(err) })
		if attempt > 0 {
			tell(c, c.onReconnectError, func(f func(error)) { f(err) })
		}
		c.release(err, true)
	}
}

// giveUp tells whether nobody needs the link any more, also because the attempts are
// used up.
func (m *manager) giveUp(err error, attempt int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link == leaving {
		return true
	}
	if !m.cfg.NoReconnect && (m.cfg.ReconnectAttempts == 0 || attempt < m.cfg.ReconnectAttempts) {
		return false
	}
	for _, c := range m.clients {
		if c.life.active() && !m.cfg.NoReconnect {
			tell(c, c.onReconnectFailed, func(f func()) { f() })
		}
		c.happen(stopped, happening{err: errors.Join(ErrDisconnected, err)})
	}
	return true
}

// rest waits before an attempt.
func (m *manager) rest(ctx context.Context, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// again begins a further attempt, when not too many hooks wait.
func (m *manager) again(ctx context.Context, attempt int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.manyHooks() && m.link == pausing {
		changed := m.changed.wait()
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		m.mu.Lock()
	}
	if !m.change(due) {
		return false
	}
	for _, c := range m.clients {
		if c.life.active() {
			tell(c, c.onReconnectAttempt, func(f func(int)) { f(attempt) })
		}
	}
	return true
}

func (m *manager) manyHooks() bool {
	for _, c := range m.clients {
		if c.life.active() && c.hooksQueued >= maxHooks {
			return true
		}
	}
	return false
}

// reason is why a session ended, in the words of the JavaScript client.
func (s *session) reason() string {
	var parse *parseError
	switch {
	case errors.Is(s.why, errPingTimeout):
		return "ping timeout"
	case errors.As(s.why, &parse):
		return "parse error"
	case errors.Is(s.why, io.EOF), errors.Is(s.why, io.ErrUnexpectedEOF), errors.Is(s.why, errClosedByServer):
		return "transport close"
	}
	return "transport error"
}

// handlePacket handles a packet of the server. It is on the reader.
func (m *manager) handlePacket(s *session, p sio.Packet, attachments [][]byte) error {
	switch p.Type {
	case sio.Connect:
		var answer sidAnswer
		if err := json.Unmarshal(p.Data, &answer); err != nil {
			return err
		}
		if answer.SID == "" {
			return errProtocol
		}
		m.handleAnswer(s, p, func(c *Client) { c.happen(accepted, happening{answer: answer}) })
	case sio.ConnectError:
		refusal := &ConnectError{}
		if json.Unmarshal(p.Data, refusal) != nil { // a server may send a string
			_ = json.Unmarshal(p.Data, &refusal.Message)
		}
		m.handleAnswer(s, p, func(c *Client) { c.happen(refused, happening{err: refusal}) })
	case sio.Disconnect:
		m.handleDisconnect(s, p)
	case sio.Ack, sio.BinaryAck:
		return m.handleAck(p, attachments)
	case sio.Event, sio.BinaryEvent:
		return m.handleEvent(s, p, attachments)
	}
	return nil
}

// handleAnswer handles the answer to a CONNECT. One that nobody waits for any more
// is a namespace to be left.
func (m *manager) handleAnswer(s *session, p sio.Packet, then func(c *Client)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	namespace := string(p.Namespace)
	asker, asked := s.answered(namespace)
	switch {
	case !asked:
	case asker != nil:
		then(asker)
	case p.Type == sio.Connect:
		s.dismiss(namespace)
	}
	m.joinNamed(namespace)
}

// handleDisconnect: before the answer to a CONNECT it may be meant for the socket
// before.
func (m *manager) handleDisconnect(s *session, p sio.Packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	namespace := string(p.Namespace)
	c := m.clients[namespace]
	if c == nil {
		return
	}
	if c.life == asking {
		if s.places[namespace].dismissed {
			return
		}
		s.answered(namespace)
	}
	c.happen(expelled, happening{err: ErrDisconnected, reason: byServer})
}

func (m *manager) handleAck(p sio.Packet, attachments [][]byte) error {
	list, err := sio.SplitArray(p.Data, nil, 0)
	if err != nil {
		return err
	}
	if err := sio.CheckPlaceholders(p.Data, len(attachments)); err != nil && len(attachments) > 0 {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clients[string(p.Namespace)]
	if c == nil || c.life != connected || !p.HasID || c.calls[p.ID] == nil || !c.calls[p.ID].m.sent {
		return nil // nobody waits any more
	}
	c.takeCall(p.ID).got <- answer{args: Args{list, attachments}}
	return nil
}

func (m *manager) handleEvent(s *session, p sio.Packet, attachments [][]byte) error {
	m.mu.Lock()
	c := m.clients[string(p.Namespace)]
	m.mu.Unlock()
	if c == nil {
		return nil // it has been closed meanwhile
	}
	e, err := newEvent(c, p, attachments)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e.generation = c.generation
	switch {
	case c.life == connected:
		c.receive(e)
		s.pace(c)
	case c.life == asking && !s.places[c.namespace].dismissed:
		if c.earlyBytes += e.cost; c.earlyBytes > m.cfg.MaxQueuedBytes {
			c.pid, c.offset = "", "" // or it would be so again
			return errors.New("client: over MaxQueuedBytes of events came before the answer to CONNECT")
		}
		c.early = append(c.early, e)
	}
	return nil
}
