package picture

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

// Text has 4.5:1 and bars have 3:1 against the ground, light and dark (WCAG 1.4.3, 1.4.11).
func TestPicturesHaveContrast(t *testing.T) {
	light, dark, ok := strings.Cut(style, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark colours")
	}
	for theme, style := range map[string]string{"light": light, "dark": dark} {
		fill := map[string]string{}
		for _, m := range regexp.MustCompile(`(\S+) \{[^}]*fill: (#[0-9a-f]{6})`).FindAllStringSubmatch(style, -1) {
			fill[m[1]] = m[2]
		}
		for class, least := range map[string]float64{"text": 4.5, ".unit": 4.5, ".sockeye": 3, ".other": 3, ".floor": 3} {
			if got := contrast(t, fill[class], fill[".ground"]); got < least {
				t.Errorf("%s %s: %.2f:1, want %v:1", theme, class, got, least)
			}
		}
	}
}

// contrast is WCAG's ratio of two colours.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(colour string) float64 {
		var c [3]int
		if _, err := fmt.Sscanf(colour, "#%02x%02x%02x", &c[0], &c[1], &c[2]); err != nil {
			t.Fatalf("%q: %v", colour, err)
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			v := float64(c[i]) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// TestFaults: what is too long for the picture is seen.
func TestFaults(t *testing.T) {
	for name, faulty := range map[string]bool{"short": false, strings.Repeat("x", 45): true, strings.Repeat("x", 30): true} {
		p := New("a picture")
		p.Chart("head", "unit", []Row{{Name: name, Class: Other, Value: 1, Text: strings.Repeat("1", 12)}})
		if got := p.Faults(); (len(got) > 0) != faulty {
			t.Errorf("%q: %q", name, got)
		}
	}
}
