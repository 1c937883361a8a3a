package netpoll

import (
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"io"
	"runtime"
	"slices"
	"unique"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/tls13"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// TLS on the loops. crypto/tls makes each handshake, on a goroutine that is borrowed
// for it; then, by TLS 1.3, only keys and sequence numbers stay, and the records are
// this package's (proto/tls13). Every other connection keeps its tls.Conn, without a
// goroutine.
//
//	accept -> phaseSecure: a record -> tlsHandshake -> crypto/tls
//	                       its end  -> Keys of both directions, or the tls.Conn
//	socket -> Conn.received -> unseal -> process
//	outQueue -> flush -> seal, all that waits in one write -> socket
//
// The files: tls_handshake.go, what comes before; conn_tls.go, records on the loop;
// tls_std.go, connections that keep crypto/tls; lend_tls.go, at net/http.

const (
	layerTLS     layers = 1 << iota // what goes through the socket are records
	layerProxy                      // a header of the PROXY protocol is due, before those
	layerLink                       // of ListenLink: another server passes requests on
	layerHello                      // and has not shown its secret yet
	layerDialled                    // a link to another server, which this side has dialled
)

// secureConn is a connection with TLS. A Conn without it is not larger for it: see
// Conn.tls.
type secureConn struct {
	Conn
	tls tlsState
}

// tlsState is what TLS keeps for a connection. Loop-owned; lent, its lentTLS's. What a
// record that is sealed needs comes first: it shares a line of the processor's cache with
// the end of Conn, because in a broadcast each connection begins in a cold cache.
type tlsState struct {
	kept    *tlsKept         // nil for most
	out     *bytepool.Buffer // records that the kernel has not taken
	sealer  *tls13.Cipher    // while records come close together; nil otherwise
	usedOut uint8            // second in which a record was sealed last
	usedIn  uint8            // or opened
	useless uint8            // records in a row that brought nothing
	alert   uint8            // to be told at the end
	flags   tlsFlags
	write   tls13.Keys
	sealed  int32 // bytes of the outQueue that out has
	taken   int32 // bytes of out that the kernel has taken

	opener *tls13.Cipher    // as sealer
	in     *bytepool.Buffer // the beginning of a record
	read   tls13.Keys

	info unique.Handle[tlsInfo]
}

type tlsFlags uint8

const (
	tlsOpen    tlsFlags = 1 << iota // the handshake is over
	owesUpdate                      // a KeyUpdate goes before the next content
	owesClose                       // close_notify goes behind what is queued
	toldClose                       // close_notify, or a fatal alert, has gone
	isWarm                          // among the loop's with ciphers
)

// tlsKept is what only some connections keep.
type tlsKept struct {
	handshake *tlsHandshake        // under way
	std       *tlsHandshake        // over, and its tls.Conn goes on
	state     *tls.ConnectionState // of a peer with a certificate
	end       error                // of the peer's stream, behind what is processed or lent
	message   string               // of a handshake message that has not come as a whole
	looked    ws.Mark              // see Conn.Receives: of a record that has not come as a whole
}

// std is the tls.Conn's, of a connection that keeps one; nil otherwise.
func (t *tlsState) std() *tlsHandshake {
	if t.kept == nil {
		return nil
	}
	return t.kept.std
}

// tlsInfo is what is known of a connection's handshake, the same for many.
type tlsInfo struct {
	version, suite uint16
	protocol, name string
	resumed        bool
}

// tlsServer is what the handshakes of a group go by.
type tlsServer struct {
	// Immutable after newTLSServer.
	config *tls.Config // the user's, which may change its ticket keys
	base   *tls.Config // asks back for each connection's own
	plain  bool        // Config.PlainTLS

	working chan struct{} // one token for each handshake that computes
}

func newTLSServer(cfg *Config) *tlsServer {
	s := &tlsServer{
		config: cfg.TLS, base: cfg.TLS.Clone(), plain: cfg.PlainTLS || fips140.Enforced(),
		working: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	s.base.GetConfigForClient = s.configFor
	return s
}

// acmeProtocol is the protocol of a certificate authority's challenge (RFC 8737): the
// handshake is all of it.
const acmeProtocol = "acme-tls/1"

// configFor makes a connection's own configuration: its secrets are told to it.
func (s *tlsServer) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	cfg := s.config
	hs, _ := hello.Conn.(*tlsHandshake)
	if get := cfg.GetConfigForClient; get != nil {
		own, err := idly(hs, func() (*tls.Config, error) { return get(hello) })
		if err != nil {
			return nil, err
		}
		if own != nil {
			cfg = own
		}
	}
	cfg = cfg.Clone()
	cfg.GetConfigForClient = nil
	cfg.NextProtos = slices.DeleteFunc(slices.Clone(cfg.NextProtos), func(p string) bool { return p == "h2" })
	if len(cfg.NextProtos) == 0 {
		cfg.NextProtos = []string{"http/1.1"}
	}
	hs.releaseIn(cfg)
	if hs != nil && !s.plain {
		if cfg.KeyLogWriter == nil {
			cfg.KeyLogWriter = (*keyLog)(hs)
		} else {
			cfg.KeyLogWriter = io.MultiWriter(cfg.KeyLogWriter, (*keyLog)(hs))
		}
	}
	return cfg, nil
}

// releaseIn has the callbacks that may wait for others, as autocert does for a
// certificate, not count as computing.
func (hs *tlsHandshake) releaseIn(cfg *tls.Config) {
	if get := cfg.GetCertificate; get != nil {
		cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return idly(hs, func() (*tls.Certificate, error) { return get(hello) })
		}
	}
	if verify := cfg.VerifyPeerCertificate; verify != nil {
		cfg.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			_, err := idly(hs, func() (struct{}, error) { return struct{}{}, verify(raw, chains) })
			return err
		}
	}
	if verify := cfg.VerifyConnection; verify != nil {
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			_, err := idly(hs, func() (struct{}, error) { return struct{}{}, verify(state) })
			return err
		}
	}
}

// idly calls f while others may compute.
func idly[T any](hs *tlsHandshake, f func() (T, error)) (T, error) {
	if hs != nil {
		<-hs.s.working
		defer func() { hs.s.working <- struct{}{} }()
	}
	return f()
}

// PeerTLS is TLS for a peer that has shown a certificate, and nil for any other.
func (c *Conn) PeerTLS() *tls.ConnectionState {
	if c.layers&layerTLS == 0 {
		return nil
	}
	if k := c.tls().kept; k != nil {
		return k.state
	}
	return nil
}

// TLS tells of the connection's TLS: nil if it has none. What it knows after the
// handshake are version, suite, protocol, the name that the peer asked for and whether
// the session was resumed; and everything of a peer that has shown a certificate.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.layers&layerTLS == 0 {
		return nil
	}
	t := c.tls()
	if t.flags&tlsOpen == 0 {
		return nil
	}
	if peer := c.PeerTLS(); peer != nil {
		return peer
	}
	i := t.info.Value()
	return &tls.ConnectionState{
		Version: i.version, HandshakeComplete: true, CipherSuite: i.suite, NegotiatedProtocol: i.protocol,
		ServerName: i.name, DidResume: i.resumed,
	}
}
