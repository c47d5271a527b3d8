package kernels

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Limits and times of the Manager. Those that an administrator may want to change are in Config.
const (
	defaultStartTimeout = 40 * time.Second // what Jupyter's own servers give a kernel
	defaultCullInterval = 300 * time.Second
	defaultGrace        = 5 * time.Second

	maxLaunching = 8    // launches at once; each costs the engine seconds of work
	maxQueued    = 1024 // starts that wait for one of them
	maxMending   = 8    // deaths looked after at once
	maxExits     = 256  // ends of processes not yet looked at; beyond it, reconciling finds them
	maxAsking    = 32   // bridges asked for their status at once
	maxAtOnce    = 4    // kernels that reconciling or culling looks after at once

	statusTimeout    = 500 * time.Millisecond // for the status of all bridges of one list
	interruptTimeout = 2 * time.Second        // for a kernel to answer interrupt_request
	signalAfter      = 400 * time.Millisecond // the same when it may get a signal instead: a person sees an effect within a second
	shutdownTimeout  = time.Second            // for a kernel that is asked to end: its exit handlers run
	restartTimeout   = 2 * time.Second        // for a kernel that is asked to end and will be started again
	farewellTimeout  = time.Second            // for the bridge to tell all clients that it is over
	removeTimeout    = 30 * time.Second       // for the engine to remove a kernel
	releaseTimeout   = 5 * time.Second        // for the store to take note of an end
	waitTimeout      = 90 * time.Second       // for another change of the same kernel to be over

	networkInterval   = 2 * time.Second // until a changed network policy holds for kernels that run
	brokenInterval    = 4 * time.Second // between two looks at all kernels for those that live but are of no use
	reconcileInterval = 30 * time.Second
	reconcileSoon     = 2 * time.Second // after one that could not look at everything
	watchRetry        = time.Second     // after the connection to the engine broke

	maxDeaths = 5                // automatic restarts in a row; one more death is the last
	stableRun = 10 * time.Second // a run of this length makes earlier deaths forgotten
)

// Config is what a Manager is made of. All interfaces must be set.
type Config struct {
	Launcher Launcher
	Observer Observer
	Specs    Specs
	Store    Store
	Sessions SessionStore
	Quotas   Quotas
	Leases   Leases
	History  History
	// Networks may be nil where no kernel has a network.
	Networks Networks
	// Bridge returns the control side of one kernel's bridge, whether or not it runs at the moment.
	Bridge func(handle string) Bridge
	Log    *slog.Logger
	// DefaultSpec is the kernelspec for starts that name none.
	DefaultSpec string
	Cull        Cull
	// StartTimeout is how long a kernel may take from the begin of its launch to its first answer; 0 means 40 s.
	StartTimeout time.Duration
	// Grace is how long launches and restarts in flight may go on after the context of Run has ended; 0 means 5 s.
	Grace time.Duration
	// Meter may be nil.
	Meter Meter
}

// Cull says which kernels are ended for want of use.
type Cull struct {
	// IdleTimeout is how long a kernel may be without activity; 0 culls none but those whose kernelspec has a timeout
	// of its own.
	IdleTimeout time.Duration
	// Interval is the time between two looks at all kernels; 0 means 300 s.
	Interval time.Duration
	// Warning is how long before its end the clients that are connected to a kernel are told; at most a tenth of the
	// timeout. 0 tells them only when it is over.
	Warning time.Duration
	// Connected culls kernels that clients are connected to as well, Busy those that are busy.
	Connected, Busy bool
}

// Meter counts what happens to kernels. Its methods must not block.
type Meter interface {
	// Launched is called after each attempt to start a kernel; err is nil when it has answered.
	Launched(spec string, took time.Duration, err error)
	// Died is called for each process of a kernel's pair that ended by itself.
	Died(bridge bool)
	// Culled is called for each kernel ended for want of use.
	Culled()
}

// Validate reports everything that is missing or out of range. It changes nothing.
func (c Config) Validate() error {
	var errs []error
	for _, need := range []struct {
		name    string
		missing bool
	}{
		{"Launcher", c.Launcher == nil}, {"Observer", c.Observer == nil}, {"Specs", c.Specs == nil},
		{"Store", c.Store == nil}, {"Sessions", c.Sessions == nil}, {"Quotas", c.Quotas == nil},
		{"Leases", c.Leases == nil}, {"History", c.History == nil}, {"Bridge", c.Bridge == nil}, {"Log", c.Log == nil},
		{"DefaultSpec", c.DefaultSpec == ""},
	} {
		if need.missing {
			errs = append(errs, fmt.Errorf("kernels: %s is not set", need.name))
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"StartTimeout", c.StartTimeout}, {"Grace", c.Grace},
		{"Cull.IdleTimeout", c.Cull.IdleTimeout}, {"Cull.Interval", c.Cull.Interval}, {"Cull.Warning", c.Cull.Warning},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("kernels: %s is negative", d.name))
		}
	}
	return errors.Join(errs...)
}

// withDefaults returns a copy with zero values filled in.
func (c Config) withDefaults() Config {
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Cull.Interval == 0 {
		c.Cull.Interval = defaultCullInterval
	}
	if c.Meter == nil {
		c.Meter = noMeter{}
	}
	return c
}

// noMeter is the Meter of those who do not count.
type noMeter struct{}

func (noMeter) Launched(string, time.Duration, error) {}
func (noMeter) Died(bool)                             {}
func (noMeter) Culled()                               {}
