package tls13

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// Keys are what one direction of a connection goes on with: its application traffic
// secret, what is derived of it, and the number of the next record.
type Keys struct {
	seq    uint64 // with iv, all that a Cipher looks at
	iv     [12]byte
	suite  uint16
	key    [32]byte
	secret [48]byte
}

const maxHash = sha512.Size384

// suite is a cipher suite (RFC 8446, appendix B.4).
type suite struct {
	hash    func() hash.Hash
	hashLen int
	keyLen  int
	chacha  bool
}

func suiteOf(id uint16) (s suite, ok bool) {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return suite{sha256.New, sha256.Size, 16, false}, true
	case tls.TLS_AES_256_GCM_SHA384:
		return suite{sha512.New384, sha512.Size384, 32, false}, true
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return suite{sha256.New, sha256.Size, chacha20poly1305.KeySize, true}, true
	}
	return s, false
}

// Init begins with an application traffic secret of a suite, by its number in
// crypto/tls. It is false, and the keys useless, for a suite that is not TLS 1.3's, or a
// secret of another length than its hash has.
func (k *Keys) Init(suite uint16, secret []byte) bool {
	s, ok := suiteOf(suite)
	if !ok || len(secret) != s.hashLen {
		return false
	}
	*k = Keys{suite: suite}
	copy(k.secret[:], secret)
	k.derive(s)
	return true
}

// derive makes key and iv of the secret (RFC 8446, section 7.3).
func (k *Keys) derive(s suite) {
	expandLabel(s, k.key[:s.keyLen], k.secret[:s.hashLen], "key")
	expandLabel(s, k.iv[:], k.secret[:s.hashLen], "iv")
	k.seq = 0
}

// Update goes on with the next secret, as either side of a KeyUpdate does. Ciphers of
// the one before are over.
//
// RFC 8446, section 7.2.
func (k *Keys) Update() {
	s, ok := suiteOf(k.suite)
	if !ok {
		return
	}
	var next [maxHash]byte
	expandLabel(s, next[:s.hashLen], k.secret[:s.hashLen], "traffic upd")
	k.secret = next
	clear(next[:])
	k.derive(s)
}

// MaxRecords is how many records one key may seal (RFC 8446, section 5.5: 2^24.5 of
// full size by AES-GCM).
const MaxRecords = 1 << 24

// Worn tells whether the key has sealed as many records as it may: Update is due.
func (k *Keys) Worn() bool { return k.seq >= MaxRecords }

// Wipe overwrites the secrets.
func (k *Keys) Wipe() { *k = Keys{} }

// Cipher makes a Cipher of the present key.
func (k *Keys) Cipher() *Cipher {
	c := new(Cipher)
	if s, ok := suiteOf(k.suite); ok {
		c.aead = newAEAD(s, k.key[:s.keyLen])
	}
	return c
}

func newAEAD(s suite, key []byte) cipher.AEAD {
	if s.chacha {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			panic(err) // the length is right
		}
		return a
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic(err)
	}
	return a
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
func expandLabel(s suite, dst, secret []byte, label string) {
	var info [32]byte
	b := binary.BigEndian.AppendUint16(info[:0], uint16(len(dst)))
	b = append(b, byte(len("tls13 ")+len(label)))
	b = append(b, "tls13 "...)
	b = append(b, label...)
	b = append(b, 0)
	out, err := hkdf.Expand(s.hash, secret, string(b), len(dst))
	if err != nil {
		panic(err) // FIPS mode refuses secrets that are too short: these are not
	}
	copy(dst, out)
	clear(out)
}
