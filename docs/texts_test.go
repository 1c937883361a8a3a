package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allTexts are what is to be true on every commit. CHANGELOG.md and decisions/ tell of
// the past.
func allTexts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range append(files, "../README.md", "../CONTRIBUTING.md", "../SECURITY.md") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(b)
	}
	return all
}

// tree is every file of the project, by its path from the root. site/ is made by make docs.
func tree(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || path == filepath.Join("..", "site") || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 && d.Name() != ".github") {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() {
			files = append(files, filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator))))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var (
	codeBlock = regexp.MustCompile("(?s)```.*?```")
	codeSpan  = regexp.MustCompile("`([^`\n]+)`")
	link      = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	fileName  = regexp.MustCompile(`^[\w./*-]+\.(go|md|sh|txt|js|py|yml|json|svg|conf|cfg)$`)
	makeRule  = regexp.MustCompile(`\bmake ([a-z][a-z-]*)`)
	goName    = regexp.MustCompile(`^(?:(?:sockeye|client|s|srv|ns|op|e)\.)?([A-Z][a-z]\w*(?:\.[A-Z]\w*)*)(?:\(.*\))?$`)
	testName  = regexp.MustCompile(`^(?:\w+\.)?((?:Test|Fuzz|Benchmark)[A-Z]\w*)(?:/.*)?$`)
	tests     = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`)
)

// TestFilesThatTextsName are there, and so are those that they link to.
func TestFilesThatTextsName(t *testing.T) {
	files := tree(t)
	named := 0
	for text, content := range allTexts(t) {
		for _, m := range codeSpan.FindAllStringSubmatch(codeBlock.ReplaceAllString(content, ""), -1) {
			name := m[1]
			if !fileName.MatchString(name) || notOurs[name] {
				continue
			}
			named++
			if !slices.ContainsFunc(files, func(file string) bool {
				ok, _ := path.Match(name, file)
				base, _ := path.Match(name, path.Base(file))
				return ok || base || strings.HasSuffix(file, "/"+name)
			}) {
				t.Errorf("%s names the file %s, which is not there", text, name)
			}
		}
		for _, m := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(content, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			named++
			if _, err := os.Stat(filepath.Join(filepath.Dir(text), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", text, m[1], err)
			}
		}
	}
	if named < 80 {
		t.Errorf("only %d files are named", named)
	}
}

// TestHeadingsThatTextsLinkTo are there.
func TestHeadingsThatTextsLinkTo(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	anchor := regexp.MustCompile(`\]\(([^)#\s:]*)#([^)\s]+)\)`)
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	all := allTexts(t)
	links := 0
	for text, content := range all {
		for _, m := range anchor.FindAllStringSubmatch(content, -1) {
			links++
			to := text
			if m[1] != "" {
				to = strings.TrimPrefix(filepath.Join("../docs", filepath.Dir(text), m[1]), "../docs/")
			}
			if !slices.ContainsFunc(heading.FindAllStringSubmatch(all[to], -1), func(h []string) bool {
				return strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == m[2]
			}) {
				t.Errorf("%s links to #%s, which %s has not", text, m[2], to)
			}
		}
	}
	if links < 8 {
		t.Errorf("only %d links", links)
	}
}

// TestCommandsThatTextsName are rules of the Makefile, and each rule has its script.
func TestCommandsThatTextsName(t *testing.T) {
	b, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(b), -1) {
		rules[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`@(ci/\S+)`).FindAllStringSubmatch(string(b), -1) {
		if _, err := os.Stat("../" + m[1]); err != nil {
			t.Error(err)
		}
	}
	for text, content := range allTexts(t) {
		code := strings.Join(slices.Concat(codeBlock.FindAllString(content, -1), codeSpan.FindAllString(content, -1)), "\n")
		for _, m := range makeRule.FindAllStringSubmatch(code, -1) {
			if !rules[m[1]] {
				t.Errorf("%s names make %s, which is not there", text, m[1])
			}
		}
	}
}

// TestNamesThatTextsUse: each test, and each exported identifier, that a text names is
// there, as Type.Member or alone.
func TestNamesThatTextsUse(t *testing.T) {
	known := testNames(t)
	for _, file := range tree(t) {
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, b, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		addNames(known, path.Dir(file), f)
	}
	named := 0
	for text, content := range allTexts(t) {
		for _, m := range codeSpan.FindAllStringSubmatch(codeBlock.ReplaceAllString(content, ""), -1) {
			name := m[1]
			if test := testName.FindStringSubmatch(name); test != nil {
				name = test[1]
			} else if ident := goName.FindStringSubmatch(name); ident != nil && !notOurs[ident[1]] {
				name = ident[1]
			} else {
				continue
			}
			named++
			parts := strings.Split(name, ".")
			if long := shorthands[parts[0]]; long != "" && len(parts) == 2 {
				name = long + "." + parts[1]
			}
			if !known[name] && !(len(parts) > 2 && known[strings.Join(parts[len(parts)-2:], ".")]) {
				t.Errorf("%s names %s, which is not there", text, m[1])
			}
		}
	}
	if named < 300 {
		t.Errorf("only %d names are checked", named)
	}
}

// addNames adds what a file declares: names, and Type.Member for fields and methods,
// those of embedded types included under their own type.
func addNames(known map[string]bool, dir string, f *ast.File) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			known[d.Name.Name] = true
			if d.Recv != nil {
				recv := d.Recv.List[0].Type
				if star, ok := recv.(*ast.StarExpr); ok {
					recv = star.X
				}
				if id, ok := recv.(*ast.Ident); ok {
					name := id.Name
					if name == "handlers" { // embedded by these
						for _, by := range []string{"Server", "Namespace", "ParentNamespace"} {
							known[by+"."+d.Name.Name] = true
						}
					}
					if name == "Namespace" { // embedded by Server
						known["Server."+d.Name.Name] = true
					}
					known[name+"."+d.Name.Name] = true
				}
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.ValueSpec:
					for _, n := range s.Names {
						known[n.Name] = true
					}
				case *ast.TypeSpec:
					known[s.Name.Name] = true
					ast.Inspect(s.Type, func(n ast.Node) bool {
						if field, ok := n.(*ast.Field); ok {
							for _, n := range field.Names {
								known[n.Name], known[s.Name.Name+"."+n.Name], known[dir+"/"+s.Name.Name+"."+n.Name] = true, true, true
							}
						}
						return true
					})
				}
			}
		}
	}
}

// notOurs are names of others that look like ours.
var notOurs = map[string]bool{
	"engine/testdata/x.txt": true, "engine.io/test/server.js": true, // an example, the reference's
	"SocketIO": true, "ConnectionRefusedError": true, "ArrayBuffer": true, "ProxyFix": true, // Python's, JavaScript's
	"GameSocket": true, "PageItem": true, "Blob": true, "MarshalText": true, // a contract's, TypeScript's, encoding's
	"Vary": true, "Origin": true, "Forbidden": true, "Forwarded": true, // HTTP's
	"socket.io-client/dist/socket.io.min.js": true, "public/socket.io.min.js": true, // npm's, the reader's
}

// shorthands are what the tables of limits call the fields of a Config and of Stats.
var shorthands = map[string]string{"Net": "netpoll/Stats", "Engine": "engine/Stats", "PerAddress": "netpoll/AddressLimits", "Cluster": "broadcast/AdapterStats"}

// TestEachLimitNamesItsField, or says that it has none.
func TestEachLimitNamesItsField(t *testing.T) {
	rows := 0
	for line := range strings.Lines(allTexts(t)["limits.md"]) {
		columns := strings.Split(strings.TrimSpace(line), "|")
		if len(columns) < 4 || strings.HasPrefix(columns[1], "---") || strings.Contains(columns[2], "setting") {
			continue
		}
		rows++
		if what := columns[2]; !codeSpan.MatchString(what) && !strings.Contains(what, "fixed") {
			t.Errorf("the limit of %q names no field, nor says that it is fixed: %q", strings.TrimSpace(columns[1]), what)
		}
	}
	if rows < 40 {
		t.Errorf("only %d rows", rows)
	}
}

// TestCodeIsFromFiles: what a text shows of a file is what is in it.
func TestCodeIsFromFiles(t *testing.T) {
	shown := regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```\\w*\n(.*?)```")
	n := 0
	for text, content := range allTexts(t) {
		for _, m := range shown.FindAllStringSubmatch(content, -1) {
			n++
			if b, err := os.ReadFile(filepath.Join("..", m[1])); err != nil || string(b) != m[2] {
				t.Errorf("%s shows %s otherwise than it is (%v)", text, m[1], err)
			}
		}
	}
	if n < 4 {
		t.Errorf("only %d files are shown", n)
	}
}

// logged is a line of the log as the code writes it: to slog, or through a tell.
var logged = regexp.MustCompile(`(?m)^[^/\n]*\.(Debug|Warn|Error|tell|tellTooLarge)\((?:.*, )?"((?:sockeye|engine|netpoll): [^"]+)"`)

// TestLogLines: a text explains each line that is written, as one for Debug or not, and
// no other.
func TestLogLines(t *testing.T) {
	written := map[string]bool{} // whether at Debug
	for _, file := range tree(t) {
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range logged.FindAllSubmatch(b, -1) {
			written[string(m[2])] = string(m[1]) != "Warn" && string(m[1]) != "Error"
		}
	}
	explained, debug := map[string]bool{}, false
	for line := range strings.Lines(allTexts(t)["operations.md"]) {
		if strings.HasPrefix(line, "| Error") || strings.HasPrefix(line, "| Debug") {
			debug = strings.HasPrefix(line, "| Debug")
		}
		for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
			if strings.HasPrefix(line, "|") && regexp.MustCompile(`^(sockeye|engine|netpoll): `).MatchString(m[1]) {
				explained[m[1]] = debug
			}
		}
	}
	for line, debug := range written {
		if d, ok := explained[line]; !ok || d != debug {
			t.Errorf("operations.md does not explain %q (at Debug: %v)", line, debug)
		}
	}
	for text, content := range allTexts(t) {
		for _, m := range codeSpan.FindAllStringSubmatch(content, -1) {
			if _, ok := written[m[1]]; !ok && regexp.MustCompile(`^(sockeye|engine|netpoll): `).MatchString(m[1]) {
				t.Errorf("%s explains %q, which is not written", text, m[1])
			}
		}
	}
	if len(written) < 25 {
		t.Errorf("only %d lines are written", len(written))
	}
}

// TestAnswersAreExplained: each refusal of the engine's tables has a row with its
// status and its text. interop/troubles brings them about.
func TestAnswersAreExplained(t *testing.T) {
	b, err := os.ReadFile("../engine/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{"StatusBadRequest": "400", "StatusForbidden": "403", "StatusTooManyRequests": "429", "StatusServiceUnavailable": "503"}
	rows := 0
	for _, m := range regexp.MustCompile(`(?:http\.(Status\w+), |status: http\.(Status\w+), why: )"([^"]+)"`).FindAllSubmatch(b, -1) {
		code, text := status[string(m[1])+string(m[2])], "`"+string(m[3])+"`"
		rows++
		found := false
		for line := range strings.Lines(allTexts(t)["troubleshooting.md"]) {
			found = found || strings.HasPrefix(line, "| "+code+" ") && strings.Contains(line, text)
		}
		if !found {
			t.Errorf("troubleshooting.md does not explain %q %s", code, text)
		}
	}
	if rows < 12 {
		t.Errorf("only %d answers", rows)
	}
}
