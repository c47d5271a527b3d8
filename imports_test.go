package cellblock_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "cellblock.io/cellblock/"

// mayImport is the direction of imports inside the module: for each package, the packages it may use. A package that
// is not here has no place yet.
var mayImport = map[string][]string{
	"auth":                           {"internal/secret"},
	"bench":                          {},
	"cmd/cellblock":                  {"auth", "containers", "egress", "gateway", "internal/*", "internal/prove/container", "kernels", "kernels/bridge", "kernels/redisstore", "launcher", "web"},
	"cmd/cellblock-shim":             {},
	"containers":                     {"kernels", "kernels/wire"},
	"e2e":                            {"internal/redisserver", "internal/secret"},
	"egress":                         {},
	"gateway":                        {"auth", "internal/unixsocket", "kernels", "kernels/receipt"},
	"internal/config":                {},
	"internal/turns":                 {},
	"internal/unixsocket":            {},
	"internal/doctor":                {"containers", "internal/config", "kernels"},
	"internal/podmanservice":         {"internal/respawn", "internal/unixsocket"},
	"internal/prove":                 {},
	"internal/prove/container":       {"containers", "internal/prove", "kernels"},
	"internal/redisserver":           {"internal/respawn", "internal/secret"},
	"internal/respawn":               {},
	"internal/redisserver/redistest": {"internal/redisserver", "internal/secret"},
	"internal/secret":                {},
	"kernels":                        {"internal/turns"},
	"kernels/bridge":                 {"internal/unixsocket", "kernels", "kernels/receipt", "kernels/wire"},
	"kernels/kernelstest":            {"kernels", "kernels/wire"},
	"kernels/receipt":                {"internal/unixsocket"},
	"kernels/redisstore":             {"internal/secret", "kernels"},
	"kernels/wire":                   {},
	"launcher":                       {"internal/turns", "internal/unixsocket", "kernels"},
	"web":                            {},
}

// forTests are packages that every test may use besides: the real store with its key among them, since nobody fakes Redis.
var forTests = []string{"internal/redisserver/redistest", "internal/secret", "kernels/kernelstest", "kernels/redisstore"}

func TestImports(t *testing.T) {
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || len(d.Name()) > 1 && d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(file, ".go") && filepath.Dir(file) != "." {
			checkImports(t, filepath.ToSlash(file))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkImports(t *testing.T, file string) {
	pkg, test := path.Dir(file), strings.HasSuffix(file, "_test.go")
	allowed, known := mayImport[pkg]
	if !known {
		t.Errorf("%s: package %s has no entry in mayImport", file, pkg)
		return
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range parsed.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		target, inside := strings.CutPrefix(name, module)
		if !inside || test && (target == pkg || slices.Contains(forTests, target)) {
			continue
		}
		if !slices.Contains(allowed, target) && !slices.Contains(allowed, path.Dir(target)+"/*") {
			t.Errorf("%s imports %s, which %s may not", file, target, pkg)
		}
	}
}
