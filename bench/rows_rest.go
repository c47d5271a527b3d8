package main

import "fmt"

func pythonTripRow(kind string, o dialOptions) row {
	r := tripRow(kind, o)
	r.name = "ipykernel: " + r.name
	r.key, r.base = "python "+r.key, "python "+r.base
	r.short = ""
	r.goal, r.met = "", nil // the goals are the echo kernel's; here the kernel's own time varies more than what is measured
	return r
}

func pythonCellRow(c pythonCell) row {
	unit := "characters"
	if c.want == displayedCount {
		unit = "messages"
	}
	return row{
		name: fmt.Sprintf("ipykernel: %s (s until whole; lost of %s %s)", c.key, thousands(float64(c.want)), unit), key: "python " + c.key,
		figure: half,
		show: func(s sample) string {
			return fmt.Sprintf("%.2f; %s%s", half(s), thousands(s.get(" lost").max()), missing(s))
		},
		goal: "whole, idle and reply", met: func(s sides) bool { return whole(s.own) },
	}
}

// missing says which ends of a cell did not arrive.
func missing(s sample) (text string) {
	for _, end := range []string{" idle", " reply"} {
		if v := s.get(end); v.sum() < float64(len(v)) {
			text += ", " + share(v) + end
		}
	}
	return text
}

// limitRow is one with a highest value that was set as a goal.
func limitRow(name, key string, unit, limit float64, format string) row {
	return row{
		name: name, key: key, figure: half, show: func(s sample) string { return fmt.Sprintf(format, half(s)/unit) },
		goal: "≤ " + fmt.Sprintf("%.0f", limit/unit), met: func(s sides) bool { return half(s.own) <= limit },
	}
}

func idleRows() []row {
	held := row{
		short: "idle WebSockets held",
		name:  fmt.Sprintf("idle WebSockets held, over %d kernels", manyKernels), key: "idle held", figure: half, more: true,
		show: func(s sample) string { return thousands(half(s)) }, goal: thousands(idleWanted),
		met: func(s sides) bool { return half(s.own) >= idleWanted },
	}
	after := limitRow("memory of the server after they closed (MB)", "memory after", 1e6, gatewayGoal, "%.1f")
	cpu := limitRow("CPU meanwhile (% of one core)", "idle cpu", 1, idleCPU, "%.2f")
	after.figure, cpu.figure = nil, nil // others hold far fewer, so these do not compare
	show := after.show
	after.show = func(s sample) string {
		return show(s) + fmt.Sprintf(" after %.0f s", s.get(" wait").median())
	}
	return []row{
		limitRow("memory of the server at start (MB)", "memory start", 1e6, gatewayGoal, "%.1f"),
		limitRow("memory of a bridge with an idle kernel (MB)", "memory bridge", 1e6, bridgeGoal, "%.1f"),
		held,
		limitRow("memory for each in the server (KiB)", "idle front", 1024, idleInFront, "%.1f"),
		limitRow("memory for each in the bridges (KiB)", "idle beside", 1024, idleInBridge, "%.1f"),
		cpu,
		after,
	}
}
