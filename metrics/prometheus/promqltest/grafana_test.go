package promqltest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/metrics/prometheus"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// series is what can be asked for: its labels, and whether it only rises.
type series struct {
	family string
	labels []string
	rises  bool
}

// exported are the series of a server with everything.
func exported(t *testing.T) map[string]series {
	srv := sockeyetest.NewServer(t, sockeye.Config{Recovery: &sockeye.Recovery{}})
	c := prometheus.NewCollector(srv.Server, prometheus.Options{})
	srv.UseEvents(c.Events)
	srv.On("say", func() {})
	srv.Connect(t, sockeyetest.Options{}).Emit("say")
	reg := prom.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]series{}
	for _, f := range families {
		s := series{family: f.GetName(), labels: []string{"job", "instance"}, rises: f.GetType() == dto.MetricType_COUNTER}
		for _, l := range f.Metric[0].Label {
			s.labels = append(s.labels, l.GetName())
		}
		if f.GetType() != dto.MetricType_HISTOGRAM {
			all[f.GetName()] = s
			continue
		}
		s.rises = true
		all[f.GetName()+"_sum"], all[f.GetName()+"_count"] = s, s
		s.labels = append(slices.Clip(s.labels), "le")
		all[f.GetName()+"_bucket"] = s
	}
	return all
}

// rising are the functions that take counters.
var rising = []string{"rate", "irate", "increase"}

// check parses an expression and tells what is wrong with it: labels are those that its
// result has.
func check(expr string, all map[string]series, used map[string]bool) (labels []string, err error) {
	root, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	return walk(root, "", all, used)
}

// walk goes down from n, which is an argument of a function.
func walk(n parser.Expr, function string, all map[string]series, used map[string]bool) ([]string, error) {
	switch n := n.(type) {
	case *parser.ParenExpr:
		return walk(n.Expr, function, all, used)
	case *parser.MatrixSelector:
		return walk(n.VectorSelector, function, all, used)
	case *parser.NumberLiteral:
		return nil, nil
	case *parser.VectorSelector:
		s, ok := all[n.Name]
		if !ok {
			return nil, fmt.Errorf("%s is not exported", n.Name)
		}
		used[s.family] = true
		if s.rises != slices.Contains(rising, function) {
			return nil, fmt.Errorf("%s rises: %v; it stands in %q", n.Name, s.rises, function)
		}
		scoped := 0
		for _, m := range n.LabelMatchers {
			switch {
			case m.Name == "__name__":
			case !slices.Contains(s.labels, m.Name):
				return nil, fmt.Errorf("%s has no label %s", n.Name, m.Name)
			case m.Name == "job" || m.Name == "instance":
				scoped++
			}
		}
		if scoped != 2 {
			return nil, fmt.Errorf("%s is not of the chosen job and instance", n.Name)
		}
		return s.labels, nil
	case *parser.Call:
		for _, arg := range n.Args {
			labels, err := walk(arg, n.Func.Name, all, used)
			if err != nil {
				return nil, err
			}
			if n.Func.Name != "histogram_quantile" {
				return labels, nil
			}
			if len(labels) > 0 {
				if !slices.Contains(labels, "le") {
					return nil, errors.New("a quantile without le")
				}
				return slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return l == "le" }), nil
			}
		}
		return nil, nil
	case *parser.AggregateExpr:
		labels, err := walk(n.Expr, n.Op.String(), all, used)
		if err != nil {
			return nil, err
		}
		for _, l := range n.Grouping {
			if !slices.Contains(labels, l) {
				return nil, fmt.Errorf("%s: there is no label %s in %v", n, l, labels)
			}
		}
		return n.Grouping, nil
	case *parser.BinaryExpr:
		left, err := walk(n.LHS, n.Op.String(), all, used)
		if err != nil {
			return nil, err
		}
		right, err := walk(n.RHS, n.Op.String(), all, used)
		if err != nil {
			return nil, err
		}
		if n.Op.IsComparisonOperator() && len(right) == 0 {
			return left, nil // with a number
		}
		if !slices.Equal(left, right) {
			return nil, fmt.Errorf("%s: nothing of %v matches %v", n, left, right)
		}
		return left, nil
	}
	return nil, fmt.Errorf("%T is not known here", n)
}

type dashboard struct {
	UID        string
	Title      string
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  struct{ Type, UID string }
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ Type, UID string }
	}
}

func load(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile("../grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// interpolated is an expression as Grafana sends it.
func interpolated(expr string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", "a|b").Replace(expr)
}

// TestExpressions refer to what is exported, as it can be asked for; and what is exported
// is shown.
func TestExpressions(t *testing.T) {
	all, used := exported(t), map[string]bool{}
	legend := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range load(t).Panels {
		for _, target := range p.Targets {
			expr := interpolated(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: a variable that there is not: %s", p.Title, expr)
			}
			labels, err := check(expr, all, used)
			if err != nil {
				t.Errorf("%s: %s: %v", p.Title, expr, err)
			}
			var shown []string
			for _, m := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				shown = append(shown, m[1])
			}
			for _, l := range labels {
				if p.Type == "timeseries" && !slices.Contains(shown, l) {
					t.Errorf("%s: the legend %q does not tell %s apart", p.Title, target.LegendFormat, l)
				}
			}
			for _, l := range shown {
				if !slices.Contains(labels, l) {
					t.Errorf("%s: the legend %q has %s, and %s has not", p.Title, target.LegendFormat, l, expr)
				}
			}
		}
	}
	for name, s := range all {
		if !used[s.family] {
			t.Errorf("%s is exported, and in no panel", name)
		}
	}
}

// TestAlerts: the expressions of the documentation.
func TestAlerts(t *testing.T) {
	b, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all, n := exported(t), 0
	selector := regexp.MustCompile(`\bsockeye_\w+`)
	for _, m := range regexp.MustCompile("(?m)^\\| `(.*?sockeye_.*?)` \\|").FindAllStringSubmatch(string(b), -1) {
		n++
		expr := selector.ReplaceAllString(m[1], `$0{job="a", instance="b"}`)
		if _, err := check(expr, all, map[string]bool{}); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	if n < 6 {
		t.Errorf("only %d expressions", n)
	}
}

// TestCheck: what is wrong is seen.
func TestCheck(t *testing.T) {
	all := exported(t)
	const of = `{job=~".*", instance=~"a"}`
	for expr, want := range map[string]string{
		`sum(sockeye_nothing` + of + `)`:                            "is not exported",
		`sum(rate(sockeye_connections` + of + `[1m]))`:              "rises: false",
		`sum(sockeye_connects_total` + of + `)`:                     "rises: true",
		`sum by (reason) (sockeye_connections` + of + `)`:           "no label reason",
		`sum(sockeye_connections{job="a", instance="b", room="x"})`: "no label room",
		`sum(sockeye_connections)`:                                  "not of the chosen",
		`sum(sockeye_connections` + of:                              "unclosed",
		`histogram_quantile(0.9, sum by (event) (rate(sockeye_handler_duration_seconds_bucket` + of + `[1m])))`: "without le",
		`sum by (loop) (sockeye_loop_lag_seconds` + of + `) / sum(sockeye_connections` + of + `)`:               "matches",
		`sum(rate(sockeye_connects_total` + of + `[1m]))`:                                                       "",
		`histogram_quantile(0.9, sum by (le) (rate(sockeye_handler_duration_seconds_bucket` + of + `[1m])))`:    "",
	} {
		_, err := check(expr, all, map[string]bool{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expr, err, want)
		}
	}
}

// TestLayout is what Grafana needs to show all panels, on any data source.
func TestLayout(t *testing.T) {
	d := load(t)
	if d.UID == "" || d.Title == "" {
		t.Error("no uid, or no title")
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	if !slices.Equal(variables, []string{"datasource", "job", "instance"}) {
		t.Errorf("variables %v", variables)
	}
	var rows []string
	ids := map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("%s: %+v", p.Title, p.GridPos)
		}
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s is on %s", p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 || p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s: a source %q, %d targets, the text %q, the unit %q", p.Title, p.Datasource.UID, len(p.Targets), p.Description, p.FieldConfig.Defaults.Unit)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.Datasource.UID != "${datasource}" {
				t.Errorf("%s: %+v", p.Title, target)
			}
			refs[target.RefID] = true
		}
	}
	if want := []string{"Connections", "Traffic", "Handlers", "Memory", "Loops", "Faults", "Cluster"}; !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
	if !slices.IsSortedFunc(d.Panels, func(a, b panel) int {
		return cmp.Or(cmp.Compare(a.GridPos.Y, b.GridPos.Y), cmp.Compare(a.GridPos.X, b.GridPos.X))
	}) {
		t.Error("the panels are not in the order in which they are seen")
	}
}
