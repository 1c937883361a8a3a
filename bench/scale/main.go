// Command scale computes what very many connections take: servers, memory, heartbeats, the
// bus. Its costs are measured ones, of bench/results/cluster, and its tables stand in
// docs/scale.md.
//
//	go run ./bench/scale [-n 10000000] [-write]
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	root := flag.String("root", ".", "root of the checkout")
	n := flag.Float64("n", connections, "connections")
	write := flag.Bool("write", false, "write the tables into docs/scale.md")
	flag.Parse()
	if err := run(*root, *n, *write); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(root string, n float64, write bool) error {
	c, err := readCosts(filepath.Join(root, "bench/results/cluster"))
	if err != nil {
		return err
	}
	tables := c.tables(n)
	if !write {
		for _, t := range tables {
			fmt.Printf("%s\n\n%s\n", t.name, t.text)
		}
		return nil
	}
	file := filepath.Join(root, "docs/scale.md")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := fill(string(b), tables)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// fill puts the tables where a text has their places: from a line "<!-- scale: name -->" to
// the next empty line.
func fill(text string, tables []table) (string, error) {
	for _, t := range tables {
		place := regexp.MustCompile(`(?s)(<!-- scale: ` + regexp.QuoteMeta(t.name) + ` -->\n).*?\n(\n|$)`)
		if !place.MatchString(text) {
			return "", fmt.Errorf("the text has no place for %q", t.name)
		}
		text = place.ReplaceAllStringFunc(text, func(s string) string {
			head, _, _ := strings.Cut(s, "\n")
			return head + "\n" + t.text + "\n"
		})
	}
	return text, nil
}
