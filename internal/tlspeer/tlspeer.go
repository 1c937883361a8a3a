// Package tlspeer is the client's end of a TLS connection in memory, for tests whose
// network is in memory, too: crypto/tls without a goroutine that outlives a call.
package tlspeer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/proto/tls13"
)

// Certificate is one of localhost's, made once a process.
var Certificate = sync.OnceValue(func() tls.Certificate { return NewCertificate("localhost") })

// NewCertificate makes one of that name's. Its signatures have one length, so that a
// handshake's records have, too.
func NewCertificate(name string) tls.Certificate {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// WriteFiles writes a certificate and its key as PEM into a folder, files of that time.
func WriteFiles(dir string, c tls.Certificate, at time.Time) (certFile, keyFile string, err error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := errors.Join(os.WriteFile(name, pem.EncodeToMemory(b), 0o600), os.Chtimes(name, at, at)); err != nil {
			return "", "", err
		}
	}
	return certFile, keyFile, nil
}

// ServerConfig is a server's with that certificate.
func ServerConfig() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{Certificate()}} }

// Peer is a client. One goroutine uses it at a time.
type Peer struct {
	conn *tls.Conn
	c    *conn
	err  error // the end of what is received

	log  keyLog
	own  bool       // keys seal what is sent, and not conn
	keys tls13.Keys // since the first KeyUpdate
}

// keyLog has the secrets of a connection.
type keyLog map[string][]byte

func (k keyLog) Write(line []byte) (int, error) {
	if f := strings.Fields(string(line)); len(f) == 3 {
		k[f[0]], _ = hex.DecodeString(f[2])
	}
	return len(line), nil
}

// New begins a handshake; the client's first bytes are what Take returns.
func New(cfg *tls.Config) *Peer {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	cfg.InsecureSkipVerify = true
	p := &Peer{c: &conn{}, log: keyLog{}}
	cfg.KeyLogWriter = p.log
	p.c.cond.L = &p.c.mu
	p.conn = tls.Client(p.c, cfg)
	go func() {
		err := p.conn.Handshake()
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		p.c.done, p.c.err = true, err
		p.c.cond.Broadcast()
	}()
	p.c.settle()
	return p
}

// Take takes what the client has to send.
func (p *Peer) Take() []byte {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	out := p.c.out
	p.c.out = nil
	return out
}

// Receive gives the client what the server has sent, and returns what was in it.
func (p *Peer) Receive(b []byte) (plain []byte) {
	p.c.mu.Lock()
	p.c.in = append(p.c.in, b...)
	p.c.wants = false
	p.c.cond.Broadcast()
	p.c.mu.Unlock()
	if p.c.settle(); !p.Open() {
		return nil
	}
	var scratch [16 << 10]byte
	for p.err == nil {
		n, err := p.conn.Read(scratch[:])
		plain = append(plain, scratch[:n]...)
		if err != nil {
			if !errors.Is(err, errNothing) {
				p.err = err
			}
			break
		}
	}
	return plain
}

// Write has the client send b, once Open.
func (p *Peer) Write(b []byte) error {
	if !p.own {
		_, err := p.conn.Write(b)
		return err
	}
	for piece := range slices.Chunk(b, tls13.MaxContent) {
		p.seal(tls13.ApplicationData, piece)
	}
	return nil
}

// Close has the client send close_notify.
func (p *Peer) Close() {
	if p.own {
		p.seal(tls13.Alert, []byte{1, tls13.AlertCloseNotify})
		return
	}
	_ = p.conn.CloseWrite()
}

// KeyUpdate has the client go on with its next key, in so many records, and ask for
// the same or not. crypto/tls cannot: what is sent from then on is sealed by package
// tls13. It is false if the connection is not open, or not of TLS 1.3.
func (p *Peer) KeyUpdate(ask bool, records int) bool {
	if !p.Open() || p.conn.ConnectionState().Version != tls.VersionTLS13 {
		return false
	}
	if !p.own {
		if !p.keys.Init(p.conn.ConnectionState().CipherSuite, p.log["CLIENT_TRAFFIC_SECRET_0"]) {
			return false
		}
		for range p.c.records {
			p.keys.Cipher().Append(nil, &p.keys, tls13.ApplicationData) // counts
		}
		p.own = true
	}
	m := tls13.KeyUpdate(ask)
	for piece := range slices.Chunk(m, (len(m)+records-1)/records) {
		p.seal(tls13.Handshake, piece)
	}
	p.keys.Update()
	return true
}

func (p *Peer) seal(kind tls13.ContentType, content []byte) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.out = p.keys.Cipher().Append(p.c.out, &p.keys, kind, content)
}

// Open tells whether the handshake is made; Err why it was not, or what has ended the
// server's stream since: io.EOF is close_notify.
func (p *Peer) Open() bool {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.done && p.c.err == nil
}

// Err is described with Open.
func (p *Peer) Err() error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.c.err != nil {
		return p.c.err
	}
	return p.err
}

// Abandon ends the goroutine of a handshake that is not to go on.
func (p *Peer) Abandon() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.over = true
	p.c.cond.Broadcast()
}

// conn is a net.Conn in memory: Read waits during the handshake, and never after.
type conn struct {
	mu    sync.Mutex
	cond  sync.Cond
	in    []byte
	out   []byte
	wants bool

	records int // that were written after the handshake
	done    bool
	over    bool
	err     error
}

// settle waits until the handshake wants more, or is over.
func (c *conn) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.done && !(c.wants && len(c.in) == 0) {
		c.cond.Wait()
	}
}

type nothing struct{}

var errNothing nothing

func (nothing) Error() string   { return "nothing is here" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 {
		switch {
		case c.over:
			return 0, io.ErrUnexpectedEOF
		case c.done:
			return 0, errNothing
		}
		c.wants = true
		c.cond.Broadcast()
		c.cond.Wait()
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, p...)
	for b := p; c.done && len(b) >= tls13.HeaderBytes; c.records++ {
		b = b[min(len(b), tls13.HeaderBytes+int(binary.BigEndian.Uint16(b[3:]))):]
	}
	return len(p), nil
}

func (c *conn) Close() error                     { return nil }
func (c *conn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *conn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
