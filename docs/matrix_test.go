package docs_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var write = flag.Bool("write", false, "write the table in README.md again")

// TestMatrixInREADME: README's table of clusters counts what cluster-matrix.md has.
func TestMatrixInREADME(t *testing.T) {
	matrix, err := os.ReadFile("cluster-matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- clusters: written by go test ./docs -write -->\n", "<!-- end of clusters -->\n"
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), begin)
	is, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("README.md has no table of clusters")
	}
	want := countMatrix(string(matrix))
	if is == want {
		return
	}
	if !*write {
		t.Fatalf("README.md has\n%s, and docs/cluster-matrix.md\n%s: run go test ./docs -write", is, want)
	}
	if err := os.WriteFile("../README.md", []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// countMatrix is a row for each table: how many of its cells have a ✓, of those that the
// format has a way for.
func countMatrix(matrix string) string {
	columns := []string{"Go → Node", "Node → Go", "Go → Python", "Python → Go", "Node → Go → Python", "Python → Go → Node"}
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s | emitters |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)+1))
	sections := strings.Split(matrix, "\n### ")
	bus := ""
	for i, section := range sections[1:] {
		if _, table, ok := strings.Cut(sections[i], "<!-- table "); ok {
			bus = ""
			if strings.HasPrefix(table, "redis") {
				bus = "Redis: "
			}
		}
		name, section, _ := strings.Cut(section, "\n")
		passed, possible := map[string]int{}, map[string]int{}
		var head []string
		for line := range strings.Lines(section) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			switch {
			case len(cells) < 2 || strings.HasPrefix(cells[1], "---"):
			case head == nil:
				head = cells
			default:
				for i, cell := range cells[1:] {
					column := strings.TrimSpace(head[i+1])
					if strings.Contains(column, "emitter") {
						column = "emitters"
					}
					switch strings.TrimSpace(cell) {
					case "✓":
						passed[column]++
						possible[column]++
					case "–":
					default:
						possible[column]++
					}
				}
			}
		}
		fmt.Fprintf(&b, "| %s%s ", bus, name)
		for _, column := range append(columns, "emitters") {
			switch {
			case possible[column] == 0:
				b.WriteString("| ")
			default:
				fmt.Fprintf(&b, "| %d of %d ", passed[column], possible[column])
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}
