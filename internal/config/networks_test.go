package config_test

import (
	"reflect"
	"strings"
	"testing"

	"cellblock.io/cellblock/internal/config"
)

func TestNetworks(t *testing.T) {
	c, err := load(t, `
quota: {network: pypi}
networks:
  pypi: {allow: [pypi.org, "*.example.org:80"], bytes_per_day: 2g}
  site:
    permit_private: [10.0.0.0/8]
    flows: 3
  nothing:
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]config.Network{
		"pypi":    {Allow: []string{"pypi.org", "*.example.org:80"}, BytesPerDay: 2 << 30},
		"site":    {PermitPrivate: []string{"10.0.0.0/8"}, Flows: 3},
		"nothing": {},
	}
	if !reflect.DeepEqual(c.Networks, want) {
		t.Errorf("%+v", c.Networks)
	}
}

func TestWrongNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"networks: [pypi]\n":                            ":1: networks must have names with keys and values",
		"networks:\n  pypi: {alow: [a]}\n":              ":2: unknown key networks.pypi.alow; did you mean networks.pypi.allow?",
		"networks:\n  pypi: [a]\n":                      ":2: networks.pypi must have keys and values",
		"networks:\n  pypi: {allow: a}\n":               ":2: networks.pypi.allow must be a list",
		"networks:\n  pypi: {flows: many}\n":            `:2: networks.pypi.flows: "many" is not a whole number`,
		"networks:\n  a: {flows: 1}\n  a: {flows: 2}\n": ":3: networks.a was set in line 2 already",
	} {
		if _, err := load(t, text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %q", text, err, want)
		}
	}
	if _, err := load(t, "", map[string]string{"CELLBLOCK_NETWORKS": "pypi"}); err == nil || !strings.Contains(err.Error(), "in the file only") {
		t.Errorf("from the environment: %v", err)
	}
}
