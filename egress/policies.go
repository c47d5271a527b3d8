package egress

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// lasting is how long a word about an owner holds.
const lasting = time.Minute

// Policies knows which of the named policies is in force for whom, as long as somebody says it again and again.
type Policies struct {
	named map[string]Policy

	mu      sync.Mutex
	inForce map[string]word
}

// word is what was said about an owner last.
type word struct {
	policy string
	at     time.Time
}

// NewPolicies returns Policies of which none is in force.
func NewPolicies(named map[string]Policy) *Policies {
	return &Policies{named: named, inForce: map[string]word{}}
}

// Set says which policy is in force for an owner: for a minute, or until it is said anew.
func (p *Policies) Set(owner, policy string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for o, w := range p.inForce {
		if time.Since(w.at) > lasting {
			delete(p.inForce, o)
		}
	}
	p.inForce[owner] = word{policy, time.Now()}
}

// For is a Config's Policy. A name that nobody has defined is a policy that allows nothing.
func (p *Policies) For(_ context.Context, owner string) (Policy, error) {
	p.mu.Lock()
	said, ok := p.inForce[owner]
	p.mu.Unlock()
	if !ok || time.Since(said.at) > lasting {
		return Policy{}, fmt.Errorf("nobody has said for %v which policy %s has", lasting, owner)
	}
	if policy, defined := p.named[said.policy]; defined {
		return policy, nil
	}
	return Policy{Name: said.policy}, nil
}
