package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// DefaultPath is where the file lies when nobody says otherwise.
const DefaultPath = "/etc/cellblock/config.yaml"

// maxFile is the most that is read of a configuration file.
const maxFile = 1 << 20

// Load reads the file at path, applies the environment and validates. With an empty path it takes $CELLBLOCK_CONFIG,
// else DefaultPath, which alone may be missing. The error names every wrong key with its line or variable.
func Load(path string, getenv func(string) string) (Config, error) {
	optional := path == "" && getenv("CELLBLOCK_CONFIG") == ""
	path = Path(path, getenv)
	c := Default()
	data, err := read(path)
	if err != nil && !(optional && errors.Is(err, fs.ErrNotExist)) {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	err = errors.Join(c.parse(path, data), c.applyEnv(getenv))
	if err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// Path is the file that Load reads for path.
func Path(path string, getenv func(string) string) string {
	return cmp.Or(path, getenv("CELLBLOCK_CONFIG"), DefaultPath)
}

// Parse reads data over the defaults; name is the file's, for errors. Only the form is validated.
func Parse(name string, data []byte) (Config, error) {
	c := Default()
	return c, c.parse(name, data)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, nil
}

// parse sets what data says. The values of c stay where data is silent.
func (c *Config) parse(name string, data []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: there is more than one YAML document", name)
	}
	r := reader{name: name, leaves: leaves(c), seen: map[string]int{}}
	r.mapping("", document.Content[0])
	return errors.Join(r.errs...)
}

// applyEnv sets every key whose variable is not empty.
func (c *Config) applyEnv(getenv func(string) string) error {
	var errs []error
	for _, l := range leaves(c) {
		text := getenv(l.env())
		if text == "" {
			continue
		}
		if err := set(l.value, text); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", l.env(), err))
		}
	}
	return errors.Join(errs...)
}
