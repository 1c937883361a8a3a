package docs_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
)

// commands are the command lines of the blocks, by their text, and how each is tried:
// by a test of that name; here; or not, for a reason.
var commands = map[string]map[string]string{
	"../README.md": {
		"go run ./examples/chat": "TestAccessible", // and the others of interop/browser
		"make test":              "not: it is what runs this",
		"go mod edit -require github.com/sockeye-io/sockeye@v0.0.0 -replace github.com/sockeye-io/sockeye=../sockeye": "here",
		"go mod tidy": "here",
	},
	"../CONTRIBUTING.md": {
		"make test": "not: it is what runs this",
	},
	"../examples/cluster/README.md": {
		"go run . -n 4": "TestCluster",
		"go test .":     "TestCluster", // ci/interop.sh has it
		"docker compose up --build --scale chat=3": "not: there is no Docker where the tests run; TestTwoMachines has the processes linked by TCP, as they are there",
	},
	"../examples/service/README.md": {
		"go run .":  "TestService",
		"go test .": "TestService", // ci/interop.sh has it
	},
	"admin.md": {
		"go mod edit -require github.com/sockeye-io/sockeye/adminui@v0.0.0 -replace github.com/sockeye-io/sockeye/adminui=../sockeye/adminui": "here",
		"go mod tidy": "here",
		"npm pack @socket.io/admin-ui@0.5.1 && tar xzf socket.io-admin-ui-0.5.1.tgz": "not: ci/clients.sh installs the same package, whose page the tests of interop/browser drive",
	},
	"cluster.md": {
		"go mod edit -require github.com/sockeye-io/sockeye/broadcast/redis@v0.0.0 -replace github.com/sockeye-io/sockeye/broadcast/redis=../sockeye/broadcast/redis": "here",
		"go mod tidy": "here",
	},
	"contracts.md": {
		"go run ./cmd/sockeye contract -write ./examples/lobby":                              "TestCommandsOfTheText",
		"go run ./cmd/sockeye contract ./examples/lobby":                                     "TestCommandsOfTheText",
		"go run ./cmd/sockeye contract -check examples/lobby/contract.json ./examples/lobby": "TestCommandsOfTheText",
	},
	"operations.md": {
		"sysctl -w fs.nr_open=1048576":                     "here",
		"sysctl -w net.core.somaxconn=4096":                "here",
		"sysctl -w net.netfilter.nf_conntrack_max=2000000": "not: it is there where a firewall keeps track, and changes the machine",
		"go mod edit -require github.com/sockeye-io/sockeye/metrics/prometheus@v0.0.0 -replace github.com/sockeye-io/sockeye/metrics/prometheus=../sockeye/metrics/prometheus": "here",
		"go mod edit -require github.com/sockeye-io/sockeye/otel@v0.0.0 -replace github.com/sockeye-io/sockeye/otel=../sockeye/otel":                                           "here",
		"go mod tidy": "here",
	},
	"load.md":  nil, // TestCommandsOfLoadText runs all of it
	"start.md": nil, // TestWalk runs all of it
	"three-chats.md": {
		"npm install socket.io-client":                                   "not: ci/clients.sh installs it for TestStart",
		"cp node_modules/socket.io-client/dist/socket.io.min.js public/": "TestStart",
		"pip install flask-socketio":                                     "not: ci/clients.sh installs it for TestStart",
		"python app.py":                                                  "TestStart",
		"npm install socket.io":                                          "not: ci/clients.sh installs it for TestStart",
		"node server.js":                                                 "TestStart",
		"go mod init chat":                                               "here",
		"go mod edit -require github.com/sockeye-io/sockeye@v0.0.0 -replace github.com/sockeye-io/sockeye=../sockeye": "here",
		"go mod tidy": "here",
		"go run .":    "TestStart",
	},
	"troubleshooting.md": {
		"curl -i 'http://host/socket.io/?EIO=4&transport=polling'": "here",
	},
}

// TestCommands: each command line of a block is in the table above, whose tests are there;
// those that are tried here do what they are to do.
func TestCommands(t *testing.T) {
	known := testNames(t)
	for _, whole := range []string{"TestWalk", "TestCommandsOfLoadText"} {
		if !known[whole] {
			t.Errorf("there is no %s any more", whole)
		}
	}
	seen := map[string]bool{}
	var here []string
	for _, b := range blocks(t) {
		if b.Language != "sh" {
			continue
		}
		table, ok := commands[b.Text]
		if !ok {
			t.Errorf("%v: commands that no test knows", b)
		}
		for _, command := range b.Commands() {
			how := table[command]
			seen[b.Text+" "+command] = true
			switch {
			case ok && table == nil, strings.HasPrefix(how, "not: "):
			case how == "here":
				if !slices.Contains(here, command) {
					here = append(here, command)
				}
			case how == "":
				t.Errorf("%v: no test runs %q, and nothing says why", b, command)
			case !known[how]:
				t.Errorf("%v: there is no %s, which is to run %q", b, how, command)
			}
		}
	}
	for text, table := range commands {
		for command := range table {
			if !seen[text+" "+command] {
				t.Errorf("%s has no command %q any more", text, command)
			}
		}
	}
	modules := newModule(t)
	for _, command := range here {
		switch {
		case strings.HasPrefix(command, "go mod "):
			modules.run(command)
		case strings.HasPrefix(command, "curl "):
			tryCurl(t, command)
		case strings.HasPrefix(command, "sysctl -w "):
			name, _, _ := strings.Cut(strings.TrimPrefix(command, "sysctl -w "), "=")
			if _, err := os.Stat("/proc/sys"); err != nil {
				continue // not Linux
			}
			if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err != nil {
				t.Errorf("%s: %v", command, err)
			}
		default:
			t.Errorf("%s cannot be tried here", command)
		}
	}
	modules.tidy()
}

// module is a reader's module beside a checkout, which uses all that the commands have
// required.
type module struct {
	t         *testing.T
	dir       string
	root      string
	commanded []string
}

func newModule(t *testing.T) *module {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return &module{t: t, dir: t.TempDir(), root: root}
}

func (m *module) sh(command string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // modules may have to be downloaded
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(command, "../sockeye", m.root))
	cmd.Dir, cmd.WaitDelay, cmd.Env = m.dir, time.Second, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// run keeps "go mod tidy" for the end, when all is required.
func (m *module) run(command string) {
	m.t.Helper()
	if m.commanded = append(m.commanded, command); command == "go mod tidy" {
		return
	}
	if _, err := os.Stat(filepath.Join(m.dir, "go.mod")); err != nil && command != "go mod init chat" {
		m.sh("go mod init chat")
	} else if err == nil && command == "go mod init chat" {
		return
	}
	m.sh(command)
}

// tidy says what is imported, and has the go command put the module in order.
func (m *module) tidy() {
	m.t.Helper()
	code := "package main\n\nimport (\n"
	n := 0
	for _, command := range m.commanded {
		if name := regexp.MustCompile(`-require (\S+)@`).FindStringSubmatch(command); name != nil {
			code += "\t_ \"" + name[1] + "\"\n"
			n++
		}
	}
	if n < 4 || !slices.Contains(m.commanded, "go mod tidy") || !slices.Contains(m.commanded, "go mod init chat") {
		m.t.Errorf("only %q", m.commanded)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "main.go"), []byte(code+")\n\nfunc main() {}\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.sh("go mod tidy")
	m.sh("go list -deps . >/dev/null")
}

// TestTidyComesLast: "go mod tidy" takes away what no program imports yet. It stands behind
// a program.
func TestTidyComesLast(t *testing.T) {
	n := 0
	for text, content := range allTexts(t) {
		required, program := false, false
		for line := range strings.Lines(content) {
			switch {
			case strings.HasPrefix(line, "go mod edit -require"):
				required, program = true, false
			case strings.HasPrefix(line, "```go"):
				program = true
			case strings.TrimSpace(line) == "go mod tidy":
				if n++; !required || !program {
					t.Errorf("%s: no program stands between go mod edit and go mod tidy", text)
				}
			}
		}
	}
	if n < 6 {
		t.Errorf("only %d are there", n)
	}
}

// tryCurl: the text says what a server's answer looks like.
func tryCurl(t *testing.T, command string) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log(err)
		return
	}
	srv, err := sockeye.New(sockeye.Config{Fallback: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", strings.Replace(command, "//host/", "//"+addr.String()+"/", 1)+" --max-time 10").Output()
	if err != nil || !strings.Contains(string(out), " 200 OK") || !strings.Contains(string(out), `0{"sid":"`) {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}

var (
	goTest  = regexp.MustCompile(`^(?:\w+=\S+ )*go test (.*)$`)
	goRun   = regexp.MustCompile(`^(?:\w+=\S+ )*go run (?:-C (\S+) )?(\S+)`)
	goDoc   = regexp.MustCompile(`^go doc \S`)
	pattern = regexp.MustCompile(`-(?:run|bench) ('[^']*'|\S+)`)
)

// inSentences are the commands within sentences that are not the go command's, nor make's,
// and how they are tried, as in commands.
var inSentences = map[string]string{
	"cat /proc/net/sockstat": "here",
	"ulimit -n":              "here",
	"ulimit -Hn":             "here",
	"ulimit -n 20000":        "not: the limit is the machine's to allow",
	"npm install --prefix examples/lobby socket.io-client": "not: ci/clients.sh installs it for the tests of interop/browser",
	"sleep 5":                            "not: it is a time to choose",
	"git show v1.2.0:contract.json":      "not: there is no release yet",
	"systemctl enable --now chat.socket": "not: it changes the machine; TestUnits reads the unit",
	"python scripts/test-tls13-NAME.py -h 127.0.0.1 -p PORT": "not: it is of tlsfuzzer, which is no part of the project",
}

var otherCommand = regexp.MustCompile(`^(?:cat|curl|sysctl|systemctl|ulimit|git|npm|npx|pip|python|node|docker|openssl|redis-cli|nginx|haproxy|apt-get|sleep|sh|bash) .`)

// TestCommandsInSentences: a command of the go command within a sentence names what is
// there: packages, programs, tests, benchmarks, which ci/ runs. Documentation is shown.
func TestCommandsInSentences(t *testing.T) {
	functions := testNames(t)
	docs, others, n := map[string]bool{}, map[string]bool{}, 0
	for text, content := range allTexts(t) {
		for line := range strings.Lines(codeBlock.ReplaceAllString(content, "")) {
			if strings.Count(line, "`")%2 != 0 {
				t.Errorf("%s: code that goes over the end of a line is not read by tests: %s", text, line)
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(codeBlock.ReplaceAllString(content, ""), -1) {
			command := m[1]
			if otherCommand.MatchString(command) {
				others[command] = true
			}
			if goDoc.MatchString(command) {
				docs[command] = true
				continue
			}
			if m := goRun.FindStringSubmatch(command); m != nil && (m[1] != "" || m[2] != ".") && !strings.HasPrefix(m[2], "github.com/") {
				n++
				if files, err := filepath.Glob(filepath.Join("..", m[1], m[2], "*.go")); err != nil || !slices.ContainsFunc(files, func(file string) bool {
					b, err := os.ReadFile(file)
					return err == nil && strings.Contains(string(b), "\nfunc main() {")
				}) {
					t.Errorf("%s: %q is no program (%v)", text, command, err)
				}
			}
			m := goTest.FindStringSubmatch(command)
			if m == nil {
				continue
			}
			n++
			for word := range strings.FieldsSeq(m[1]) {
				if strings.HasPrefix(word, "./") {
					if files, err := filepath.Glob(filepath.Join("..", word, "*_test.go")); err != nil || len(files) == 0 && !strings.HasSuffix(word, "...") {
						t.Errorf("%s: %q: there are no tests in %s", text, command, word)
					}
				}
			}
			for _, p := range pattern.FindAllStringSubmatch(m[1], -1) {
				what := strings.Trim(p[1], "'")
				re, err := regexp.Compile(what)
				if what == "^$" {
					continue
				}
				found := false
				for name := range functions {
					found = found || err == nil && re.MatchString(strings.TrimPrefix(strings.TrimPrefix(name, "Benchmark"), "Test")) || err == nil && re.MatchString(name)
				}
				if !found {
					t.Errorf("%s: %q: no test or benchmark is named %q (%v)", text, command, what, err)
				}
			}
		}
	}
	if n < 20 || len(docs) < 3 {
		t.Errorf("only %d commands, %d go doc", n, len(docs))
	}
	for command := range others {
		switch how := inSentences[command]; {
		case how == "":
			t.Errorf("no test runs %q, and nothing says why", command)
		case how == "here" && runtime.GOOS == "linux":
			docs[command] = true
		}
	}
	for command := range inSentences {
		if !others[command] {
			t.Errorf("no text has %q any more", command)
		}
	}
	for command := range docs { // what shows something
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}
