package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/texts"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestCommandsOfLoadText: each command of docs/load.md does what it says, with few
// connections, for a moment, against a server as the text has it.
func TestCommandsOfLoadText(t *testing.T) {
	b, err := os.ReadFile("../../docs/load.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := texts.Blocks("docs/load.md", string(b))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	srv.On("echo", func(_ *sockeye.Socket, text string) string { return text })
	srv.On("news", func(_ *sockeye.Socket, text string) error { return srv.Emit("news", text) })
	srv.On("sum", func(s *sockeye.Socket, text string) error { return s.Emit("total", text) })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // for the reports
	n := 0
	for _, block := range blocks {
		if block.Language != "sh" {
			continue
		}
		for _, command := range block.Commands() {
			n++
			_, args, ok := strings.Cut(command, "sockeye-load ")
			if !ok {
				t.Errorf("%v: %s", block, command)
				continue
			}
			words := strings.Fields(args)
			words = append(words[:len(words)-1], "-connections", "10", "-duration", "300ms", "-warmup", "0")
			if strings.Contains(args, "-fail-p99") {
				words = append(words, "-fail-p99", "10s", "-fail-errors", "100%")
			}
			var out, errs wiretest.Output
			if code := run(append(words, "http://"+addr.String()), &out, &errs, nil); code != 0 || !strings.Contains(out.String(), "10") {
				t.Errorf("%s: code %d\n%s%s", command, code, out.String(), errs.String())
			}
		}
	}
	if n < 6 {
		t.Errorf("only %d commands", n)
	}
}
