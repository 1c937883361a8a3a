package browser

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// startTLS runs interop/server with TLS, and returns its address and the hash of its
// public key, by which Chromium trusts it. The key is one of P-256: Chromium takes no
// Ed25519.
func startTLS(t *testing.T) (url, trusted string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(public)
	dir := t.TempDir()
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "server")
	build := exec.Command("go", "build", "-o", binary, "./interop/server")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "-addr", "127.0.0.1:0", "-tls", "-cert", filepath.Join(dir, "cert.pem"), "-key", filepath.Join(dir, "key.pem"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("no address in %q: %v", line, err)
	}
	return "https://" + addr + "/", base64.StdEncoding.EncodeToString(hash[:])
}

// TestTLS: socket.io-client in pages of https, by each transport: binary, acknowledged,
// of several records, and a broadcast to all.
func TestTLS(t *testing.T) {
	bundle, err := os.ReadFile("../clients/node_modules/socket.io-client/dist/socket.io.min.js")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err, "(run ci/clients.sh)")
	}
	url, trusted := startTLS(t)
	ctx := browser(t, chromedp.Flag("ignore-certificate-errors-spki-list", trusted))
	var tabs []*tab
	for _, c := range []struct{ transports, at string }{
		{`["polling"]`, "polling"}, {`["websocket"]`, "websocket"}, {`["polling", "websocket"]`, "websocket"},
	} {
		b := openTab(t, ctx, url, c.transports, "")
		b.await("location.protocol === 'https:' && isSecureContext")
		b.do(chromedp.Evaluate[chromedp.Void](string(bundle)))
		b.await(fmt.Sprintf("window.socket = io({transports: %s})", c.transports))
		b.await(fmt.Sprintf("socket.connected && socket.io.engine.transport.name === %q", c.at))
		b.await(`(() => {
			socket.on("bcast", x => { window.heard = x })
			const sent = new Uint8Array(500000).map((_, i) => i * 7)
			socket.emit("message-with-ack", sent, "é😀", (bytes, text) => {
				const got = new Uint8Array(bytes)
				window.answered = text === "é😀" && got.length === sent.length && got.every((x, i) => x === sent[i])
			})
			return true
		})()`)
		b.await("window.answered")
		tabs = append(tabs, b)
	}
	for i, from := range tabs {
		from.await(fmt.Sprintf(`socket.emit("bcast", "from %d")`, i))
		for _, to := range tabs {
			to.await(fmt.Sprintf(`window.heard === "from %d"`, i))
		}
	}
}
