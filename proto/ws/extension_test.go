package ws

import (
	"os"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/proto/http1"
)

func acceptExtensions(r *http1.Request) (string, *Refusal) {
	var x Extensions
	r.EachHeader(func(name, value []byte) {
		if equalFold(name, "Sec-WebSocket-Extensions") {
			x.Add(value)
		}
	})
	return x.Accept()
}

// offerRequest is a handshake with those fields, separated by " | ".
func offerRequest(t testing.TB, fields string) *http1.Request {
	t.Helper()
	lines := ""
	for value := range strings.SplitSeq(fields, "|") {
		lines += "Sec-WebSocket-Extensions: " + strings.TrimSpace(value) + "\r\n"
	}
	const before = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	return parseUpgrade(t, strings.Replace(upgradeGET, before, lines, 1))
}

// TestExtensionOffers: RFC 7692 section 7.1 and RFC 6455 section 9.1.
func TestExtensionOffers(t *testing.T) {
	text, err := os.ReadFile("testdata/wsext/rfc7692-7.1-offers.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{"yes": acceptDeflate, "15": acceptDeflate15}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		verdict, fields, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if verdict == "#" || verdict == "" {
			continue
		}
		counts[verdict]++
		got, httpErr := acceptExtensions(offerRequest(t, fields))
		wantErr := verdict == "400"
		if (httpErr != nil) != wantErr || httpErr != nil && httpErr != errUpgradeExtensions || got != lines[verdict] {
			t.Errorf("%s: %q, %v, want %s", fields, got, httpErr, verdict)
		}
	}
	for _, verdict := range []string{"yes", "15", "no", "400"} {
		if counts[verdict] == 0 {
			t.Errorf("no vectors with %q", verdict)
		}
	}
	r := parseUpgrade(t, strings.Replace(upgradeGET, "Sec-WebSocket-Extensions", "X-Extensions", 1))
	if got, err := acceptExtensions(r); got != "" || err != nil {
		t.Errorf("without the field: %q, %v", got, err)
	}
}

// TestExtensionResponse: the response is an answer to what was offered, as RFC
// 7692 section 7.1 has it, and can itself be parsed as an offer.
func TestExtensionResponse(t *testing.T) {
	for _, line := range []string{acceptDeflate, acceptDeflate15} {
		value, ok := strings.CutPrefix(line, "Sec-WebSocket-Extensions: ")
		if !ok || !strings.HasSuffix(value, "\r\n") {
			t.Fatalf("%q", line)
		}
		if got, err := acceptExtensions(offerRequest(t, value)); got != line || err != nil {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
}

func TestExtensionAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are counted without the race detector")
	}
	for _, fields := range []string{
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate",
		"permessage-deflate; client_max_window_bits=10;",
	} {
		r := offerRequest(t, fields)
		if n := testing.AllocsPerRun(100, func() { _, _ = acceptExtensions(r) }); n != 0 {
			t.Errorf("%s: %v allocations", fields, n)
		}
	}
}
