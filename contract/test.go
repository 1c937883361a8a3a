package contract

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sockeye-io/sockeye"
)

// Files are where a contract is kept, from the folder of the package whose test it is.
// "" for none.
type Files struct {
	TypeScript string // as page/contract.d.ts
	AsyncAPI   string // as contract.json
}

// TB is what Test needs of a *testing.T.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// Folder is the environment's variable by which cmd/sockeye tells Test to write the files
// into a folder, and to look at none.
const Folder = "SOCKEYE_CONTRACT"

// The files' names in that folder.
const (
	TypeScriptFile = "contract.d.ts"
	AsyncAPIFile   = "contract.json"
	FilesFile      = "files.json" // what Test was given, as JSON
)

// Test fails if what is registered and declared on a server is not what the files have: for
// each change that breaks peers which were built by them, and for files that are out of
// date. Call it in a test named TestContract, when all is registered: the command
//
//	go run github.com/sockeye-io/sockeye/cmd/sockeye contract -write ./your/package
//
// runs that test, and writes the files.
func Test(t TB, srv *sockeye.Server, files Files, o Options) {
	t.Helper()
	c, err := Of(srv, o)
	if err != nil {
		t.Fatal(err)
		return
	}
	if dir := os.Getenv(Folder); dir != "" {
		if err := c.write(dir, files); err != nil {
			t.Fatal(err)
		}
		return
	}
	if files.AsyncAPI != "" {
		b, err := os.ReadFile(files.AsyncAPI)
		switch {
		case errors.Is(err, fs.ErrNotExist): // outOfDate says so
		case err != nil:
			t.Fatal(err)
		default:
			old, err := Read(b)
			if err != nil {
				t.Fatal(err)
				return
			}
			for _, change := range Breaking(old, c) {
				t.Errorf("it breaks peers: %v", change)
			}
		}
	}
	outOfDate(t, files.AsyncAPI, c.AsyncAPI())
	outOfDate(t, files.TypeScript, c.TypeScript())
}

func outOfDate(t TB, file string, want []byte) {
	t.Helper()
	if file == "" {
		return
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Equal(normal(b), want) {
		t.Errorf("%s is not what is registered; write it by: go run github.com/sockeye-io/sockeye/cmd/sockeye contract -write .", file)
	}
}

// normal undoes what git does on Windows.
func normal(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }

func (c *Contract) write(dir string, files Files) error {
	for name, b := range map[string][]byte{TypeScriptFile: c.TypeScript(), AsyncAPIFile: c.AsyncAPI(), FilesFile: files.json()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
