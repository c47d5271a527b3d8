package containers

import (
	"context"
	"fmt"
	"slices"

	"github.com/containers/podman/v4/pkg/bindings/containers"
	"github.com/containers/podman/v4/pkg/specgen"
)

// CopyImages makes Podman's copies of all images for the user namespaces of our containers, where it has none yet. The
// first container of an image would make it and wait for it: some 10 s for 500 MB. Errors: kernels.ErrUnavailable.
func (e *Engine) CopyImages(ctx context.Context) error {
	if e.caps.Root == 0 {
		return nil
	}
	specs, err := e.Specs(ctx)
	if err != nil {
		return err
	}
	images := []string{e.cfg.BridgeImage}
	for _, spec := range specs {
		images = append(images, spec.Image)
	}
	slices.Sort(images)
	for i, image := range slices.Compact(images) {
		if err := e.copyImage(ctx, i, image); err != nil {
			return err
		}
	}
	return nil
}

// copyImage makes a container that never runs, and removes it. Its name is the same each time: one that a killed gateway
// left goes at the next start.
func (e *Engine) copyImage(ctx context.Context, n int, image string) error {
	s := new(specgen.SpecGenerator)
	s.Name = fmt.Sprintf("%s-copy-%d", e.cfg.Instance, n)
	s.Image = image
	s.ImageVolumeMode = "ignore"
	s.Labels = map[string]string{labelInstance: e.cfg.Instance}
	ownUsers(s, e.caps.Root)
	remove := func() error {
		call, cancel := e.conn.unbroken(ctx, removeCall)
		defer cancel()
		_, err := containers.Remove(call, s.Name, new(containers.RemoveOptions).WithForce(true).WithIgnore(true))
		return failure(ctx, "remove container "+s.Name, err)
	}
	if err := remove(); err != nil {
		return err
	}
	call, cancel := e.conn.unbroken(ctx, makeCall)
	defer cancel()
	if _, err := containers.CreateWithSpec(call, s, nil); err != nil {
		return failure(ctx, "copy image "+image, err)
	}
	return remove()
}
