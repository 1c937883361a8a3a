package postgres

import (
	"testing"

	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
)

// FuzzHeader: whatever a notification is, it is read or refused.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{`{"uid":"0123456789abcdef","type":3,"attachmentId":"1"}`, `{"attachmentId":7}`, `{"attachmentId":null}`, `{"attachmentId":"`, `{"a":{"attachmentId":"1"}}`, `{"attachmentId":"\u0031"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok, err := readHeader(b)
		if ok && err == nil && !h.AttachmentID.set {
			t.Fatalf("%q has no id", b)
		}
	})
}

// FuzzChannel: channels are names that PostgreSQL takes, and those of different namespaces
// differ.
func FuzzChannel(f *testing.F) {
	for i, name := range adaptertest.Names {
		f.Add("/"+name, "/"+adaptertest.Names[len(adaptertest.Names)-1-i])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		at := format{prefix: "socket.io"}
		x, y := at.channel("/"+a), at.channel("/"+b)
		if len(x) > maxName || !isText(x) || (x == y) != (a == b) {
			t.Fatalf("%q and %q: %q and %q", a, b, x, y)
		}
	})
}
