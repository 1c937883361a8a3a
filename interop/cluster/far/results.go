package far

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Results are what has been found: by row and direction, "" or what is wrong.
type Results struct {
	Directions []string
	Rows       []string
	By         map[[2]string]string

	// Known is what the table says, instead, of a case that cannot hold in a direction; ""
	// for the others.
	Known func(row, title string, from, to Server) string
	// Mixed tells of a direction in which the other server does not keep the order.
	Mixed func(from, to Server) bool
}

// Run runs all rows from one server to another.
func (r *Results) Run(t *testing.T, title string, from, to Server) {
	t.Helper()
	r.init()
	direction := title + ": " + from.Name() + " → " + to.Name()
	t.Run(direction, func(t *testing.T) {
		w := &world{t: t, from: from, to: to, mixed: r.Mixed != nil && r.Mixed(from, to)}
		var err error
		peers := []**peer{&w.here, &w.a, &w.b, &w.c}
		rooms := [][]string{{"red"}, {"red"}, {"red", "blue"}, nil}
		for i, p := range peers {
			s := to
			if i == 0 {
				s = from
			}
			if *p, err = w.connect(s, "/", rooms[i]...); err != nil {
				t.Fatal(err)
			}
			for _, room := range append(rooms[i], "") {
				if err := w.reach(from, *p, "/", room); err != nil {
					t.Fatal(err)
				}
			}
		}
		defer func() { // so that the next direction has none of them
			for _, p := range peers {
				_ = (*p).Close()
			}
			_ = eventually("they have gone", func() (bool, error) {
				list, err := from.Fetch(Target{})
				return err == nil && len(list) == 0, err
			})
		}()
		if err := eventually("the servers know of each other", func() (bool, error) {
			n, err := from.Servers()
			return n == 2, err
		}); err != nil {
			t.Fatal(err)
		}
		if err := w.expect(nil, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		r.Directions = append(r.Directions, direction)
		for _, row := range Rows {
			if _, ok := from.(*Emitter); ok && slices.Contains(asking, row.Name) {
				r.By[[2]string{row.Name, direction}] = "–"
				continue
			}
			known := ""
			if r.Known != nil {
				known = r.Known(row.Name, title, from, to)
			}
			w.hopeless = known != ""
			err := row.run(w)
			if known != "" {
				if err == nil {
					t.Errorf("%s: it holds, but is said not to", row.Name)
				}
				r.set(row.Name, direction, errors.New(known))
				continue
			}
			r.set(row.Name, direction, err)
			if err != nil {
				t.Errorf("%s: %v", row.Name, err)
				_ = w.expect(nil, nil, nil, nil)
			}
		}
	})
}

func (r *Results) set(row, direction string, err error) {
	r.init()
	if !slices.Contains(r.Rows, row) {
		r.Rows = append(r.Rows, row)
	}
	text := "✓"
	if err != nil {
		text = strings.NewReplacer("|", "\\|", "\n", " ").Replace(err.Error())
	}
	r.By[[2]string{row, direction}] = text
}

// init readies the map.
func (r *Results) init() {
	if r.By == nil {
		r.By = map[[2]string]string{}
	}
}

// Table is a table in Markdown for each title.
func (r *Results) Table() string {
	var b strings.Builder
	for rest := r.Directions; len(rest) > 0; {
		title, _, _ := strings.Cut(rest[0], ": ")
		n := 0
		for n < len(rest) && strings.HasPrefix(rest[n], title+": ") {
			n++
		}
		fmt.Fprintf(&b, "### %s\n\n| |", strings.ToUpper(title[:1])+title[1:])
		for _, d := range rest[:n] {
			fmt.Fprintf(&b, " %s |", strings.TrimPrefix(d, title+": "))
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", n) + "\n")
		for _, row := range r.Rows {
			fmt.Fprintf(&b, "| %s |", row)
			for _, d := range rest[:n] {
				text := r.By[[2]string{row, d}]
				if text == "" {
					text = "not run"
				}
				fmt.Fprintf(&b, " %s |", text)
			}
			b.WriteString("\n")
		}
		if rest = rest[n:]; len(rest) > 0 {
			b.WriteString("\n")
		}
	}
	return b.String()
}

// Write puts the tables into a file, between two comments that name it.
func (r *Results) Write(t testing.TB, path, name string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- table "+name+" -->\n", "<!-- end of table "+name+" -->\n"
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table %s", path, name)
	}
	if err := os.WriteFile(path, []byte(before+begin+"\n"+r.Table()+"\n"+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
