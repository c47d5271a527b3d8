package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxFiles bounds the search through one layer of an image.
const maxFiles = 2_000_000

// imageChecks are about what kernels and bridges are made from.
var imageChecks = []check{
	{"image.bridge", "Each kernel has a bridge beside it, which runs from this image.",
		"deploy/up builds it", ofEngine(bridgeImage)},
	{"image.kernels", "A kernel's image says by its labels which kernelspec it provides.",
		"", ofEngine(kernelImages)},
	{"image.setuid", "A program that takes another user's rights is a way up for whoever finds a hole in it; containers refuse that, and nothing should need them to.",
		"", ofEngine(setuidFiles)},
}

func bridgeImage(h *Host, e Engine) verdict {
	if e.Images[h.Config.BridgeImage].Missing {
		return fail("There is no image %s (bridge_image).", h.Config.BridgeImage)
	}
	return ok("%s is there.", h.Config.BridgeImage)
}

// kernelImages wants each configured image to provide a kernelspec, and at least one.
func kernelImages(h *Host, e Engine) verdict {
	var wrong []string
	for _, name := range h.Config.Kernels.Images {
		switch image := e.Images[name]; {
		case image.Missing:
			wrong = append(wrong, "there is no image "+name)
		case image.Fault != "":
			wrong = append(wrong, name+": "+image.Fault)
		}
	}
	remedy := fmt.Sprintf("build what is missing (deploy/up builds localhost/cellblock/kernel-python), or kernels.images in %s: without it", h.ConfigFile)
	switch {
	case len(wrong) == len(h.Config.Kernels.Images):
		return fail("No image provides a kernelspec: %s.", strings.Join(wrong, "; ")).with("%s", remedy)
	case len(wrong) > 0:
		return warn("Some images provide no kernelspec: %s.", strings.Join(wrong, "; ")).with("%s", remedy)
	}
	return ok("Each image of kernels.images provides a kernelspec.")
}

// setuidFiles searches the layers of all images.
func setuidFiles(h *Host, e Engine) verdict {
	var found []string
	searched, closed := 0, 0
	for _, name := range append([]string{h.Config.BridgeImage}, h.Config.Kernels.Images...) {
		for i, layer := range e.Images[name].Layers {
			files, n, err := h.setuidIn(layer)
			if err != nil {
				return unknown("The files of "+name, err)
			}
			searched, closed = searched+1, closed+n
			for _, file := range files {
				if !h.covered(file, e.Images[name].Layers[:i]) {
					found = append(found, name+":/"+file)
				}
			}
		}
	}
	switch {
	case len(found) > 0:
		return warn("Images have set-user-id or set-group-id files: %s.", strings.Join(found, ", ")).
			with("RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +, at the end of the image's Containerfile")
	case searched == 0:
		return verdict{Unknown, "There are no files of images to look at.", ""}
	case closed > 0:
		return ok("No set-user-id or set-group-id files in images; %d directories could not be read.", closed)
	}
	return ok("No set-user-id or set-group-id files in images.")
}

// setuidIn returns the paths inside a layer, and how many of its directories this user may not read.
func (h *Host) setuidIn(layer string) (files []string, closed int, err error) {
	n, root := 0, rel(layer)
	err = fs.WalkDir(h.FS, root, func(name string, entry fs.DirEntry, err error) error {
		if n++; n > maxFiles {
			return fmt.Errorf("%s has more than %d files", layer, maxFiles)
		}
		if errors.Is(err, fs.ErrPermission) && name != root {
			closed++
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			files = append(files, strings.TrimPrefix(name, root+"/"))
		}
		return err
	})
	return files, closed, err
}

// covered says whether a layer above has something else in the place of a file, or has removed it.
func (h *Host) covered(file string, above []string) bool {
	for _, layer := range above {
		for part := file; part != "."; part = path.Dir(part) {
			info, err := fs.Stat(h.FS, path.Join(rel(layer), part))
			if err == nil && (part == file || !info.IsDir()) {
				return true
			}
		}
	}
	return false
}
