package prove_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"cellblock.io/cellblock/internal/prove"
)

const goodProbe = `
  - id: FS-01
    name: a-name
    tries: do something
    evidence: canary
    control: [mounts]
    code: loot()
`

func load(files ...string) ([]prove.Probe, error) {
	fsys := fstest.MapFS{}
	for i, text := range files {
		fsys["p/"+string(rune('a'+i))+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	return prove.Load(fsys, "p")
}

func TestLoad(t *testing.T) {
	probes, err := load("category: filesystem\nprobes:"+goodProbe, "category: network\nprobes: []\n")
	if err != nil || len(probes) != 1 {
		t.Fatalf("loaded %v, %v", probes, err)
	}
	if p := probes[0]; p.Category != "filesystem" || p.Timeout != 10*time.Second || p.Code != "loot()" {
		t.Errorf("loaded %+v", p)
	}
}

func TestLoadRefuses(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(goodProbe, old) {
			t.Fatalf("nothing to change: %q", old)
		}
		return "category: filesystem\nprobes:" + strings.Replace(goodProbe, old, new, 1)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"category":         {"category: cooking\nprobes:" + goodProbe, `category "cooking"`},
		"unknown key":      {change("tries:", "how: by force\n    tries:"), "field how not found"},
		"key of another":   {change("tries:", "category: python\n    tries:"), "field category not found"},
		"id":               {change("FS-01", "fs1"), "id does not match"},
		"name":             {change("a-name", "A name"), "name \"A name\""},
		"no tries":         {change("do something", "\"\""), "tries must be one line"},
		"evidence":         {change("canary", "hearsay"), `evidence "hearsay"`},
		"no control":       {change("[mounts]", "[]"), "proves nothing"},
		"no code":          {change("loot()", "\" \""), "there is no code"},
		"timeout":          {change("evidence:", "timeout: 1h\n    evidence:"), "timeout 1h0m0s"},
		"no timeout":       {change("evidence:", "timeout: soon\n    evidence:"), "cannot unmarshal"},
		"filter by mounts": {change("canary", "filter"), "goes with control seccomp"},
		"twice":            {"category: filesystem\nprobes:" + goodProbe + goodProbe, "has the id or the name of FS-01"},
		"no YAML":          {"probes: [", "did not find"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// What is built in is whole, and there is enough of each kind.
func TestCorpus(t *testing.T) {
	probes, err := prove.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	if len(probes) < 150 {
		t.Errorf("%d probes", len(probes))
	}
	count := map[string]int{}
	for _, p := range probes {
		count[p.Category]++
		if p.Category == "python" && !p.Escapes {
			t.Errorf("%s %s leaves no sandbox of Python", p.ID, p.Name)
		}
		if strings.Contains(p.Tries, "podman") || strings.Contains(p.Code, "podman") && p.Category != "network" {
			t.Errorf("%s %s knows how it is run", p.ID, p.Name)
		}
	}
	for _, category := range prove.Categories {
		if count[category] < 8 {
			t.Errorf("%d probes in category %s", count[category], category)
		}
	}
}
