package containers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/containers/podman/v4/pkg/bindings/images"
	"github.com/containers/podman/v4/pkg/inspect"

	"cellblock.io/cellblock/kernels"
)

// Labels of an image that provides a kernelspec.
const (
	labelSpecName   = "io.cellblock.kernelspec.name"      // the name that clients ask for
	labelKernelspec = "io.cellblock.kernelspec"           // kernel.json on one line
	labelResource   = "io.cellblock.kernelspec.resource." // + file name: the file in base64
)

// Bounds of a kernelspec.
const (
	maxKernelJSON = 64 << 10
	maxResource   = 512 << 10
	maxResources  = 16
	maxCull       = 366 * 24 * time.Hour
)

// specsAge is how old the answer of Specs may be: so long an image may be changed or removed without being noticed.
const specsAge = 3 * time.Second

var (
	specName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	resourceName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$`)
)

// image is what was read of an image the last time.
type image struct {
	id   string
	spec kernels.Spec
	err  string // what is wrong with it
}

// Specs implements kernels.Specs. Images are looked at again after a few seconds and read again when their tag names
// another image. One that is missing or is no kernel's is left out and logged once; only when none is usable is that an
// error. Errors: kernels.ErrUnavailable.
func (e *Engine) Specs(ctx context.Context) (map[string]kernels.Spec, error) {
	if specs := e.cachedSpecs(); specs != nil {
		return specs, nil
	}
	select {
	case e.refreshing <- struct{}{}:
		defer func() { <-e.refreshing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("read kernelspecs: %w", ctx.Err())
	}
	if specs := e.cachedSpecs(); specs != nil {
		return specs, nil // somebody else has just read them
	}
	specs := make(map[string]kernels.Spec)
	read := make(map[string]image)
	var wrong []error
	for _, name := range e.cfg.Images {
		img, err := e.readImage(ctx, name)
		if err != nil {
			return nil, err
		}
		if other, taken := specs[img.spec.Name]; taken && img.err == "" {
			img.err = fmt.Sprintf("its kernelspec %s is already that of image %s", img.spec.Name, other.Image)
		}
		read[name] = img
		if img.err != "" {
			wrong = append(wrong, fmt.Errorf("image %s: %s", name, img.err))
			continue
		}
		specs[img.spec.Name] = img.spec
	}
	e.storeSpecs(specs, read)
	if len(specs) == 0 {
		return nil, errors.Join(append([]error{errors.New("no image provides a kernelspec")}, wrong...)...)
	}
	return specs, nil
}

func (e *Engine) cachedSpecs() map[string]kernels.Spec {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.specsAt) > specsAge || len(e.specs) == 0 {
		return nil
	}
	return e.specs
}

// storeSpecs keeps what was read and logs what has become wrong since the last time.
func (e *Engine) storeSpecs(specs map[string]kernels.Spec, read map[string]image) {
	e.mu.Lock()
	before := e.images
	e.specs, e.specsAt, e.images = specs, time.Now(), read
	e.mu.Unlock()
	for name, img := range read {
		if img.err != "" && before[name].err != img.err {
			e.log.Warn("image provides no kernelspec", "image", name, "reason", img.err)
		}
	}
}

// readImage looks an image up. The error is the engine's; what is wrong with the image is in image.err.
func (e *Engine) readImage(ctx context.Context, name string) (image, error) {
	report, err := e.conn.image(ctx, name, quickCall)
	switch {
	case err != nil:
		return image{}, err
	case report == nil:
		return image{err: "there is no such image: build or pull it"}, nil
	}
	e.mu.Lock()
	known := e.images[name]
	e.mu.Unlock()
	if known.id == report.ID && known.err == "" {
		return known, nil
	}
	spec, err := parseSpec(report.ID, report.Labels)
	if err != nil {
		return image{id: report.ID, err: err.Error()}, nil
	}
	return image{id: report.ID, spec: spec}, nil
}

// image looks an image up; nil when there is none.
func (c connection) image(ctx context.Context, name string, limit time.Duration) (*inspect.ImageData, error) {
	call, cancel := c.within(ctx, limit)
	defer cancel()
	report, err := images.GetImage(call, name, nil)
	switch {
	case answered(err, http.StatusNotFound):
		return nil, nil
	case err != nil:
		return nil, failure(ctx, "look at image "+name, err)
	case report.ImageData == nil:
		return nil, fmt.Errorf("look at image %s: an empty answer", name)
	}
	return report.ImageData, nil
}

// parseSpec reads the kernelspec in an image's labels.
func parseSpec(id string, labels map[string]string) (kernels.Spec, error) {
	spec := kernels.Spec{Name: labels[labelSpecName], Image: id, Interrupt: "signal"}
	if !specName.MatchString(spec.Name) {
		return spec, fmt.Errorf("label %s is %.80q, not a kernelspec's name", labelSpecName, spec.Name)
	}
	var fields struct {
		DisplayName string `json:"display_name"`
		Language    string `json:"language"`
		Interrupt   string `json:"interrupt_mode"`
		Metadata    struct {
			CullIdleTimeout float64 `json:"cull_idle_timeout"` // seconds
		} `json:"metadata"`
		Env map[string]string `json:"env"`
	}
	text := labels[labelKernelspec]
	if len(text) > maxKernelJSON {
		return spec, fmt.Errorf("label %s has %d bytes, %d at most", labelKernelspec, len(text), maxKernelJSON)
	}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return spec, fmt.Errorf("label %s is no kernel.json: %w", labelKernelspec, err)
	}
	if fields.DisplayName == "" || fields.Language == "" {
		return spec, fmt.Errorf("label %s: display_name and language must be there", labelKernelspec)
	}
	switch fields.Interrupt {
	case "message":
		spec.Interrupt = "message"
	case "", "signal":
	default:
		return spec, fmt.Errorf("label %s: interrupt_mode %.40q is unknown", labelKernelspec, fields.Interrupt)
	}
	if s := fields.Metadata.CullIdleTimeout; s > 0 {
		spec.CullIdleTimeout = time.Duration(min(s, maxCull.Seconds()) * float64(time.Second))
	}
	spec.JSON = json.RawMessage(text)
	var err error
	spec.Resources, err = parseResources(labels)
	return spec, err
}

func parseResources(labels map[string]string) (map[string][]byte, error) {
	resources := make(map[string][]byte)
	for label, text := range labels {
		file, ok := strings.CutPrefix(label, labelResource)
		if !ok {
			continue
		}
		if !resourceName.MatchString(file) {
			return nil, fmt.Errorf("label %.80q names no file", label)
		}
		if len(text) > base64.StdEncoding.EncodedLen(maxResource) || len(resources) == maxResources {
			return nil, fmt.Errorf("label %s: %d files of %d bytes at most", label, maxResources, maxResource)
		}
		content, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", label, err)
		}
		resources[file] = content
	}
	return resources, nil
}
