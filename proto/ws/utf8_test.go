package ws

import (
	"slices"
	"testing"
	"unicode/utf8"
)

// TestValidUTF8Prefix tries every sequence of up to three bytes out of those
// that matter: what is accepted has a continuation that is valid,
// and what is refused has none.
func TestValidUTF8Prefix(t *testing.T) {
	interesting := []byte{
		0x00, 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
		0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff,
	}
	endings := []string{""}
	for _, a := range interesting {
		endings = append(endings, string([]byte{a}))
		for _, b := range interesting {
			endings = append(endings, string([]byte{a, b}))
			for _, c := range interesting {
				endings = append(endings, string([]byte{a, b, c}))
			}
		}
	}
	// Every character that has begun can end in these.
	var continuations []string
	for _, c := range []string{"\x80", "\xbf"} {
		for _, d := range []string{"", "\x80", "\xbf"} {
			for _, e := range []string{"", "\x80", "\xbf"} {
				continuations = append(continuations, "", c+d+e)
			}
		}
	}
	viable := func(s string) bool {
		return slices.ContainsFunc(continuations, func(c string) bool { return utf8.ValidString(s + c) })
	}
	for _, s := range endings {
		for _, before := range []string{"", "x", "some text, ", "\u1f79", "\xff"} {
			text := before + s
			n, ok := validUTF8Prefix([]byte(text))
			if want := viable(text); ok != want {
				t.Fatalf("%q: ok = %v, want %v", text, ok, want)
			}
			if ok && (!utf8.ValidString(text[:n]) || len(text)-n > 3 || (n < len(text) && utf8.FullRuneInString(text[n:]))) {
				t.Fatalf("%q: n = %d", text, n)
			}
		}
	}
}

// TestValidUTF8PrefixEveryCharacter cuts each character everywhere.
func TestValidUTF8PrefixEveryCharacter(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		b := utf8.AppendRune([]byte("x"), r)
		for i := 1; i < len(b); i++ {
			if n, ok := validUTF8Prefix(b[:i]); !ok || n != 1 {
				t.Fatalf("%q: n = %d, ok = %v, want 1, true", b[:i], n, ok)
			}
		}
		if n, ok := validUTF8Prefix(b); !ok || n != len(b) {
			t.Fatalf("%q: n = %d, ok = %v, want %d, true", b, n, ok, len(b))
		}
	}
}
