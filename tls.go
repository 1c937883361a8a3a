package sockeye

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// ListenAndServeTLS is ListenAndServe for https and wss, with a certificate and its key
// in files of PEM. The files are looked at once in ten seconds, at most, when a peer
// connects: one that has been renewed needs no restart. With Config.TLS, which has a
// certificate of its own, the files' names are "".
func (srv *Server) ListenAndServeTLS(address, certFile, keyFile string) error {
	switch {
	case srv.cfg.TLS != nil && (certFile != "" || keyFile != ""):
		return errors.New(`sockeye: the certificate is Config.TLS's: call ListenAndServeTLS(address, "", ""), or leave Config.TLS out`)
	case srv.cfg.TLS == nil:
		f := &certificateFiles{cert: certFile, key: keyFile}
		if err := f.load(); err != nil {
			return fmt.Errorf("sockeye: %w", err)
		}
		srv.certificate.Store(f)
	}
	if _, err := srv.group.ListenTLS("tcp", address); err != nil {
		return srv.listenError(err)
	}
	return srv.wait()
}

// tlsOfFiles is the group's TLS where Config.TLS is nil.
func (srv *Server) tlsOfFiles() *tls.Config {
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		f := srv.certificate.Load()
		if f == nil {
			return nil, errors.New("sockeye: there is no certificate")
		}
		return f.get(time.Now(), srv.cfg.Logger.Error), nil
	}}
}

// lookEvery is how long a certificate's files are not looked at again.
const lookEvery = 10 * time.Second

// certificateFiles are where a certificate comes from.
type certificateFiles struct {
	cert, key string // Immutable.

	// Guarded by mu.
	mu       sync.Mutex
	current  *tls.Certificate
	changed  [2]time.Time // the files' times when they were read
	lookedAt time.Time
}

// get is the present certificate. What cannot be read is told, and the one before goes
// on.
func (f *certificateFiles) get(now time.Time, tell func(msg string, args ...any)) *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.lookedAt) >= lookEvery {
		f.lookedAt = now
		if err := f.reload(); err != nil {
			tell("sockeye: the certificate's files cannot be read; the certificate before stays", "err", err)
		}
	}
	return f.current
}

func (f *certificateFiles) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookedAt = time.Now()
	return f.reload()
}

// reload reads the files if they have changed.
func (f *certificateFiles) reload() error {
	var changed [2]time.Time
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		changed[i] = info.ModTime()
	}
	if f.current != nil && changed == f.changed {
		return nil
	}
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return err // a pair of which one file is new yet: again at the next look
	}
	f.current, f.changed = &c, changed
	return nil
}
