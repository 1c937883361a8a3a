package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

// Whatever the reader's font, no label is over another or over a bar, and none
// leaves the picture.
func TestLabelsDoNotOverlap(t *testing.T) {
	all := published(t)
	all["sample"] = sample()
	for name, res := range all {
		for part, cs := range map[string][]column{"cpu": columns[:len(cells)], "connections": columns[len(cells):]} {
			for _, fault := range res.picture(part, cs).Faults() {
				t.Errorf("%s, %s: %s", name, part, fault)
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
	d := xml.NewDecoder(strings.NewReader(string(res.picture("x < y", columns).SVG())))
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
