package containers_test

import (
	"testing"

	"github.com/containers/podman/v4/libpod/define"
	"github.com/containers/storage/pkg/idtools"

	"cellblock.io/cellblock/containers"
)

// Root of a container becomes the last id that users and groups have alike, and the engine's own user where there are few.
func TestRootID(t *testing.T) {
	ids := func(sizes ...int) []idtools.IDMap { // the engine's user, then ranges in the order of /etc/subuid
		maps := []idtools.IDMap{{ContainerID: 0, HostID: 1000, Size: 1}}
		next := 1
		for _, size := range sizes {
			maps = append(maps, idtools.IDMap{ContainerID: next, HostID: 1 << 20 * len(maps), Size: size})
			next += size
		}
		return maps
	}
	tests := []struct {
		name         string
		users, group []idtools.IDMap
		want         int
	}{
		{"as deploy/up gives them", ids(4194304), ids(4194304), 4194304},
		{"two ranges", ids(100_000, 50_000), ids(150_000), 150_000},
		{"fewer groups", ids(4194304), ids(100_000), 100_000},
		{"as adduser gives them", ids(65536), ids(65536), 65536},
		{"few", ids(4096), ids(4096), 0},
		{"none", ids(), ids(), 0},
		{"an old engine says nothing", nil, nil, 0},
		{"a gap", append(ids(70_000), idtools.IDMap{ContainerID: 100_000, HostID: 1 << 30, Size: 100_000}), ids(200_000), 70_000},
	}
	for _, tt := range tests {
		if got := containers.RootID(define.IDMappings{UIDMap: tt.users, GIDMap: tt.group}); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
