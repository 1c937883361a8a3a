package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// manager keeps the connection that Clients share.
type manager struct {
	// Immutable after Dial.
	cfg  Config
	url  *url.URL // scheme and host
	done chan struct{}
	wg   sync.WaitGroup

	// Guarded by mu.
	mu      sync.Mutex
	clients map[string]*Client
	session *session // nil while there is no connection
	closed  bool
}

// Dial connects to a server: address is its URL (http, https, ws or wss), whose
// path names the namespace. It returns when the server has accepted, or refused,
// in which case the error is a *ConnectError, or when ctx is done.
func Dial(ctx context.Context, address string, cfg Config) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("client: %q: the URL must begin with http://, https://, ws:// or wss://", address)
	}
	cfg = cfg.withDefaults()
	m := &manager{cfg: cfg, url: &url.URL{Scheme: u.Scheme, Host: u.Host}, done: make(chan struct{}), clients: map[string]*Client{}}
	for k, v := range u.Query() { // as the JavaScript client has it
		if m.cfg.Query = cloneValues(m.cfg.Query); m.cfg.Query[k] == nil {
			m.cfg.Query[k] = v
		}
	}
	c := m.newClient(u.Path)
	first, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	s, err := m.openSession(first)
	if err != nil {
		close(m.done)
		c.end()
		m.wg.Wait()
		return nil, err
	}
	m.start(s)
	m.wg.Go(func() { m.run(s) })
	if err := c.wait(first); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func cloneValues(v url.Values) url.Values {
	c := url.Values{}
	for k, x := range v {
		c[k] = x
	}
	return c
}

// Of connects another namespace over the same connection.
func (c *Client) Of(ctx context.Context, namespace string) (*Client, error) {
	m := c.m
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, ErrClosed
	}
	if m.clients[namespace] != nil {
		m.mu.Unlock()
		return nil, fmt.Errorf("client: %s is connected already; use that Client", namespace)
	}
	other := m.newClientLocked(namespace)
	s := m.session
	m.mu.Unlock()
	if s != nil {
		other.connect(s)
	}
	if err := other.wait(ctx); err != nil {
		_ = other.Close()
		return nil, err
	}
	return other, nil
}

func (m *manager) newClient(namespace string) *Client {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newClientLocked(namespace)
}

func (m *manager) newClientLocked(namespace string) *Client {
	if namespace == "" {
		namespace = "/"
	}
	c := newClient(m, namespace)
	m.clients[namespace] = c
	m.wg.Go(c.dispatch)
	return c
}

// start makes s the connection and joins all namespaces.
func (m *manager) start(s *session) {
	m.mu.Lock()
	closed := m.closed
	m.session = s
	clients := make([]*Client, 0, len(m.clients))
	for _, c := range m.clients {
		clients = append(clients, c)
	}
	m.mu.Unlock()
	if closed {
		s.abort()
		return
	}
	for _, c := range clients {
		c.connect(s)
	}
}

// run reads the connection, and makes it again when it breaks.
func (m *manager) run(s *session) {
	for s != nil {
		err := s.read()
		s.abort()
		s.watchdog.Stop()
		close(s.ended)
		m.mu.Lock()
		m.session = nil
		closed := m.closed
		clients := make([]*Client, 0, len(m.clients))
		for _, c := range m.clients {
			clients = append(clients, c)
		}
		m.mu.Unlock()
		for _, c := range clients {
			c.disconnected(reason(err))
		}
		if s = nil; !closed && !m.cfg.NoReconnect {
			s = m.reconnect()
		}
		if s == nil {
			for _, c := range clients {
				c.giveUp()
			}
		}
	}
}

// reason is why a connection ended, in the words of the JavaScript client.
func reason(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, errClosedByServer) {
		return "transport close"
	}
	return "transport error"
}

// reconnect tries to connect again until that works, or the manager is closed.
func (m *manager) reconnect() *session {
	delay := m.cfg.ReconnectDelay
	for n := 0; m.cfg.ReconnectAttempts == 0 || n < m.cfg.ReconnectAttempts; n++ {
		wait := delay/2 + time.Duration(rand.Int64N(int64(delay)+1))
		delay = min(2*delay, m.cfg.ReconnectDelayMax)
		select {
		case <-m.done:
			return nil
		case <-time.After(wait):
		}
		ctx, cancel := context.WithTimeout(context.Background(), m.cfg.ConnectTimeout)
		stop := make(chan struct{})
		go func() {
			select {
			case <-m.done:
				cancel()
			case <-stop:
			}
		}()
		s, err := m.openSession(ctx)
		close(stop)
		cancel()
		if err == nil {
			m.start(s)
			return s
		}
	}
	return nil
}

// handlePacket gives a packet to its Client.
func (m *manager) handlePacket(p sio.Packet, attachments [][]byte) error {
	m.mu.Lock()
	c := m.clients[string(p.Namespace)]
	m.mu.Unlock()
	if c == nil {
		return nil // it has been closed meanwhile
	}
	return c.handlePacket(p, attachments)
}

// remove forgets a Client; the last one closes the connection.
func (m *manager) remove(c *Client) {
	m.mu.Lock()
	if m.clients[c.namespace] == c {
		delete(m.clients, c.namespace)
	}
	last := len(m.clients) == 0 && !m.closed
	if last {
		m.closed = true
		close(m.done)
	}
	s := m.session
	m.mu.Unlock()
	if last && s != nil {
		s.close()
		select {
		case <-s.ended:
		case <-time.After(writeTimeout):
			s.abort()
		}
	}
}
