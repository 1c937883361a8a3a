package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// published are the results in the repository.
func published(t *testing.T) map[string]*results {
	t.Helper()
	files, err := filepath.Glob("../results/*/results.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no results: ", err)
	}
	all := map[string]*results{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		res := &results{}
		if err := json.Unmarshal(b, res); err != nil {
			t.Fatal(err)
		}
		all[filepath.Dir(f)] = res
	}
	return all
}

// Widths of a letter, in sizes. No common font's average is as wide as the
// generous one, bold or not.
const generousWidth = 0.8

func (l label) size() float64 {
	if l.class == "head" {
		return headSize
	}
	return textSize
}

// box is what a label takes with letters of a width.
func (l label) box(width float64) bar {
	w := width * l.size() * float64(utf8.RuneCountInString(l.text))
	b := bar{x: l.x, y: l.y - 0.8*l.size(), w: w, h: l.size()}
	if l.class == "value" {
		b.x -= w
	}
	return b
}

func (b bar) overlaps(o bar) bool {
	return b.x < o.x+o.w && o.x < b.x+b.w && b.y < o.y+o.h && o.y < b.y+b.h
}

// Whatever the reader's font, no label is over another or over a bar, and none
// leaves the picture.
func TestLabelsDoNotOverlap(t *testing.T) {
	all := published(t)
	all["sample"] = sample()
	for name, res := range all {
		for _, p := range []*picture{res.picture("cpu", columns[:len(cells)]), res.picture("connections", columns[len(cells):])} {
			if len(p.labels) == 0 {
				t.Fatalf("%s, %s: no labels", name, p.title)
			}
			for i, l := range p.labels {
				box := l.box(generousWidth)
				if box.x < 0 || box.x+box.w > pictureWidth || box.y < 0 || box.y+box.h > p.height {
					t.Errorf("%s, %s: %q leaves the picture: %+v", name, p.title, l.text, box)
				}
				for _, o := range p.labels[:i] {
					if box.overlaps(o.box(generousWidth)) {
						t.Errorf("%s, %s: %q is over %q", name, p.title, l.text, o.text)
					}
				}
				for _, b := range p.bars {
					if box.overlaps(b) {
						t.Errorf("%s, %s: %q is over a bar at %+v", name, p.title, l.text, b)
					}
				}
			}
		}
	}
}

// The files in the repository are what is drawn now.
func TestPicturesAreDrawnAnew(t *testing.T) {
	for dir, res := range published(t) {
		out := t.TempDir()
		if err := errors.Join(res.save(out), plotAll(res, out)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"cpu.svg", "connections.svg", "results.md", "results.json"} {
			want, _ := os.ReadFile(filepath.Join(out, name))
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != string(want) {
				t.Errorf("%s is not what run.sh -render makes: %v", filepath.Join(dir, name), err)
			}
		}
	}
}

func TestPicturesAreXML(t *testing.T) {
	res := sample()
	res.Rows[0].Title = `<"a" & b>`
	d := xml.NewDecoder(strings.NewReader(string(res.picture("x < y", columns).svg())))
	texts := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			texts += string(c)
		}
	}
	for _, want := range []string{`<"a" & b>`, "x < y", "failed", "3,000"} {
		if !strings.Contains(texts, want) {
			t.Errorf("no %q", want)
		}
	}
}

// Text has 4.5:1 and bars have 3:1 against the ground, light and dark (WCAG 1.4.3, 1.4.11).
func TestPicturesHaveContrast(t *testing.T) {
	light, dark, ok := strings.Cut(pictureStyle, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark colours")
	}
	for theme, style := range map[string]string{"light": light, "dark": dark} {
		fill := map[string]string{}
		for _, m := range regexp.MustCompile(`(\S+) \{[^}]*fill: (#[0-9a-f]{6})`).FindAllStringSubmatch(style, -1) {
			fill[m[1]] = m[2]
		}
		for class, least := range map[string]float64{"text": 4.5, ".unit": 4.5, ".sockeye": 3, ".other": 3, ".floor": 3} {
			if got := contrast(t, fill[class], fill[".ground"]); got < least {
				t.Errorf("%s %s: %.2f:1, want %v:1", theme, class, got, least)
			}
		}
	}
}

// contrast is WCAG's ratio of two colours.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(colour string) float64 {
		var c [3]int
		if _, err := fmt.Sscanf(colour, "#%02x%02x%02x", &c[0], &c[1], &c[2]); err != nil {
			t.Fatalf("%q: %v", colour, err)
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			v := float64(c[i]) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
