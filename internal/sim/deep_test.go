package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// deepPackages are those between whose statements goroutines may stop.
var deepPackages = []string{".", "broadcast"}

// TestDeep runs seeds in which goroutines stop between any two statements of the
// server that are not under a lock. It builds a server of its own for it:
// make sim-deep.
func TestDeep(t *testing.T) {
	seeds := os.Getenv("SOCKEYE_SIM_DEEP")
	if seeds == "" {
		t.Skip("make sim-deep runs it")
	}
	dir := t.TempDir()
	test := buildDeep(t, dir, nil)
	cmd := exec.CommandContext(t.Context(), test, "-test.run", "^TestSeeds$", "-test.v", "-sim.deep", "-sim.seeds", seeds, "-sim.from", fmt.Sprint(*from), "-sim.stop", fmt.Sprint(*stop), "-sim.trace", fmt.Sprint(*verbose))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// TestDeepCompiles: make sim-deep and make sim-mutations, which are not run with each
// change, have a server to run.
func TestDeepCompiles(t *testing.T) {
	overlay := deepOverlay(t, t.TempDir(), nil)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
}

// buildDeep builds the tests of this package over a server with stops in it. replace
// has files that stand for others.
func buildDeep(t *testing.T, dir string, replace map[string]string) (test string) {
	t.Helper()
	overlay := deepOverlay(t, dir, replace)
	test = filepath.Join(dir, "sim.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay, "-o", test, ".").CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %s", out)
	}
	return test
}

// deepOverlay writes a server with stops in it, and the file that tells the compiler so.
func deepOverlay(t *testing.T, dir string, replace map[string]string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range deepPackages {
		files, err := filepath.Glob(filepath.Join(root, p, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			source := f
			if replace[f] != "" {
				source = replace[f]
			}
			out := filepath.Join(dir, strings.ReplaceAll(p, ".", "root")+"_"+filepath.Base(f))
			if err := os.WriteFile(out, withStops(t, source), 0o600); err != nil {
				t.Fatal(err)
			}
			all[f] = out
		}
	}
	for f, r := range replace {
		if all[f] == "" {
			all[f] = r
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": all})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// withStops puts a stop before each statement of a file, and has its locks tell.
func withStops(t *testing.T, path string) []byte {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	stop := func(list []ast.Stmt) (out []ast.Stmt) {
		for _, s := range list {
			switch s.(type) {
			case *ast.CaseClause, *ast.CommClause, *ast.LabeledStmt:
			default:
				out = append(out, &ast.ExprStmt{X: &ast.CallExpr{Fun: &ast.SelectorExpr{X: ast.NewIdent("yield"), Sel: ast.NewIdent("Point")}}})
			}
			out = append(out, s)
		}
		return out
	}
	used := false
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			n.List = stop(n.List)
			used = used || len(n.List) > 0
		case *ast.CaseClause:
			n.Body = stop(n.Body)
		case *ast.CommClause:
			n.Body = stop(n.Body)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "sync" && slices.Contains([]string{"Mutex", "RWMutex", "Pool"}, n.Sel.Name) {
				x.Name = "yield"
				used = true
			}
		}
		return true
	})
	var b bytes.Buffer
	for _, c := range f.Comments {
		if constraint.IsGoBuild(c.List[0].Text) {
			b.WriteString(c.List[0].Text + "\n\n")
		}
	}
	f.Comments = nil
	if err := printer.Fprint(&b, token.NewFileSet(), f); err != nil {
		t.Fatal(err)
	}
	if !used {
		return b.Bytes()
	}
	text := b.String()
	add := "\nimport \"github.com/sockeye-io/sockeye/internal/sim/yield\"\n"
	if strings.Contains(text, "\"sync\"") && !strings.Contains(text, "sync.") {
		text = strings.Replace(text, "\"sync\"", "_ \"sync\"", 1)
	}
	line := strings.Index(text, "\npackage ") + 1
	end := line + strings.IndexByte(text[line:], '\n')
	return []byte(text[:end] + add + text[end:])
}
