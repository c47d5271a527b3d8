package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader walks a YAML document and sets the leaves that it names. It goes on after an error, so that one run shows
// all of them.
type reader struct {
	name   string // of the file
	leaves []leaf
	seen   map[string]int // path → line
	errs   []error
}

func (r *reader) fail(node *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d: %s", r.name, node.Line, fmt.Sprintf(format, args...)))
}

// mapping reads one section; prefix is empty or ends with a dot.
func (r *reader) mapping(prefix string, node *yaml.Node) {
	if isNull(node) {
		return // a section whose keys are all commented out
	}
	if node.Kind != yaml.MappingNode {
		r.fail(node, "%s must have keys and values", section(prefix))
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		path := prefix + key.Value
		if line, again := r.seen[path]; again {
			r.fail(key, "%s was set in line %d already", path, line)
			continue
		}
		r.seen[path] = key.Line
		r.entry(path, key, value)
	}
}

func (r *reader) entry(path string, key, value *yaml.Node) {
	for _, l := range r.leaves {
		switch {
		case l.path == path:
			r.leaf(l, value)
			return
		case strings.HasPrefix(l.path, path+"."):
			r.mapping(path+".", value)
			return
		}
	}
	if near := nearest(path, r.leaves); near != "" {
		r.fail(key, "unknown key %s; did you mean %s?", path, near)
		return
	}
	r.fail(key, "unknown key %s", path)
}

func (r *reader) leaf(l leaf, node *yaml.Node) {
	if l.value.Kind() == reflect.Slice {
		r.list(l, node)
		return
	}
	if l.value.Kind() == reflect.Map {
		r.named(l, node)
		return
	}
	text := node.Value
	if isNull(node) {
		text = ""
	}
	if node.Kind != yaml.ScalarNode {
		r.fail(node, "%s must be a single value", l.path)
		return
	}
	if err := set(l.value, text); err != nil {
		r.fail(node, "%s: %v", l.path, err)
	}
}

func (r *reader) list(l leaf, node *yaml.Node) {
	var list []string
	if !isNull(node) {
		if node.Kind != yaml.SequenceNode {
			r.fail(node, "%s must be a list: write [one, two]", l.path)
			return
		}
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode || isNull(item) {
				r.fail(item, "%s: every item must be a single value", l.path)
				return
			}
			list = append(list, item.Value)
		}
	}
	l.value.Set(reflect.ValueOf(list))
}

// named reads a section whose keys are names that the file invents, each with keys and values of its own.
func (r *reader) named(l leaf, node *yaml.Node) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		r.fail(node, "%s must have names with keys and values", l.path)
		return
	}
	all := reflect.MakeMap(l.value.Type())
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		path := l.path + "." + key.Value
		if line, again := r.seen[path]; again {
			r.fail(key, "%s was set in line %d already", path, line)
			continue
		}
		r.seen[path] = key.Line
		one := reflect.New(l.value.Type().Elem()).Elem()
		inner := reader{name: r.name, leaves: walk(path+".", one), seen: r.seen}
		inner.mapping(path+".", value)
		r.errs = append(r.errs, inner.errs...)
		all.SetMapIndex(reflect.ValueOf(key.Value), one)
	}
	if all.Len() > 0 {
		l.value.Set(all)
	}
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// section names a section for a person.
func section(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return strings.TrimSuffix(prefix, ".")
}
