package ws

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"
)

// TestRFC6455 runs each case of testdata/ws, one file a section, one case a
// rule: whole, cut in two, byte by byte and in random pieces.
func TestRFC6455(t *testing.T) {
	for _, c := range vectors.Load(t, "testdata/ws", vectors.WebSocket) {
		file, _, _ := strings.Cut(filepath.Base(c.Pos), ".txt")
		t.Run(strings.TrimPrefix(file, "rfc6455-")+"/"+c.Name, func(t *testing.T) {
			checkInPieces(t, c, ParseFrames)
		})
	}
}

type parseFunc = func(maxMessageBytes int, pieces ...[]byte) []ParsedEvent

func checkInPieces(t *testing.T, c vectors.Case, parse parseFunc) {
	t.Helper()
	checkPieces(t, c, parse, "whole", c.Input)
	step := 1 + len(c.Input)/200 // one by one about the headers of all but a few cases
	for at := 1; at < len(c.Input); at += step {
		checkPieces(t, c, parse, fmt.Sprintf("cut at %d", at), c.Input[:at], c.Input[at:])
	}
	checkPieces(t, c, parse, "byte by byte", slices.Collect(slices.Chunk(c.Input, 1))...)
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 6455))
		checkPieces(t, c, parse, fmt.Sprintf("in random pieces, seed %d", seed), randomPieces(rnd, c.Input)...)
	}
}

func checkPieces(t *testing.T, c vectors.Case, parse parseFunc, how string, pieces ...[]byte) {
	t.Helper()
	var got []string
	for _, e := range parse(c.Max, pieces...) {
		got = append(got, e.String())
	}
	if got == nil {
		got = []string{"nothing"}
	}
	if !slices.Equal(got, c.Want) {
		t.Fatalf("%s: %s\n%s\ngot:  %s\nwant: %s", c.Pos, c.Name, how,
			strings.Join(got, "\n      "), strings.Join(c.Want, "\n      "))
	}
}

// randomPieces cuts b in pieces of any size, small ones and empty ones among them.
func randomPieces(rnd *rand.Rand, b []byte) (pieces [][]byte) {
	for len(b) > 0 {
		n := min(rnd.IntN(1<<rnd.IntN(15)), len(b))
		pieces = append(pieces, b[:n:n])
		b = b[n:]
	}
	return pieces
}
