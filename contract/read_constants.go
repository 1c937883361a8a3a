package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"
)

func isLetterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// sources are the constants of packages, by package and type. They are all that is read
// from source: no program knows its own constants.
type sources map[string]map[string][]string

// constants are the values of a string type's constants, in its own package.
func (s *sources) constants(t reflect.Type) ([]string, error) {
	path := t.PkgPath()
	if path == "main" {
		if info, ok := debug.ReadBuildInfo(); ok {
			path = info.Path
		}
	}
	if *s == nil {
		*s = sources{}
	}
	all, ok := (*s)[path]
	if !ok {
		var err error
		if all, err = constantsOf(path); err != nil {
			return nil, err
		}
		(*s)[path] = all
	}
	return all[t.Name()], nil
}

func constantsOf(path string) (map[string][]string, error) {
	external := false
	cmd := exec.Command("go", "list", "-e", "-json=Dir,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Standard", path)
	if own, ok := strings.CutSuffix(path, "_test"); ok { // an external test's
		cmd.Args[len(cmd.Args)-1] = own
		external = true
	}
	out, err := cmd.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("go list %s: %w", path, err)
	}
	var p struct {
		Dir                                          string
		GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
		Standard                                     bool
	}
	if err := json.Unmarshal(out, &p); err != nil {
		return nil, err
	}
	if p.Standard { // none of them is closed
		return nil, nil
	}
	names := slices.Concat(p.GoFiles, p.CgoFiles, p.TestGoFiles)
	if external {
		names = p.XTestGoFiles
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("go list %s: it has no files", path)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	// Imports are not looked for: what depends on them is no constant here.
	check := types.Config{IgnoreFuncBodies: true, FakeImportC: true, Error: func(error) {}, Importer: noImporter{}}
	pkg, _ := check.Check(path, set, files, nil)
	if pkg == nil {
		return nil, fmt.Errorf("%s cannot be read", path)
	}
	all := map[string][]string{}
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || c.Val().Kind() != constant.String {
			continue
		}
		if n, ok := c.Type().(*types.Named); ok && n.Obj().Pkg() == pkg {
			all[n.Obj().Name()] = append(all[n.Obj().Name()], constant.StringVal(c.Val()))
		}
	}
	for name, values := range all {
		slices.Sort(values)
		all[name] = slices.Compact(values)
	}
	return all, nil
}

type noImporter struct{}

func (noImporter) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not looked for", path)
}
