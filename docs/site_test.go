package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSiteNavigation: the site's navigation has each text of docs/ once, and no other. A text that
// is missing there has a page all the same, which only the search finds.
func TestSiteNavigation(t *testing.T) {
	b, err := os.ReadFile("../ci/docs/mkdocs.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, nav, ok := strings.Cut(string(b), "\nnav:\n")
	if !ok {
		t.Fatal("mkdocs.yml has no nav")
	}
	var there []string
	for _, m := range regexp.MustCompile(`(?m): (\S+\.md)$`).FindAllStringSubmatch(nav, -1) {
		if slices.Contains(there, m[1]) {
			t.Errorf("%s is there twice", m[1])
		}
		there = append(there, m[1])
	}
	for text := range allTexts(t) {
		if !strings.HasPrefix(text, "../") && !slices.Contains(there, text) {
			t.Errorf("docs/%s is not in the navigation of ci/docs/mkdocs.yml: add it where its readers look", text)
		}
	}
	for _, text := range there {
		if _, err := os.Stat(text); err != nil && text != "decisions/README.md" && text != "project/CHANGELOG.md" { // made by hooks.py
			t.Errorf("the navigation has %s: %v", text, err)
		}
	}
	if len(there) < 20 {
		t.Errorf("only %d texts", len(there))
	}
}
