package browser

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
)

// choose has the page choose a file of so many bytes.
func (b *tab) choose(name string, size int) {
	b.t.Helper()
	b.await(fmt.Sprintf(`(() => {
		const all = new DataTransfer(), bytes = new Uint8Array(%d).map((_, i) => i * 31);
		all.items.add(new File([bytes], %q));
		const input = document.getElementById("choose");
		input.files = all.files;
		input.dispatchEvent(new Event("change"));
		return true;
	})()`, size, name))
}

// TestUpload: a file is uploaded although its connection is reset on the way, and is the same.
func TestUpload(t *testing.T) {
	there, err := url.Parse(startExample(t, "upload"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := adaptertest.NewProxy(t, there.Host)
	b := openTab(t, browser(t), "http://"+proxy.Addr()+"/", "Ann", "")
	b.awaitText("connection", "online")
	proxy.Delay(20 * time.Millisecond)
	b.choose("<b>fish</b>.bin", 4<<20)
	for _, share := range []string{"0.1", "0.5"} {
		b.await(`document.querySelector("progress").value > ` + share)
		proxy.Reset()
	}
	proxy.Delay(0)
	b.awaitText("files", "there, and the same")
	b.awaitText("files", "<b>fish</b>.bin")
	b.choose("empty", 0)
	b.awaitText("files", "files may have up to 256 MB")
}

// TestUploadRestart: the server is restarted in the middle of a file: it comes all the same.
func TestUploadRestart(t *testing.T) {
	e := buildExample(t, "upload")
	url, stop := e.start("127.0.0.1:0")
	proxy := adaptertest.NewProxy(t, host(url))
	b := openTab(t, browser(t), "http://"+proxy.Addr()+"/", "Ann", "")
	b.awaitText("connection", "online")
	proxy.Delay(20 * time.Millisecond)
	b.choose("fish.bin", 4<<20)
	b.await(`document.querySelector("progress").value > 0.1`)
	stop()
	e.start(host(url))
	proxy.Delay(0)
	b.awaitText("files", "there, and the same")
}

// TestUploadLooks: see eachLook.
func TestUploadLooks(t *testing.T) {
	url := startExample(t, "upload")
	eachLook(t, browser(t), url, "upload", func(ann *tab, look func(state string), _ string) {
		ann.awaitText("connection", "online")
		look("empty")
		ann.choose("photo.jpg", 1_300_000)
		ann.awaitText("files", "there, and the same")
		ann.choose("nothing.txt", 0)
		ann.await(`document.querySelector(".failed")`)
		look("done")
	})
}
