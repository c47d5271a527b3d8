package containers

import (
	"github.com/containers/podman/v4/libpod/define"
	"github.com/containers/podman/v4/pkg/specgen"
	"github.com/containers/storage/pkg/idtools"
	storage "github.com/containers/storage/types"
)

// minRoot is the smallest id that root of a container may become: tenants' ids lie below it.
const minRoot = 65_536

// rootID returns what user and group 0 of our containers are among the engine's ids: the highest one, which is nobody's.
// It is 0, which is the engine's own user, where the engine has too few ids to spare one.
func rootID(m define.IDMappings) int {
	root := min(end(m.UIDMap), end(m.GIDMap)) - 1
	if root < minRoot {
		return 0
	}
	return root
}

// end is the first id from 0 on that is not mapped.
func end(maps []idtools.IDMap) int {
	next := 0
	for range maps {
		for _, m := range maps {
			if m.ContainerID <= next && next < m.ContainerID+m.Size {
				next = m.ContainerID + m.Size
			}
		}
	}
	return next
}

// ownUsers gives a container a user namespace of its own, in which root is the engine's id root and everybody else who they
// are in the engine's: whoever breaks out of a container as its root is not the gateway's user, and files belong to the
// same ids as ever. The mapping is the same for all containers, since Podman keeps a copy of each image for each.
func ownUsers(s *specgen.SpecGenerator, root int) {
	ids := []idtools.IDMap{{ContainerID: 0, HostID: root, Size: 1}, {ContainerID: 1, HostID: 1, Size: root - 1}}
	s.UserNS = specgen.Namespace{NSMode: specgen.Private}
	s.IDMappings = &storage.IDMappingOptions{UIDMap: ids, GIDMap: ids}
}
