package redisstore

import (
	"encoding/json"
	"fmt"
	"time"

	"cellblock.io/cellblock/kernels"
)

// What is stored has names of its own, which the scripts and other versions rely on. The fields are those of the
// domain's types: the conversions do not compile otherwise.
type (
	storedRecord struct {
		ID      string        `json:"id"`
		Owner   kernels.Owner `json:"owner"`
		Handle  string        `json:"handle"`
		Spec    string        `json:"spec"`
		Phase   kernels.Phase `json:"phase"`
		Reason  string        `json:"reason,omitempty"`
		Created time.Time     `json:"created"`
		Deaths  int           `json:"deaths,omitempty"`
		Runs    int           `json:"runs,omitempty"`
		Started time.Time     `json:"started,omitzero"`
	}
	storedSession struct {
		ID       string        `json:"id"`
		Owner    kernels.Owner `json:"owner"`
		Path     string        `json:"path"`
		Name     string        `json:"name"`
		Type     string        `json:"type"`
		KernelID string        `json:"kernel_id"`
	}
	storedQuota struct {
		MaxKernels int `json:"max_kernels"`
	}
)

// encode is the JSON form of a stored value.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if len(data) > maxValue {
		return nil, fmt.Errorf("%w: %d bytes of description, at most %d are possible", kernels.ErrInvalid, len(data), maxValue)
	}
	return data, nil
}

// record decodes a value. One that does not name the owner and id of its place counts as absent.
func (s *Store) record(owner kernels.Owner, id, text string) (kernels.Record, bool) {
	var r storedRecord
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Owner != owner || r.ID != id {
		s.log.Warn("record in Redis is not readable", "owner", owner, "kernel", id, "err", err)
		return kernels.Record{}, false
	}
	return kernels.Record(r), true
}

// session decodes a value, with the same rule as record.
func (s *Store) session(owner kernels.Owner, id, text string) (kernels.Session, bool) {
	var v storedSession
	if err := json.Unmarshal([]byte(text), &v); err != nil || v.Owner != owner || v.ID != id {
		s.log.Warn("session in Redis is not readable", "owner", owner, "session", id, "err", err)
		return kernels.Session{}, false
	}
	return kernels.Session(v), true
}
