package config

import (
	"reflect"
	"strings"
)

// Key is one key of the configuration.
type Key struct {
	Path    string // as in the file, sections joined by dots: "redis.url"
	Env     string // the environment variable that overrides it: CELLBLOCK_REDIS_URL
	Default string // as one would write it; lists separated by commas
}

// Keys lists all keys in the order of Config.
func Keys() []Key {
	c := Default()
	var keys []Key
	for _, l := range leaves(&c) {
		keys = append(keys, Key{Path: l.path, Env: l.env(), Default: show(l.value)})
	}
	return keys
}

// leaf is a key with the place of its value in a Config.
type leaf struct {
	path  string
	value reflect.Value
}

func (l leaf) env() string {
	return "CELLBLOCK_" + strings.ToUpper(strings.ReplaceAll(l.path, ".", "_"))
}

// leaves finds all keys of c by the yaml tags of its fields; structs are sections.
func leaves(c *Config) []leaf { return walk("", reflect.ValueOf(c).Elem()) }

func walk(prefix string, v reflect.Value) []leaf {
	var found []leaf
	for i := range v.NumField() {
		path := prefix + v.Type().Field(i).Tag.Get("yaml")
		if v.Field(i).Kind() == reflect.Struct {
			found = append(found, walk(path+".", v.Field(i))...)
			continue
		}
		found = append(found, leaf{path: path, value: v.Field(i)})
	}
	return found
}

// nearest returns the known path that a person who wrote path most likely meant, or "".
func nearest(path string, known []leaf) string {
	best, distance := "", 1+len(lastPart(path))/2
	try := func(name string) {
		d := editDistance(path, name)
		if lastPart(path) == lastPart(name) {
			d = min(d, 1) // the right key in the wrong section
		}
		if d < distance {
			best, distance = name, d
		}
	}
	for _, l := range known {
		try(l.path)
		if i := strings.LastIndexByte(l.path, '.'); i > 0 {
			try(l.path[:i])
		}
	}
	return best
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// editDistance counts the characters to insert, remove or replace to make b of a (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
