package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"cellblock.io/cellblock/internal/config"
)

// What the configuration says of output arrives at the bridge, whose flags are the same program's.
func TestBridgeArgs(t *testing.T) {
	if args := bridgeArgs(config.Default().Output); len(args) != 0 {
		t.Errorf("for the defaults: %q", args)
	}
	o := config.Output{MessageRate: 1000, DataRate: 1_000_000, RateWindow: 1500 * time.Millisecond, JournalBytes: 1 << 20, JournalMessages: 500}
	cmd := bridgeCommand(&app{})
	if err := cmd.ParseFlags(bridgeArgs(o)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) { got[f.Name] = f.Value.String() })
	want := map[string]string{
		"iopub-msg-rate-limit": "1000", "iopub-data-rate-limit": "1000000", "rate-limit-window": "1.5s",
		"journal-bytes": "1048576", "journal-messages": "500",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("flags %v", got)
	}
}
