package sockeye

import (
	"os"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/tlspeer"
)

// TestCertificateFiles: a renewed certificate is taken at the next look, and one that
// cannot be read is told and changes nothing.
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	f := &certificateFiles{}
	write := func(name string, at time.Time) {
		t.Helper()
		var err error
		if f.cert, f.key, err = tlspeer.WriteFiles(dir, tlspeer.NewCertificate(name), at); err != nil {
			t.Fatal(err)
		}
	}
	write("one", begin)
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	told := 0
	name := func(now time.Time) string {
		return f.get(now, func(string, ...any) { told++ }).Leaf.DNSNames[0]
	}
	if got := name(begin); got != "one" {
		t.Fatal(got)
	}
	write("two", begin.Add(time.Hour))
	if got := name(begin.Add(lookEvery - time.Second)); got != "one" {
		t.Error("it was looked at too early: ", got)
	}
	if got := name(begin.Add(lookEvery + time.Second)); got != "two" {
		t.Error("after the renewal: ", got)
	}
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	if got := name(begin.Add(3 * lookEvery)); got != "two" || told != 1 {
		t.Errorf("without a key: %s, told %d times", got, told)
	}
	write("three", begin.Add(2*time.Hour))
	if err := os.WriteFile(f.key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(begin.Add(5 * lookEvery)); got != "two" || told != 2 {
		t.Errorf("with half a key: %s, told %d times", got, told)
	}
}
