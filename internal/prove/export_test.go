package prove

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ReadOutput says which probes an output is believed to tell of, and what.
func ReadOutput(output []byte) string {
	r := new(reader)
	r.read(output)
	all := r.outcomes()
	var told []string
	for _, id := range slices.Sorted(maps.Keys(all)) {
		switch o := all[id]; {
		case o.ended:
			told = append(told, fmt.Sprintf("%s ended %d", id, o.code))
		case o.begun:
			told = append(told, id+" begun")
		}
	}
	return strings.Join(told, ", ")
}
