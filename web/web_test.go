package web_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"cellblock.io/cellblock/web"
)

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := fs.ReadFile(web.Assets(), name)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	if len(content) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return string(content)
}

func TestAssetsAreEmbedded(t *testing.T) {
	for _, name := range []string{"index.html", "login.html", "app.js", "login.js", "app.css", "favicon.svg"} {
		read(t, name)
	}
}

// What a page names must be there, and be named relative to the page, so that any base path works.
func TestPagesNameOnlyTheirOwnAssets(t *testing.T) {
	address := regexp.MustCompile(`\s(?:src|href|action)="([^"]*)"`)
	for _, page := range []string{"index.html", "login.html"} {
		found := address.FindAllStringSubmatch(read(t, page), -1)
		if len(found) < 3 {
			t.Fatalf("%s names %d addresses", page, len(found))
		}
		for _, match := range found {
			switch name := match[1]; name {
			case "./", "./login":
			default:
				asset, ok := strings.CutPrefix(name, "static/")
				if !ok {
					t.Errorf("%s: %q is not relative to the page", page, name)
					continue
				}
				read(t, asset)
			}
		}
	}
}

// The policy forbids what is inline; the pages must not need it.
func TestPagesHaveNothingInline(t *testing.T) {
	inline := map[string]*regexp.Regexp{
		"script":  regexp.MustCompile(`(?s)<script[^>]*>[^<]+</script>`),
		"style":   regexp.MustCompile(`<style|\sstyle=`),
		"handler": regexp.MustCompile(`\son[a-z]+=`),
		"address": regexp.MustCompile(`(?:javascript|data):[^;]`),
	}
	for _, page := range []string{"index.html", "login.html"} {
		content := read(t, page)
		for what, pattern := range inline {
			if match := pattern.FindString(content); match != "" {
				t.Errorf("%s has an inline %s: %q", page, what, match)
			}
		}
	}
}

// The page asks nobody but its gateway, and turns no text into markup.
func TestScriptsAndStylesStayHome(t *testing.T) {
	for _, name := range []string{"app.js", "login.js", "app.css"} {
		content := strings.ReplaceAll(read(t, name), "http://www.w3.org/2000/svg", "")
		for _, forbidden := range []string{"https://", "http://", "url(", "@import", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(content, forbidden) {
				t.Errorf("%s contains %q", name, forbidden)
			}
		}
	}
}

func TestPagesCarryTheirPolicy(t *testing.T) {
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]+)"`)
	header := strings.TrimSuffix(web.ContentSecurityPolicy, "; frame-ancestors 'none'")
	if found := policy.FindStringSubmatch(read(t, "index.html")); found == nil || found[1] != header {
		t.Errorf("index.html has the policy %q, the header %q", found, header)
	}
	if found := policy.FindStringSubmatch(read(t, "login.html")); found == nil || !strings.HasPrefix(found[1], "default-src 'none'; script-src 'self'") {
		t.Errorf("login.html has the policy %q", found)
	}
}
