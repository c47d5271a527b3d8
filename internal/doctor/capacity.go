package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"cellblock.io/cellblock/containers"
)

// What the machine itself and the gateway need besides kernels.
const ownMemory = 512 << 20

// Where a disk begins to be full, and where it is: by share, and by what one more image or some workspaces take.
const (
	littleBytes, noBytes = 5 << 30, 1 << 30
	littleFiles, noFiles = 200_000, 20_000
	littleShare          = 10 // percent
)

// capacityChecks are about whether what is promised to kernels is there.
var capacityChecks = []check{
	{"capacity.disk", "On a full disk no kernel starts, no workspace can be written and Redis keeps nothing.",
		"", func(h *Host) verdict { return h.disk("bytes") }},
	{"capacity.inodes", "Without free inodes no file can be made, however much room there is.",
		"", func(h *Host) verdict { return h.disk("files") }},
	{"capacity.memory", "Limits that the machine cannot honour end with the Linux kernel choosing whom to kill.",
		"", memory},
}

// disk looks at the file system of the images and containers.
func (h *Host) disk(unit string) verdict {
	place := h.Config.StateDir
	if e, err := h.Engine(); err == nil && e.GraphRoot != "" {
		place = e.GraphRoot
	}
	space, err := h.Space(place)
	if absent(err) {
		return notApplicable("%s is not there yet.", place)
	}
	if err != nil {
		return unknown(place, err)
	}
	all, free, little, none, text := space.Bytes, space.Free, uint64(littleBytes), uint64(noBytes), size(space.Free)
	if unit == "files" {
		all, free, little, none = space.Files, space.FreeFiles, littleFiles, noFiles
		text = strconv.FormatUint(free, 10) + " inodes"
		if all == 0 {
			return notApplicable("The file system of %s counts no inodes.", place)
		}
	}
	found := fmt.Sprintf("%s free at %s, %d %% of it.", text, place, free*100/max(all, 1))
	const remedy = "podman image prune and cellblock kernels stop, or a larger disk for %s"
	switch {
	case free < none:
		return fail("Only %s", found).with(remedy, place)
	case free < little && free*100 < all*littleShare:
		return warn("Only %s", found).with(remedy, place)
	}
	return ok("%s", strings.ToUpper(found[:1])+found[1:])
}

// memory compares the machine's memory with what kernels may use.
func memory(h *Host) verdict {
	total, err := h.totalMemory()
	if err != nil {
		return unknown("The machine's memory", err)
	}
	one := uint64(h.Config.Limits.Memory) + containers.BridgeMemory
	room := uint64(0)
	if total > ownMemory {
		room = (total - ownMemory) / one
	}
	found := fmt.Sprintf("%s of memory have room for %d kernels that use all of theirs (limits.memory and %s for a bridge).",
		size(total), room, size(containers.BridgeMemory))
	remedy := fmt.Sprintf("limits.memory or quota.max_kernels in %s, lower; or more memory", h.ConfigFile)
	switch {
	case room < 1:
		return fail("%s", found).with("%s", remedy)
	case room < uint64(h.Config.Quota.MaxKernels):
		return warn("%s One user may have %d (quota.max_kernels).", found, h.Config.Quota.MaxKernels).with("%s", remedy)
	}
	return ok("%s", found)
}

func (h *Host) totalMemory() (uint64, error) {
	lines, err := h.lines("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
			kilobytes, err := strconv.ParseUint(fields[1], 10, 40)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no MemTotal")
}

// size writes a number of bytes with one unit.
func size(bytes uint64) string {
	for _, unit := range []struct {
		shift uint
		name  string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}} {
		if bytes >= 1<<unit.shift {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(uint64(1)<<unit.shift), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}
