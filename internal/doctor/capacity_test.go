package doctor_test

import (
	"io/fs"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/doctor"
)

const (
	bridgeImage = "localhost/cellblock/bridge:latest"
	kernelImage = "localhost/cellblock/kernel-python:latest"
)

var capacityTrials = []trial{
	{"capacity.disk", "full", func(f *fake) { f.space.Free = 900 << 20 }, doctor.Fail, "Only 900.0 MiB free at /var/lib/cellblock/containers"},
	{"capacity.disk", "nearly full", func(f *fake) { f.space.Free = 4 << 30 }, doctor.Warn, "Only 4.0 GiB free"},
	{"capacity.disk", "a small disk with room", func(f *fake) { f.space.Bytes, f.space.Free = 20<<30, 4<<30 }, doctor.OK, "20 % of it"},
	{"capacity.disk", "not there", func(f *fake) { f.spaceErr = fs.ErrNotExist }, doctor.NotApplicable, "not there yet"},
	{"capacity.disk", "closed", func(f *fake) { f.spaceErr = fs.ErrPermission }, doctor.Unknown, "as root"},
	{"capacity.inodes", "none", func(f *fake) { f.space.FreeFiles = 100 }, doctor.Fail, "Only 100 inodes"},
	{"capacity.inodes", "few", func(f *fake) { f.space.FreeFiles = 100_000 }, doctor.Warn, "1 % of it"},
	{"capacity.inodes", "btrfs", func(f *fake) { f.space.Files, f.space.FreeFiles = 0, 0 }, doctor.NotApplicable, "counts no inodes"},
	{"capacity.memory", "less than one kernel", replace("proc/meminfo", "MemTotal: 1500000 kB"), doctor.Fail, "for 0 kernels"},
	{"capacity.memory", "less than one user's", replace("proc/meminfo", "MemTotal: 6000000 kB"), doctor.Warn, "room for 4 kernels"},
	{"capacity.memory", "no number", replace("proc/meminfo", "MemFree: 1 kB"), doctor.Unknown, "MemTotal"},
}

var imageTrials = []trial{
	{"image.bridge", "missing", image(bridgeImage, missing), doctor.Fail, "There is no image localhost/cellblock/bridge:latest (bridge_image)"},
	{"image.kernels", "missing", image(kernelImage, missing), doctor.Fail, "there is no image localhost/cellblock/kernel-python:latest"},
	{"image.kernels", "no kernelspec", image(kernelImage, unlabelled), doctor.Fail, "no label"},
	{"image.kernels", "one of two", func(f *fake) {
		f.host.Config.Kernels.Images = append(f.host.Config.Kernels.Images, "localhost/r")
		image("localhost/r", missing)(f)
	}, doctor.Warn, "there is no image localhost/r"},

	{"image.setuid", "below", mode("layers/lower/usr/bin/su", 0o755|fs.ModeSetuid), doctor.Warn, "localhost/cellblock/kernel-python:latest:/usr/bin/su."},
	{"image.setuid", "above", mode("layers/upper/usr/bin/wall", 0o755|fs.ModeSetgid), doctor.Warn, "/usr/bin/wall"},
	{"image.setuid", "put right above", func(f *fake) {
		mode("layers/lower/usr/bin/su", 0o755|fs.ModeSetuid)(f)
		mode("layers/upper/usr/bin/su", 0o755)(f)
	}, doctor.OK, ""},
	{"image.setuid", "removed above", func(f *fake) {
		mode("layers/lower/usr/bin/su", 0o755|fs.ModeSetuid)(f)
		mode("layers/upper/usr/bin/su", fs.ModeDevice|fs.ModeCharDevice)(f)
	}, doctor.OK, ""},
	{"image.setuid", "in a directory that was removed above", func(f *fake) {
		mode("layers/lower/opt/x/y", 0o755|fs.ModeSetuid)(f)
		mode("layers/upper/opt", fs.ModeDevice|fs.ModeCharDevice)(f)
	}, doctor.OK, ""},
	{"image.setuid", "a directory", func(f *fake) { f.dir("layers/lower/shared", 0o755|fs.ModeSetgid, 0) }, doctor.OK, ""},
	{"image.setuid", "a closed directory", func(f *fake) { f.closed = []string{"layers/lower/usr"} }, doctor.OK, "1 directories could not be read"},
	{"image.setuid", "closed", func(f *fake) { f.closed = []string{"layers/upper", "layers/lower"} }, doctor.Unknown, "as root"},
	{"image.setuid", "nothing to look at", image(kernelImage, withoutFiles), doctor.Unknown, "no files"},
}

// mode sets a file's, and makes it when it is missing.
func mode(name string, mode fs.FileMode) func(*fake) { return func(f *fake) { f.own(name, mode, 0) } }

// image changes what the engine says of one.
func image(name string, change func(*containers.ImageSurvey)) func(*fake) {
	return func(f *fake) {
		survey := f.engine.Images[name]
		change(&survey)
		f.engine.Images[name] = survey
	}
}

func missing(s *containers.ImageSurvey)      { s.Missing = true }
func unlabelled(s *containers.ImageSurvey)   { s.Fault = "no label" }
func withoutFiles(s *containers.ImageSurvey) { s.Layers = nil }
