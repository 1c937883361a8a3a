package tls13

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC8448: the client's key and first record of the RFC's simple handshake
// (RFC 8448, section 3).
func TestRFC8448(t *testing.T) {
	var k Keys
	if !k.Init(tls.TLS_AES_128_GCM_SHA256, unhex(t, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")) {
		t.Fatal("the suite is not known")
	}
	if got := hex.EncodeToString(k.key[:16]); got != "17422dda596ed5d9acd890e3c63f5051" {
		t.Errorf("key %s", got)
	}
	if got := hex.EncodeToString(k.iv[:]); got != "5b78923dee08579033e523d9" {
		t.Errorf("iv %s", got)
	}
	record := unhex(t, "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4")
	want := make([]byte, 50)
	for i := range want {
		want[i] = byte(i)
	}
	seal := k
	if got := seal.Cipher().Append(nil, &seal, ApplicationData, want[:20], want[20:]); !bytes.Equal(got, record) {
		t.Errorf("record %x, want %x", got, record)
	}
	if n, err := ConsumeHeader(record); n != len(record) || err != nil {
		t.Errorf("header: %d %v", n, err)
	}
	typ, content, err := k.Cipher().Open(record, &k)
	if err != nil || typ != ApplicationData || !bytes.Equal(content, want) {
		t.Errorf("%v %x %v", typ, content, err)
	}
}

// peer is a real client of crypto/tls, whose handshake with a server of crypto/tls is
// over: from here on this package is the server.
type peer struct {
	client *tls.Conn
	raw    net.Conn // the server's side
	in     Keys     // of what the client sends
	out    Keys
}

type keyLog struct{ secrets map[string][]byte }

func (k keyLog) Write(line []byte) (int, error) {
	f := strings.Fields(string(line))
	k.secrets[f[0]], _ = hex.DecodeString(f[2])
	return len(line), nil
}

func newPeer(t *testing.T, suite uint16) *peer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	log := keyLog{map[string][]byte{}}
	p := &peer{}
	done := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			p.client = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
			err = p.client.Handshake()
		}
		done <- err
	}()
	if p.raw, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.raw.Close() })
	_ = p.raw.SetDeadline(time.Now().Add(10 * time.Second))
	server := tls.Server(p.raw, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, KeyLogWriter: log,
		SessionTicketsDisabled: true, // so that each side has sent no record with its key
	})
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	got := server.ConnectionState().CipherSuite
	if suite != 0 && got != suite {
		t.Skipf("crypto/tls has chosen %s here", tls.CipherSuiteName(got))
	}
	if !p.in.Init(got, log.secrets["CLIENT_TRAFFIC_SECRET_0"]) || !p.out.Init(got, log.secrets["SERVER_TRAFFIC_SECRET_0"]) {
		t.Fatal("no secrets")
	}
	return p
}

// record reads one record of the client's.
func (p *peer) record(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, MaxRecord)
	if _, err := io.ReadFull(p.raw, b[:HeaderBytes]); err != nil {
		t.Fatal(err)
	}
	n, fault := ConsumeHeader(b)
	if fault != nil {
		t.Fatal(fault)
	}
	if _, err := io.ReadFull(p.raw, b[HeaderBytes:n]); err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// TestAgainstCryptoTLS: records of every kind of size go both ways between this package
// and crypto/tls, across key updates that this side makes.
func TestAgainstCryptoTLS(t *testing.T) {
	p := newPeer(t, 0)
	in, out := p.in.Cipher(), p.out.Cipher()
	for i, size := range []int{0, 1, 2, 15, 16, 17, 125, 1000, 16383, 16384} {
		want := bytes.Repeat([]byte{byte(i)}, size)
		if i%3 == 2 { // this side's own key update
			msg := out.Append(nil, &p.out, Handshake, KeyUpdate(false))
			if _, err := p.raw.Write(msg); err != nil {
				t.Fatal(err)
			}
			p.out.Update()
			out = p.out.Cipher()
		}
		if _, err := p.raw.Write(out.Append(nil, &p.out, ApplicationData, want)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(p.client, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %v", size, err)
		}
		go func() { _, _ = p.client.Write(want) }()
		for got = got[:0]; len(got) < size; {
			typ, content, err := in.Open(p.record(t), &p.in)
			if err != nil || typ != ApplicationData {
				t.Fatalf("%d bytes: %v, type %d", size, err, typ)
			}
			got = append(got, content...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came otherwise", size)
		}
	}
	// A KeyUpdate that asks for one is answered by crypto/tls, with its next key after.
	if _, err := p.raw.Write(out.Append(nil, &p.out, Handshake, KeyUpdate(true))); err != nil {
		t.Fatal(err)
	}
	p.out.Update()
	out = p.out.Cipher()
	if _, err := p.raw.Write(out.Append(nil, &p.out, ApplicationData, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	typ, content, fault := in.Open(p.record(t), &p.in)
	if fault != nil || typ != Handshake {
		t.Fatalf("type %d, %v", typ, fault)
	}
	if whole, requested, fault := ConsumeKeyUpdate(content); !whole || requested || fault != nil {
		t.Fatalf("%v %v %v", whole, requested, fault)
	}
	p.in.Update()
	in = p.in.Cipher()
	_, _ = p.client.Write([]byte("y"))
	if _, content, fault := in.Open(p.record(t), &p.in); fault != nil || string(content) != "y" {
		t.Fatalf("%q %v", content, fault)
	}
	// close_notify.
	if _, err := p.raw.Write(out.Append(nil, &p.out, Alert, []byte{1, AlertCloseNotify})); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the client reads %v, want EOF", err)
	}
}

// TestSuites: what one side seals the other opens, in each suite, and nothing else.
func TestSuites(t *testing.T) {
	for _, id := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256} {
		s, _ := suiteOf(id)
		secret := bytes.Repeat([]byte{7}, s.hashLen)
		var a, b Keys
		if !a.Init(id, secret) || !b.Init(id, secret) {
			t.Fatal(id)
		}
		for generation := range 3 {
			ca, cb := a.Cipher(), b.Cipher()
			first := ca.Append(nil, &a, ApplicationData, []byte("one"))
			second := ca.Append(nil, &a, ApplicationData, []byte("two"))
			if _, _, err := cb.Open(bytes.Clone(second), &b); err != errMAC {
				t.Errorf("%x: the second record is taken for the first: %v", id, err)
			}
			for i := range first {
				bad := bytes.Clone(first)
				bad[i] ^= 1
				if _, _, err := cb.Open(bad, &b); err == nil {
					t.Fatalf("%x: byte %d may be changed", id, i)
				}
			}
			for i, rec := range [][]byte{first, second} {
				if _, content, err := cb.Open(rec, &b); err != nil || string(content) != []string{"one", "two"}[i] {
					t.Errorf("%x, generation %d: %q %v", id, generation, content, err)
				}
			}
			a.Update()
			b.Update()
		}
		if a.Init(id, secret[1:]) || a.Init(1, secret) {
			t.Error("a wrong secret, or suite, is taken")
		}
	}
}

// TestOpenRefuses: what is inside a record that is sealed right may be wrong all the
// same.
func TestOpenRefuses(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	seal := func(inner []byte) []byte { // without the type, which is inner's
		var k Keys
		k.Init(tls.TLS_AES_128_GCM_SHA256, secret)
		c := k.Cipher()
		rec := Begin(nil)
		n := len(inner) + tagBytes
		rec[3], rec[4] = byte(n>>8), byte(n)
		c.number(&k)
		return c.aead.Seal(rec, c.nonce[:], inner, rec[:HeaderBytes])
	}
	long := make([]byte, MaxContent+1)
	long[MaxContent] = byte(ApplicationData)
	for _, c := range []struct {
		name  string
		inner []byte
		want  *AlertError
		bytes int
	}{
		{"empty", nil, errNoType, 0},
		{"padding only", make([]byte, 100), errNoType, 0},
		{"padding behind", append([]byte("abc\x17"), make([]byte, 50)...), nil, 3},
		{"the longest", long, nil, MaxContent},
		{"one more", append([]byte{1}, long...), errOverflow, 0},
		{"padding beyond", append(bytes.Clone(long), 0), errOverflow, 0},
	} {
		var k Keys
		k.Init(tls.TLS_AES_128_GCM_SHA256, secret)
		_, content, err := k.Cipher().Open(seal(c.inner), &k)
		if err != c.want || len(content) != c.bytes {
			t.Errorf("%s: %d bytes, %v; want %d, %v", c.name, len(content), err, c.bytes, c.want)
		}
	}
	for _, c := range []struct {
		name   string
		header string
		n      int
		want   *AlertError
	}{
		{"a part", "17030300", 0, nil},
		{"plain", "1603030020", 0, errType},
		{"a version", "1703010020", 0, errVersion},
		{"the longest", "1703034100", MaxRecord, nil},
		{"one more", "1703034101", 0, errOverflow},
	} {
		if n, err := ConsumeHeader(unhex(t, c.header)); n != c.n || err != c.want {
			t.Errorf("%s: %d %v, want %d %v", c.name, n, err, c.n, c.want)
		}
	}
	for _, c := range []struct {
		content          string
		whole, requested bool
		alert            byte
	}{
		{"1800000100", true, false, 0},
		{"1800000101", true, true, 0},
		{"1800000102", false, false, AlertIllegalParameter},
		{"18000001", false, false, 0},
		{"18", false, false, 0},
		{"1801", false, false, AlertDecodeError},
		{"18000000", false, false, AlertDecodeError},
		{"180000020000", false, false, AlertDecodeError},
		{"180000010018000001", false, false, AlertUnexpectedMessage},
		{"18000001001800000100", false, false, AlertUnexpectedMessage},
		{"0100000100", false, false, AlertUnexpectedMessage},
		{"", false, false, AlertUnexpectedMessage},
	} {
		whole, requested, err := ConsumeKeyUpdate(unhex(t, c.content))
		var alert byte
		if err != nil {
			alert = err.Alert
		}
		if whole != c.whole || requested != c.requested || alert != c.alert {
			t.Errorf("%s: %v %v %v", c.content, whole, requested, err)
		}
	}
}

// TestRecordAllocs: with a kept cipher, sealing and opening take nothing.
func TestRecordAllocs(t *testing.T) {
	var a, b Keys
	secret := bytes.Repeat([]byte{7}, 32)
	a.Init(tls.TLS_AES_128_GCM_SHA256, secret)
	b.Init(tls.TLS_AES_128_GCM_SHA256, secret)
	ca, cb := a.Cipher(), b.Cipher()
	buf, content := make([]byte, 0, 256), make([]byte, 116)
	if n := testing.AllocsPerRun(100, func() {
		rec := append(Begin(buf), content...)
		rec = ca.Seal(rec, 0, &a, ApplicationData)
		if _, _, err := cb.Open(rec, &b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSeal(b *testing.B) {
	var k Keys
	k.Init(tls.TLS_AES_128_GCM_SHA256, bytes.Repeat([]byte{7}, 32))
	buf, content := make([]byte, 0, 256), make([]byte, 116)
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		c := k.Cipher()
		for b.Loop() {
			c.Seal(append(Begin(buf), content...), 0, &k, ApplicationData)
		}
	})
	b.Run("made", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			k.Cipher().Seal(append(Begin(buf), content...), 0, &k, ApplicationData)
		}
	})
}
