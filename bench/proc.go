package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticksPerSecond is USER_HZ, in which /proc counts processor time; Linux has no other on the machines we run on.
const ticksPerSecond = 100

// processes lists all process ids.
func processes() (pids []int) {
	entries, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, e := range entries {
		if pid, err := strconv.Atoi(filepath.Base(e)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cpuSeconds is the processor time, of user and system, that the processes have used so far.
func cpuSeconds(pids []int) (sum float64, err error) {
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name of the program, in parentheses, may contain anything; utime and stime are the 12th and 13th behind it.
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		for _, f := range fields[11:13] {
			ticks, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return 0, fmt.Errorf("stat of process %d: %w", pid, err)
			}
			sum += ticks / ticksPerSecond
		}
	}
	return sum, nil
}

// privateBytes is the memory that the processes have for themselves alone.
func privateBytes(pids []int) (sum float64, err error) {
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(raw)) {
			f := strings.Fields(line)
			if len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
				kib, err := strconv.ParseFloat(f[1], 64)
				if err != nil {
					return 0, fmt.Errorf("smaps_rollup of process %d: %w", pid, err)
				}
				sum += kib * 1024
			}
		}
	}
	return sum, nil
}

// load is the machine's load average of the last minute.
func load() string {
	raw, _ := os.ReadFile("/proc/loadavg") // always there
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}
